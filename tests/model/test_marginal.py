"""Marginals of z: their densities, R by closed form and by draws, and where the encoder's statistics come from."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from rayfe.config import ModelConfig
from rayfe.data.randomness import generator
from rayfe.model import marginal
from rayfe.model.beside import beside
from rayfe.model.marginal import BUILT_IN, Gaussian, Marginal, Mixture, encoded, log_mixture, marginal_of
from rayfe.model.objective import Objective, draw_noise, rate, rate_of, sample
from rayfe.model.posterior import Widths
from rayfe.model.protocol import build
from rayfe.training.batch_norm import WeightedStatistics
from rayfe.training.replicas import Looped, Stacked

LEARNT = [name for name in BUILT_IN if name != "standard"]

DRAWS = 20_000


def small(name: str, latent: int = 2, model: str = "mlp"):
    if name == "flow":
        pytest.importorskip("zuko", reason="flows need the extra flow")
    config = ModelConfig(name=model, hidden=12, latent=latent, classifier_hidden=0, marginal=name)
    return build(config, input_shape=(16,), classes=3)


def moved(name: str):
    """A model whose marginal is not a new one's."""
    model, rng = small(name).double(), generator("cpu", "moved")
    with torch.no_grad():
        for value in model.marginal.parameters():
            value.add_((0.05 if name == "flow" else 0.3) * torch.randn(value.shape, generator=rng, dtype=value.dtype))
    return model.eval()


@pytest.mark.parametrize("name", LEARNT)
def test_a_density_has_mass_one_and_is_that_of_its_draws(name):
    model = moved(name)
    m, rng = marginal_of(model), generator("cpu", "draws")
    line = torch.linspace(-9.0, 9.0, 241, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)
    with torch.no_grad():
        density = m.log_density(grid).exp() * (line[1] - line[0]) ** 2
        z = m.draw(torch.randn(DRAWS, 2, generator=rng, dtype=torch.float64), rng)
    assert float(density.sum()) == pytest.approx(1.0, abs=1e-3)
    error = z.std(0) / math.sqrt(DRAWS)
    assert ((z.mean(0) - (density[..., None] * grid).sum((0, 1))).abs() < 5 * error).all()


def test_mixture_is_that_of_torch_also_where_components_are_narrow():
    rng = generator("cpu", "mixture")
    weights, means, scales = torch.rand(7, generator=rng), 3.0 * torch.randn(7, 16, generator=rng), torch.full((7, 16), 0.1)
    z = (means[torch.arange(40) % 7] + scales[0] * torch.randn(40, 16, generator=rng)).view(2, 20, 16)
    wide = [value.double() for value in (weights, means, scales)]
    exact = MixtureSameFamily(Categorical(wide[0]), Independent(Normal(*wide[1:]), 1)).log_prob(z.double())
    found = log_mixture(z, (weights / weights.sum()).log(), means, 2.0 * scales.log())
    assert (found - exact).abs().max() < 5e-3


def test_a_gaussian_has_the_rate_of_its_closed_form():
    rng = generator("cpu", "closed")
    mean, log_variance = torch.randn(2, 5, 3, generator=rng, dtype=torch.float64)
    m = Gaussian(latent=3, input_shape=()).double()
    with torch.no_grad():
        m.mean.add_(0.7)
        m.log_variance.add_(torch.tensor([0.5, -1.0, 0.0]))
    exact = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(m.mean, (0.5 * m.log_variance).exp())).sum(-1)
    torch.testing.assert_close(rate_of(m, mean, log_variance, mean[None]), exact)


class AsDrawn(Marginal):
    """A Gaussian whose closed form nobody knows."""

    def __init__(self, gaussian: Gaussian) -> None:
        super().__init__()
        self.gaussian = gaussian

    def log_density(self, z):
        return self.gaussian.log_density(z)


def test_the_rate_by_draws_is_the_closed_form():
    rng = generator("cpu", "drawn")
    mean, log_variance = torch.randn(2, 5, 3, generator=rng, dtype=torch.float64)
    m = Gaussian(latent=3, input_shape=()).double()
    with torch.no_grad():
        m.mean.add_(0.7)
        m.log_variance.sub_(0.4)
    z = sample(mean, log_variance, torch.randn(DRAWS, 5, 3, generator=rng, dtype=torch.float64))
    error = AsDrawn(m).gain(z).std(0) / math.sqrt(DRAWS)
    assert ((rate_of(AsDrawn(m), mean, log_variance, z) - rate_of(m, mean, log_variance, z)).abs() < 5 * error).all()


