"""Langevin samples against the known Gaussian: J is quadratic in the decoder of a linear model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

from rayfe.config import ModelConfig
from rayfe.data.device_path import DeviceExamples, Still
from rayfe.exceptions import UsageError
from rayfe.model.linear import Linear
from rayfe.model.posterior import information, with_posterior
from rayfe.records import Point
from rayfe.training.langevin import BatchEnergy, Langevin, run_chains

LATENT, FEATURES, CLASSES, N = 2, 3, 3, 60
POINT = Point(lam=2.0, gamma=1.0)
SIGMA = 0.05
DEVIATION = dict.fromkeys(("model.decoder.weight", "model.decoder.bias"), LATENT**-0.5)


@dataclass(frozen=True, kw_only=True)
class Known:
    """p(decoder) of the linear model, with theta = (weight, bias) a row for each feature, and phi = (z, 1).

    J = lam E|x - theta phi|^2 + what the decoder does not change, so each row has the Hessian 2 lam E[phi phi'], and -sigma log m
    adds sigma / s^2: p is Gaussian with the covariance sigma (2 lam E[phi phi'] + sigma / s^2)^-1, and its mean is a ridge
    regression of x on phi.
    """

    hessian: Tensor
    """Of J - sigma log m, (latent + 1, latent + 1), the same for each row."""
    mean: Tensor
    """(features, latent + 1)"""
    moment: Tensor
    """E[phi phi']"""
    cross: Tensor
    """E[x phi'], (features, latent + 1)"""

    @property
    def covariance(self) -> Tensor:
        return SIGMA * torch.linalg.inv(self.hessian)


def model_and_data() -> tuple[Linear, DeviceExamples]:
    torch.manual_seed(0)
    x = torch.randn(N, FEATURES, dtype=torch.float64) @ torch.diag(torch.tensor([1.0, 0.6, 0.3], dtype=torch.float64)) + 0.2
    config = ModelConfig(name="linear", latent=LATENT, classifier_hidden=0)
    model = Linear(input_shape=(FEATURES,), classes=CLASSES, config=config).double()
    with torch.no_grad():
        model.log_variance.copy_(torch.tensor([-1.0, -0.3]))
    return model, DeviceExamples(x=x, y=torch.arange(N) % CLASSES)


def known() -> Known:
    model, data = model_and_data()
    mean, log_variance = model.encode(data.x)
    ones = torch.ones(N, 1, dtype=torch.float64)
    phi = torch.cat([mean.detach(), ones], 1)
    noise = torch.cat([log_variance[0].detach().exp(), torch.zeros(1)])
    moment, cross = phi.T @ phi / N + torch.diag(noise), data.x.T @ phi / N
    hessian = 2.0 * POINT.lam * moment + SIGMA * LATENT * torch.eye(LATENT + 1)  # m has the variance 1 / latent
    mean = torch.linalg.solve(hessian, 2.0 * POINT.lam * cross.T).T
    return Known(hessian=hessian, mean=mean, moment=moment, cross=cross)


def rows(values: Tensor) -> Tensor:
    """Samples (..., numbers) of weight and bias as theta (..., features, latent + 1)."""
    weight, bias = values.split([FEATURES * LATENT, FEATURES], -1)
    return torch.cat([weight.unflatten(-1, (FEATURES, LATENT)), bias[..., None]], -1)


KNOWN = known()


def exact_energy(parameters: Mapping[str, Tensor], update: int) -> Tensor:
    """lam D of all examples and all z, without what the decoder does not change."""
    theta = torch.cat([parameters["model.decoder.weight"], parameters["model.decoder.bias"][..., None]], -1)
    return POINT.lam * ((theta @ KNOWN.moment * theta).sum((-1, -2)) - 2.0 * (theta * KNOWN.cross).sum((-1, -2)))


def start() -> dict[str, Tensor]:
    model, _ = model_and_data()
    return {f"model.decoder.{name}": value.detach() for name, value in model.decoder.named_parameters()}


def spread(values: Tensor) -> Tensor:
    """Covariance of theta's rows about the known mean, over samples, chains and features: three independent rows each."""
    centred = rows(values).flatten(0, 1) - KNOWN.mean
    return torch.einsum("nfi,nfj->ij", centred, centred) / (centred.shape[0] * FEATURES)


def relative(found: Tensor, right: Tensor) -> Tensor:
    """The eigenvalues of found relative to right, less 1."""
    root = torch.linalg.cholesky(right)
    whitened = torch.linalg.solve_triangular(root, torch.linalg.solve_triangular(root, found, upper=False).T, upper=False)
    return torch.linalg.eigvalsh(whitened) - 1.0


def test_mean_and_covariance_are_those_of_the_known_gaussian() -> None:
    """Full batches and all z, steps so short that they are biased by 1 %; 2000 chains that are independent."""
    settings = Langevin(sigma=SIGMA, step=0.002, updates=3000, skipped=2999, chains=2000, seed=1)
    found = run_chains(start(), exact_energy, DEVIATION, settings)
    error = (rows(found.mean) - KNOWN.mean) / (KNOWN.covariance.diagonal() / settings.chains).sqrt()
    assert float(error.abs().max()) < 4.0, "standard errors of the mean"
    # an eigenvalue of the covariance of n vectors is off by sqrt(3 / n) where they have three numbers
    assert float(relative(spread(found.values), KNOWN.covariance).abs().max()) < 4.0 * math.sqrt(2.0 / (2000 * FEATURES)) + 0.02


def test_bias_of_a_long_step_is_the_one_of_a_quadratic() -> None:
    """sigma (H - eta H^2 / 2)^-1: in the stiffest direction more than half as much again."""
    H = KNOWN.hessian
    step = 0.75 / float(torch.linalg.eigvalsh(H).max())
    biased = SIGMA * torch.linalg.inv(H - 0.5 * step * H @ H)
    assert float(relative(biased, KNOWN.covariance).max()) > 0.5
    settings = Langevin(sigma=SIGMA, step=step, updates=160, skipped=60, every=33, chains=2000, seed=2)
    found = run_chains(start(), exact_energy, DEVIATION, settings)
    samples = found.values.shape[0] * settings.chains * FEATURES
    assert float(relative(spread(found.values), biased).abs().max()) < 5.0 * math.sqrt(2.0 / samples)


def test_mini_batches_and_draws_of_z_sample_the_same_gaussian() -> None:
    """What batches add to the covariance is of first order in the step, and halves with it."""
    model, data = model_and_data()
    off = []
    for step in (0.02, 0.005):
        energy = BatchEnergy(model, "decoder", Still(data), POINT, batch=20, chains=120, seed=3, device=torch.device("cpu"))
        updates = round(16.0 / step)
        settings = Langevin(
            sigma=SIGMA, step=step, updates=updates, skipped=updates // 4, every=round(0.5 / step), chains=120, seed=3
        )
        found = run_chains(energy.start, energy, energy.deviation, settings)
        error = (rows(found.mean) - KNOWN.mean) / (KNOWN.covariance.diagonal() / settings.chains).sqrt()
        assert float(error.abs().max()) < 4.0
        off.append(relative(spread(found.values), KNOWN.covariance))
    assert float(off[0].max()) > 0.1
    assert float(off[1].abs().max()) < 0.5 * float(off[0].max())
    assert float(off[1].abs().max()) < 0.1


def free_energy(mean: Tensor, covariance: Tensor) -> Tensor:
    """E[J] + sigma S of independent Gaussian rows, without what the decoder does not change; their means (features, latent + 1)."""
    J = POINT.lam * (
        (mean @ KNOWN.moment * mean).sum() - 2.0 * (mean * KNOWN.cross).sum() + FEATURES * (KNOWN.moment * covariance).sum()
    )
    prior = MultivariateNormal(torch.zeros(LATENT + 1).double(), torch.eye(LATENT + 1).double() / LATENT)
    return J + SIGMA * kl_divergence(MultivariateNormal(mean, covariance), prior).sum()


def test_samples_say_the_best_independent_gaussian_and_what_it_costs() -> None:
    """The factorised posterior of lowest F has the diagonal of the precision; the samples' own variances are too wide, and cost F.

    S of it is the closed form of `rayfe.model.posterior`.
    """
    settings = Langevin(sigma=SIGMA, step=0.004, updates=3000, skipped=1500, every=250, chains=1000, seed=8)
    found = run_chains(start(), exact_energy, DEVIATION, settings)
    precision = torch.linalg.inv(spread(found.values)).diagonal()
    right = KNOWN.hessian.diagonal() / SIGMA
    torch.testing.assert_close(precision, right, rtol=0.03, atol=0.0)

    mean, best = KNOWN.mean.clone().requires_grad_(), (-right.log()).requires_grad_()
    slopes = torch.autograd.grad(free_energy(mean, torch.diag(best.exp())), [mean, best])
    assert max(float(slope.abs().max()) for slope in slopes) < 1e-8, "the diagonal is a minimum of F"
    with torch.no_grad():
        full, own = KNOWN.covariance, torch.diag(KNOWN.covariance.diagonal())
        F = [float(free_energy(KNOWN.mean, one)) for one in (full, torch.diag(best.exp()), own)]
    assert F[0] + 1e-4 < F[1] < F[2] - 1e-4

    model, _ = model_and_data()
    config = ModelConfig(name="linear", latent=LATENT, classifier_hidden=0, posterior="decoder")
    random = with_posterior(model, config)
    with torch.no_grad():
        random.decoder.weight.copy_(KNOWN.mean[:, :LATENT])
        random.decoder.bias.copy_(KNOWN.mean[:, LATENT])
        random.decoder.weight_log_deviation.copy_(0.5 * best[:LATENT].expand(FEATURES, -1))
        random.decoder.bias_log_deviation.copy_(0.5 * best[LATENT].expand(FEATURES))
        J = free_energy(KNOWN.mean, torch.diag(best.exp())) - SIGMA * information(random)
    trace = FEATURES * (KNOWN.moment.diagonal() * best.detach().exp()).sum()
    at_mean = (KNOWN.mean @ KNOWN.moment * KNOWN.mean).sum() - 2.0 * (KNOWN.mean * KNOWN.cross).sum()
    torch.testing.assert_close(J, POINT.lam * (at_mean + trace))


def test_seed_and_chain_decide_the_samples() -> None:
    few = Langevin(sigma=SIGMA, step=0.01, updates=5, skipped=0, chains=2, seed=4)
    model, data = model_and_data()

    def chains(seed: int) -> Tensor:
        energy = BatchEnergy(model, "decoder", Still(data), POINT, batch=20, chains=2, seed=seed, device=torch.device("cpu"))
        return run_chains(energy.start, energy, energy.deviation, few).values

    assert torch.equal(chains(4), chains(4))
    assert not torch.equal(chains(4), chains(5))
    assert not torch.equal(chains(4)[:, 0], chains(4)[:, 1])


def test_gradient_noise_of_the_papers_steps_is_a_temperature_of_half_a_step() -> None:
    """(12): theta <- theta - step (H theta + xi). Its p is exp(-2 J / step), of variance step / (2 H) for short steps.

    So it is for Langevin's at sigma = step / 2."""
    H, step, chains = 3.0, 0.05, 4000
    noise = torch.randn(400, chains, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    theta = torch.zeros(chains, dtype=torch.float64)
    for xi in noise:
        theta = theta - step * (H * theta + xi)
    settings = Langevin(sigma=step / 2.0, step=step, updates=400, skipped=399, chains=chains, seed=6)
    flat = {"theta": torch.zeros((), dtype=torch.float64)}
    found = run_chains(flat, lambda at, _: 0.5 * H * at["theta"] ** 2, {"theta": math.inf}, settings)
    right = step / (2.0 * H) / (1.0 - step * H / 2.0)
    for variance in (theta.var(), found.values.var()):
        assert float(variance) == pytest.approx(right, rel=4.0 * math.sqrt(2.0 / chains))


def test_effective_size_counts_independent_samples() -> None:
    """Of samples an autocorrelation a apart there are (1 - a) / (1 + a) as many."""
    H, step = 1.0, 0.1
    settings = Langevin(sigma=1.0, step=step, updates=2100, skipped=100, chains=500, seed=7)
    flat = {"theta": torch.zeros(4, dtype=torch.float64)}
    found = run_chains(flat, lambda at, _: 0.5 * H * (at["theta"] ** 2).sum(-1), {"theta": math.inf}, settings)
    share = found.effective / (2000 * 500)
    assert share == pytest.approx(step / (2.0 - step), rel=0.15)


@pytest.mark.parametrize(
    ("part", "added", "fix"),
    [
        ("lens", "", "is no part of Linear"),
        ("latent", "", "is no part"),
        ("decoder", "norm", "batch-norm"),
        ("decoder", "scale", "no prior"),
    ],
)
def test_what_cannot_be_sampled_is_refused(part: str, added: str, fix: str) -> None:
    model, data = model_and_data()
    layer = {"norm": nn.BatchNorm1d(FEATURES), "scale": nn.PReLU()}.get(added, nn.Identity())
    model.decoder = nn.Sequential(model.decoder, layer)  # type: ignore[assignment]
    with pytest.raises(UsageError, match=fix):
        BatchEnergy(model, part, Still(data), POINT, batch=20, chains=2, seed=0, device=torch.device("cpu"))


def test_a_chain_that_diverges_says_so() -> None:
    with pytest.raises(UsageError, match="halve it"):
        run_chains(start(), exact_energy, DEVIATION, Langevin(sigma=SIGMA, step=5.0, updates=2000, skipped=0, chains=1))
