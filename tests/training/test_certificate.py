"""The K-sample bound against closed forms, and the gradient's norm against known gradients."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from rayfe.data.coupling import Coupling
from rayfe.data.device_path import DeviceExamples, Mixture, Still
from rayfe.data.displacement import Displacement
from rayfe.data.randomness import derived_seed, generator
from rayfe.model import marginal
from rayfe.model.likelihood import likelihood_of
from rayfe.model.objective import rate, rate_of, sample
from rayfe.records import BOUND_DRAWS, Point, Reading, Split
from rayfe.training.certificate import (
    BOUND_SHARE,
    GRADIENT_SHARE,
    PARTS,
    bound,
    bound_cost,
    bound_size,
    certify,
    effective_share,
    gradient_norm,
    gradient_size,
    log_weights,
    read_gap,
    read_gradient,
)

LATENT, PIXELS, CLASSES, N = 2, 5, 3, 40
POINT = Point(lam=0.8, gamma=0.0)


class LinearGaussian(nn.Module):
    """Decoder A z + b; the encoder is the posterior of m(z) d(x|z)^lam, moved by `off` and widened by `wider`."""

    latent = LATENT

    def __init__(self, *, lam: float, off: float = 0.0, wider: float = 0.0, head: float = 0.0) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(3)
        # columns at right angles: the posterior is then a product over dimensions of z, as the encoder is
        basis = torch.linalg.qr(torch.randn(PIXELS, LATENT, generator=rng, dtype=torch.float64))[0]
        self.A = basis * torch.tensor([1.5, 0.6], dtype=torch.float64)
        self.b = torch.randn(PIXELS, generator=rng, dtype=torch.float64)
        self.lam, self.off, self.wider = lam, off, wider
        self.head = head * torch.randn(LATENT, CLASSES, generator=rng, dtype=torch.float64)

    def encode(self, x):
        precision = 1.0 + 2.0 * self.lam * self.A.square().sum(0)
        mean = 2.0 * self.lam * (x - self.b) @ self.A / precision
        return mean + self.off, (self.wider - precision.log()).expand_as(mean)

    def decode(self, z):
        return z @ self.A.T + self.b

    def classify(self, z):
        return z @ self.head


def examples(n: int = N, seed: int = 0) -> DeviceExamples:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(n, PIXELS, generator=rng, dtype=torch.float64)
    return DeviceExamples(x=x, y=torch.arange(n) % CLASSES)


def minus_log_Z(model: LinearGaussian, x: torch.Tensor) -> torch.Tensor:
    """-log of the integral of N(z; 0, I) exp(-lam |x - A z - b|^2), in closed form."""
    lam, noise = model.lam, torch.eye(PIXELS, dtype=torch.float64) / (2.0 * model.lam)
    normal = torch.distributions.MultivariateNormal(model.b, model.A @ model.A.T + noise)
    return -normal.log_prob(x) - 0.5 * PIXELS * math.log(math.pi / lam)


def logs(model: LinearGaussian, data: DeviceExamples, *, draws: int, point: Point = POINT, seed: int = 0) -> torch.Tensor:
    return log_weights(model, data, point, draws=draws, key=derived_seed(seed))


@pytest.mark.parametrize("draws", [1, 2, 16])
def test_an_encoder_that_is_the_posterior_has_minus_log_Z_for_every_K_and_weights_that_are_all_the_same(draws: int) -> None:
    model, data = LinearGaussian(lam=POINT.lam), examples()
    found = logs(model, data, draws=draws)
    torch.testing.assert_close(bound(found), minus_log_Z(model, data.x), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(effective_share(found), torch.ones(N, dtype=torch.float64))


def test_the_bound_falls_with_K_from_J_to_minus_log_Z() -> None:
    model, data = LinearGaussian(lam=POINT.lam, off=0.2, wider=0.7), examples(400)
    found = logs(model, data, draws=2048)
    means = [float(torch.stack([bound(part) for part in found[: 64 * K].split(K)]).mean()) for K in (1, 2, 4, 8, 16, 32)]
    assert means == sorted(means, reverse=True)
    exact = float(minus_log_Z(model, data.x).mean())
    assert all(value > exact for value in means)
    assert float(bound(found).mean()) == pytest.approx(exact, abs=2e-3)


def test_one_draw_is_R_plus_lam_D_plus_gamma_C_in_expectation() -> None:
    point = Point(lam=0.8, gamma=1.7)
    model, data = LinearGaussian(lam=point.lam, off=0.1, wider=0.4, head=1.0), examples()
    mean, log_variance = model.encode(data.x)
    z = mean + (0.5 * log_variance).exp() * torch.randn(60000, N, LATENT, generator=generator("cpu", 9), dtype=torch.float64)
    D = (data.x - model.decode(z)).square().sum(-1).mean(0)
    C = -model.classify(z).log_softmax(-1)[:, torch.arange(N), data.y].mean(0)
    J = rate(mean, log_variance) + point.lam * D + point.gamma * C
    one = -logs(model, data, draws=1000, point=point, seed=1)
    error = one.std(0) / math.sqrt(1000)
    assert float(((one.mean(0) - J) / error).square().mean()) == pytest.approx(1.0, abs=0.6)


def test_the_gap_is_what_J_loses_to_minus_log_Z_and_its_error_is_that_over_examples() -> None:
    model, many = LinearGaussian(lam=POINT.lam, off=0.2, wider=0.7), examples(20000)
    exact = float(-minus_log_Z(model, many.x).mean())
    mean, log_variance = model.encode(many.x)
    precision = torch.exp(log_variance)
    D = (many.x - model.decode(mean)).square().sum(-1) + (precision * model.A.square().sum(0)).sum(-1)
    J = float((rate(mean, log_variance) + POINT.lam * D).mean())
    options = {"draws": 64, "chunk": 7000}
    whole = read_gap(model, Still(many), POINT, key=partial(derived_seed, 1), **options)
    assert whole.mean == pytest.approx(J + exact, abs=5 * whole.se + 5e-3)  # K = 64 is not yet infinity
    parts = [
        read_gap(model, Still(examples(100, seed)), POINT, key=partial(derived_seed, seed), **options) for seed in range(40)
    ]
    spread = np.std([part.mean for part in parts], ddof=1)
    assert spread == pytest.approx(np.mean([part.se for part in parts]), rel=0.35)
    assert 0.0 < whole.ess < 1.0


def test_on_a_path_the_gap_weighs_the_ends_as_p_x_t_does() -> None:
    model, source, target = LinearGaussian(lam=POINT.lam, off=0.3), examples(60, 0), examples(30, 1)
    target = DeviceExamples(x=3.0 * target.x, y=target.y)
    ends = [read_gap(model, Still(end), POINT, draws=4, chunk=100, key=lambda name: 5).mean for end in (source, target)]
    path = Mixture(source, target)
    for t, wanted in ((0.0, ends[0]), (0.25, None), (1.0, ends[1])):
        found = read_gap(model, path, Point(lam=0.8, gamma=0.0, t=t), draws=4, chunk=100, key=lambda name: 5)
        assert wanted is None or found.mean == pytest.approx(wanted)
        assert found.mean > 0.0


def test_soft_labels_of_a_displacement_are_certified_too() -> None:
    point, (source, target) = Point(lam=0.8, gamma=1.7, t=0.4), (examples(60, 0), examples(60, 1))
    order = np.arange(60)
    coupling = Coupling(source=order, target=order[::-1].copy(), weight=np.full(60, 1 / 60), report={})
    path = Displacement(source, target, coupling, CLASSES)
    model = LinearGaussian(lam=0.5, off=0.3, head=1.0)
    model.scale = nn.Parameter(torch.ones(1, dtype=torch.float64))
    model.decode = lambda z: model.scale * z @ model.A.T + model.b  # type: ignore[method-assign]
    reading = Reading(
        replica="settled",
        split=Split.TRAIN,
        point=point,
        update=0,
        R=1.0,
        D=2.0,
        C=0.5,
        accuracy=1.0,
        R_se=0.0,
        D_se=0.1,
        C_se=0.0,
    )
    trained = 60_000.0
    found = certify(
        model, path, reading, chunk=4000, trained=trained, key=derived_seed, rng=lambda name: generator("cpu", 7, name)
    )
    assert found.J_K < reading.F and found.J_K_se > 0.08
    assert found.grad_norm >= 0.0 and 0.0 < found.J_K_ess < 1.0
    bound, gradient = bound_size(trained) * bound_cost(BOUND_DRAWS), PARTS * gradient_size(trained, 600)
    assert 0.9 * BOUND_SHARE * trained < bound <= BOUND_SHARE * trained
    assert 0.9 * GRADIENT_SHARE * trained < gradient <= GRADIENT_SHARE * trained


def test_the_square_of_a_norm_is_unbiased_where_each_gradient_is_mostly_noise() -> None:
    rng = np.random.default_rng(5)
    g = rng.standard_normal(50) * 0.3
    squares = [gradient_norm(g + 0.5 * rng.standard_normal((PARTS, 50))) ** 2 for _ in range(4000)]
    assert np.mean(squares) == pytest.approx(g @ g, abs=4 * np.std(squares) / math.sqrt(1000))
    assert gradient_norm([g, g, g]) == pytest.approx(float(np.linalg.norm(g)))
    assert gradient_norm([g, -g]) == 0.0


def test_the_gradient_is_that_of_J_over_all_examples() -> None:
    """Parts are small next to what their mean is compared with, so the norm is as J's own gradient says."""
    point, data = Point(lam=0.8, gamma=1.7), examples(4000)
    model = LinearGaussian(lam=0.5, off=0.4, head=1.0)
    model.scale = nn.Parameter(torch.ones(LATENT, dtype=torch.float64))  # decodes scale * z
    model.decode = lambda z: (model.scale * z) @ model.A.T + model.b  # type: ignore[method-assign]
    mean, log_variance = model.encode(data.x)
    A = model.A.square().sum(0)
    # E |x - b - A z|^2 = sum over columns of A, which are at right angles; d/dscale at scale 1
    slope = 2.0 * point.lam * (A * (mean.square() + log_variance.exp()) - mean * ((data.x - model.b) @ model.A)).mean(0)
    norms = [
        read_gradient(model, Still(data), point, n=4000 // PARTS, rng=lambda name, seed=seed: generator("cpu", seed, name))
        for seed in range(30)
    ]
    squares = [norm**2 for norm in norms]
    assert np.mean(squares) == pytest.approx(float(slope.square().sum()), abs=4 * np.std(squares) / math.sqrt(30))


def test_parts_of_a_small_data_set_are_independent() -> None:
    """At an equilibrium of the data the gradient's square is zero on average; disjoint parts would make it negative."""
    point, data = Point(lam=0.5, gamma=0.0), examples(64)
    model = LinearGaussian(lam=0.5)
    mean, log_variance = model.encode(data.x)
    model.b = nn.Parameter((data.x - mean @ model.A.T).mean(0))
    model.encode = lambda x: (mean.detach()[:1].expand(len(x), -1) * 0, log_variance.detach()[:1].expand(len(x), -1))
    model.b.data = data.x.mean(0)
    squares = []
    for seed in range(400):
        rng = lambda name, seed=seed: generator("cpu", seed, name)  # noqa: E731
        squares.append(read_gradient(model, Still(data), point, n=64 // PARTS, rng=rng))
    assert 0.3 < np.mean(np.array(squares) > 0.0) < 0.7


def test_the_norm_of_the_gradient_does_not_depend_on_the_threads_of_numpy():
    gradients = np.random.default_rng(0).standard_normal((4, 400_000))
    norms = set()
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            norms.add(gradient_norm(gradients))
    assert len(norms) == 1


class Learnt(LinearGaussian):
    """The same with a marginal of two Gaussians, each m(z) moved by `apart` along the first dimension."""

    def __init__(self, *, apart: float, **arguments: float) -> None:
        super().__init__(**arguments)
        self.marginal = marginal.Mixture(latent=LATENT, input_shape=()).double()
        with torch.no_grad():
            self.marginal.means.zero_()
            self.marginal.means[::2, 0] = apart
            self.marginal.means[1::2, 0] = -apart


def test_the_mean_log_weight_is_F_by_draws_with_a_learnt_marginal() -> None:
    model, rng = Learnt(lam=POINT.lam, apart=1.5, off=0.3), torch.Generator().manual_seed(1)
    x = torch.randn(N, PIXELS, generator=rng, dtype=torch.float64)
    examples = DeviceExamples(x=x, y=torch.arange(N) % CLASSES)
    with torch.no_grad():
        logs = log_weights(model, examples, POINT, draws=1000, key=derived_seed("test"))
        mean, log_variance = model.encode(x)
        z = sample(mean, log_variance, torch.randn(1000, N, LATENT, generator=rng, dtype=torch.float64))
        D = likelihood_of(model)(x.repeat(1000, 1), model.decode(z.flatten(0, 1))).view(1000, N)
        R = rate_of(model.marginal, mean, log_variance, z)
    error = float(logs.mean(1).std()) / math.sqrt(1000) * math.sqrt(2.0)
    assert float(-logs.mean()) == pytest.approx(float((R + POINT.lam * D.mean(0)).mean()), abs=5 * error)