def test_draws_add_no_noise_where_the_marginal_is_standard():
    m = Mixture(latent=4, input_shape=()).double()
    with torch.no_grad():
        m.means.zero_()
    mean, log_variance = torch.randn(2, 5, 4, generator=generator("cpu", "noise"), dtype=torch.float64)
    torch.testing.assert_close(rate_of(m, mean, log_variance, 3.0 * mean[None]), rate(mean, log_variance))


@pytest.mark.parametrize("name", BUILT_IN)
def test_replicas_that_are_stacked_have_the_functionals_of_those_that_are_not(name):
    x, y = torch.rand(9, 16, generator=generator("cpu", "x")), torch.arange(9) % 3
    noise = draw_noise(
        generator("cpu", "noise"), n=9, widths=Widths(latent=2), decoder_draws=1, head_draws=4, dtype=torch.float32
    )

    def replicas(kind):
        return kind([small(name), small(name)])

    one, other = (replicas(kind).functionals(x, y, noise) for kind in (Looped, Stacked))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("weighted", [False, True])
def test_pseudo_inputs_go_through_batch_norm_as_examples_do_and_leave_it_alone(weighted):
    model, x = small("vamp").train(not weighted), torch.rand(40, 16, generator=generator("cpu", "x"))
    with torch.no_grad():
        model.marginal.pseudo.copy_(x[torch.arange(marginal.COMPONENTS) % 40])
    layer = model.encoder[1]
    with WeightedStatistics(model) if weighted else beside(nn.Identity(), 0) as statistics:
        if weighted:
            statistics.weights = torch.linspace(0.5, 1.5, 40) / 40
        mean, log_variance = model.encode(x)
        running = layer.running_mean.clone()
        found = encoded(model, x)
    torch.testing.assert_close((found.mean, found.log_variance), (mean, log_variance))
    z = sample(mean, log_variance, torch.zeros(1, 40, 2))
    rows = torch.arange(marginal.COMPONENTS) % 40
    expected = log_mixture(z, torch.full((len(rows),), -math.log(len(rows))), mean[rows], log_variance[rows])
    torch.testing.assert_close(found.marginal.log_density(z), expected, rtol=1e-4, atol=1e-4)
    assert "forward" not in vars(layer)
    if not weighted:  # each pass moved the running mean towards the examples' own, a tenth of the way
        torch.testing.assert_close(layer.running_mean, 1.9 * running)


@pytest.mark.parametrize("name", LEARNT)
def test_the_scale_of_z_is_a_flat_direction(name):
    """z -> a z leaves R, D and C as they are where the marginal can follow, so the gradient has no part along it."""
    if name == "flow":
        pytest.skip("a flow follows by its network, in no direction that is known")
    model = small(name, latent=3, model="linear").double()
    x, y = torch.rand(30, 16, generator=generator("cpu", "x"), dtype=torch.float64), torch.arange(30) % 3
    noise = draw_noise(
        generator("cpu", "noise"), n=30, widths=Widths(latent=3), decoder_draws=1, head_draws=4, dtype=torch.float64
    )
    R, D, C, _ = Objective(model)(x, y, noise)
    named = dict(model.named_parameters())
    gradients = dict(zip(named, torch.autograd.grad((R + D + C).mean(), list(named.values())), strict=True))
    # derivative of each parameter by log a: z grows, the weights that take z in shrink
    along = {"encoder.weight": 1.0, "encoder.bias": 1.0, "decoder.weight": -1.0, "classifier.weight": -1.0}
    along |= {"marginal.mean": 1.0, "marginal.means": 1.0}
    shifted = ("log_variance", "marginal.log_variance", "marginal.log_variances")
    moves = [(gradients[key] * named[key]).sum() * by for key, by in along.items() if key in named]
    moves += [2.0 * gradients[key].sum() for key in shifted if key in named]
    assert abs(sum(moves).item()) < 1e-10 * sum(abs(move) for move in moves).item()
