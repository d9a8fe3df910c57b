import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rayfe.config import ModelConfig, configure
from rayfe.data.examples import Dataset, Examples
from rayfe.data.paths import PathData
from rayfe.exceptions import UsageError
from rayfe.model.likelihood import (
    BUILT_IN,
    DEFAULT,
    Bernoulli,
    DiscretisedLogistic,
    Gaussian,
    Laplace,
    LearntGaussian,
    Likelihood,
    check_likelihood,
    check_support,
    likelihood_of,
)
from rayfe.model.objective import Objective, draw_noise
from rayfe.model.posterior import Widths
from rayfe.model.protocol import build
from rayfe.model.weights import load_weights, weights_of
from rayfe.records import Box, Point
from rayfe.run.model_checks import check_model
from rayfe.training.replicas import Looped, Stacked

PIXELS = 5


def new(cls: type[Likelihood], scale: float = 0.03) -> Any:
    """One whose parameters are logarithms of the scale, and of twice, three times ... it."""
    likelihood = cls(input_shape=(PIXELS,)).double()
    for value in likelihood.parameters():
        value.data = math.log(scale) + torch.arange(1.0, value.numel() + 1.0).double().log()
    return likelihood


def reconstructions(n: int = 7) -> Tensor:
    inner = torch.rand(n, PIXELS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.cat([inner, torch.zeros(1, PIXELS).double(), torch.ones(1, PIXELS).double()])


def test_without_a_likelihood_of_its_own_d_of_a_model_is_the_squared_error_and_costs_no_parameter() -> None:
    model = build(ModelConfig(hidden=4, latent=2), input_shape=(PIXELS,), classes=2)
    assert likelihood_of(model) is DEFAULT
    assert not list(DEFAULT.parameters())
    x, x_hat = torch.rand(3, PIXELS), torch.rand(3, PIXELS)
    assert torch.equal(DEFAULT(x, x_hat), (x - x_hat).square().flatten(1).sum(-1))


@pytest.mark.parametrize(("cls", "values"), [(Bernoulli, 2), (DiscretisedLogistic, 256)])
def test_the_probabilities_of_all_that_a_pixel_can_be_add_up_to_1(cls: type[Likelihood], values: int) -> None:
    likelihood, x_hat = new(cls), reconstructions()
    every = torch.linspace(0.0, 1.0, values, dtype=torch.float64)[:, None, None]
    total = (-likelihood.pixels(every, x_hat)).exp().sum(0)
    np.testing.assert_allclose(total.detach(), 1.0, rtol=1e-9)


@pytest.mark.parametrize("cls", [LearntGaussian, Laplace])
def test_a_density_integrates_to_1(cls: type[Likelihood]) -> None:
    likelihood = new(cls)
    x = torch.linspace(-4.0, 5.0, 90_001, dtype=torch.float64)[:, None, None]
    total = torch.trapezoid((-likelihood.pixels(x, reconstructions())).exp(), x, dim=0)
    np.testing.assert_allclose(total.detach(), 1.0, atol=1e-6)


def test_a_learnt_scale_is_best_where_it_is_that_of_the_errors() -> None:
    error = torch.randn(400, PIXELS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for cls, scale in ((LearntGaussian, error.square().mean()), (Laplace, error.abs().mean())):
        likelihood = new(cls, float(scale))
        likelihood(error, torch.zeros_like(error)).mean().backward()
        (parameter,) = likelihood.parameters()
        assert abs(float(parameter.grad)) < 1e-9, cls


def test_bernoulli_is_the_cross_entropy_of_logits_also_in_float32_where_it_is_almost_certain() -> None:
    logits = torch.linspace(-14.0, 14.0, 57, dtype=torch.float64)[:, None].requires_grad_()
    single = logits.detach().float().requires_grad_()
    for x in (torch.zeros(57, 1), torch.ones(57, 1)):
        exact = nn.functional.binary_cross_entropy_with_logits(logits, x.double(), reduction="none")
        D = Bernoulli(input_shape=(1,))(x, single.sigmoid())
        np.testing.assert_allclose(D.detach(), exact.detach()[:, 0], rtol=0.03, atol=1e-6)
        ours, theirs = (torch.autograd.grad(value.sum(), at)[0] for value, at in ((D, single), (exact, logits)))
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cls", [Bernoulli, DiscretisedLogistic])
def test_d_and_its_gradient_are_finite_where_a_reconstruction_is_0_or_1(cls: type[Likelihood]) -> None:
    x_hat = torch.tensor([[0.0, 1.0, 0.0, 1.0, 0.5]], requires_grad=True)
    D = cls(input_shape=(PIXELS,))(torch.tensor([[0.0, 0.0, 1.0, 1.0, 1.0]]), x_hat)
    (gradient,) = torch.autograd.grad(D.sum(), x_hat)
    assert torch.isfinite(D).all()
    assert torch.isfinite(gradient).all()
    assert gradient[0, 1] > 0 > gradient[0, 2]  # away from what is wrong


def test_a_logistic_that_is_wide_enough_for_grey_can_still_be_certain_of_black() -> None:
    likelihood = DiscretisedLogistic(input_shape=(1,))
    black = torch.zeros(1, 1)
    D = [likelihood(black, torch.tensor([[logit]]).sigmoid()).item() for logit in (-5.0, -25.0)]
    assert D[1] < 0.05 < D[0]


@pytest.mark.parametrize("cls", list(BUILT_IN.values()))
def test_tables_of_levels_are_probabilities(cls: type[Likelihood]) -> None:
    likelihood, x_hat = new(cls), reconstructions()
    table = likelihood.levels(x_hat)
    assert table.shape == (len(x_hat), PIXELS, 256)
    np.testing.assert_allclose(table.exp().sum(-1).detach(), 1.0, rtol=1e-9)
    if likelihood.probability:
        x = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0]).double().expand_as(x_hat)
        of_x = table.gather(-1, (255 * x).long()[..., None])[..., 0]
        np.testing.assert_allclose(-of_x.sum(-1).detach(), likelihood(x, x_hat).detach(), rtol=1e-9)


def test_the_table_of_a_gaussian_is_the_mass_of_its_bins() -> None:
    likelihood, x_hat = new(LearntGaussian, 0.1**2), reconstructions()
    edges = (torch.arange(257).double() - 0.5) / 255
    mass = torch.distributions.Normal(x_hat[..., None], 0.1).cdf(edges).diff(dim=-1)
    expected = mass / mass.sum(-1, keepdim=True)
    np.testing.assert_allclose(likelihood.levels(x_hat).exp().detach(), expected, rtol=2e-3, atol=1e-9)


def test_only_a_multiple_of_the_squared_error_has_a_weight() -> None:
    assert [new(cls, 0.25).squared_weight() for cls in (Gaussian, LearntGaussian, Laplace)] == [1.0, pytest.approx(2.0), None]
    x_hat = reconstructions()
    likelihood = new(LearntGaussian, 0.25)
    extra = likelihood(x_hat, x_hat)
    of_error = likelihood(x_hat + 0.1, x_hat) - extra
    np.testing.assert_allclose(of_error.detach(), likelihood.squared_weight() * PIXELS * 0.01)


# --- as a part of a model -----------------------------------------------------------------------------------------------


def model_with(name: str, seed: int = 0) -> Any:
    return build(ModelConfig(hidden=8, latent=2, likelihood=name), input_shape=(PIXELS,), classes=2, seed=seed)


@pytest.mark.parametrize("name", list(BUILT_IN))
def test_its_parameters_are_trained_stacked_and_stored_as_the_models(name: str) -> None:
    models = [model_with(name, seed) for seed in (0, 1)]
    rng = torch.Generator().manual_seed(0)
    x, y = (torch.rand(6, PIXELS, generator=rng) > 0.5).float(), torch.arange(6) % 2
    noise = draw_noise(rng, n=6, widths=Widths(latent=2), decoder_draws=2, head_draws=2, dtype=torch.float32)
    looped, stacked = (kind(models).functionals(x, y, noise).D for kind in (Looped, Stacked))
    np.testing.assert_allclose(looped.detach(), stacked.detach(), rtol=1e-4)
    own = [value for path, value in models[0].named_parameters() if path.startswith("likelihood.")]
    for gradient in torch.autograd.grad(looped.sum(), own) if own else ():
        assert gradient.abs().max() > 0
    again = model_with(name, 2)
    load_weights(again, weights_of(models[0]))
    first, second = (Objective(model.eval())(x, y, noise).D for model in (models[0], again))
    assert torch.equal(first, second)


def test_a_conditioned_model_has_a_variance_for_each_point() -> None:
    from rayfe.model.conditioned import Conditioned

    model = Conditioned(model_with("gaussian-learnt"), Box(lam=(1.0, 2.0), gamma=(1.0, 2.0)), seed=0)
    nn.init.normal_(model.network[-1].weight)
    at = [model.fold(Point(lam=lam, gamma=1.0))["likelihood.log_variance"] for lam in (1.0, 2.0)]
    assert at[0] != at[1]


class Broken(Likelihood):
    """Fails when it is called."""

    def pixels(self, x: Tensor, x_hat: Tensor) -> Tensor:
        return x.square() + self.none


class Cauchy(Likelihood):
    """Of the user's own."""

    def pixels(self, x: Tensor, x_hat: Tensor) -> Tensor:
        return math.log(math.pi) + (1.0 + (x - x_hat).square()).log()


class Blind(Likelihood):
    """Not a function of the reconstruction."""

    def pixels(self, x: Tensor, x_hat: Tensor) -> Tensor:
        return x.square()


class Unsupported(Cauchy):
    def fault(self, x: np.ndarray) -> str | None:
        return str(1 / 0)


class Unnamed(Cauchy):
    unit = 3  # type: ignore[assignment]


class Unmade(Cauchy):
    """Is no module of torch yet."""

    def __init__(self, *, input_shape: tuple[int, ...]) -> None:
        return None


def check(name: str, *examples: np.ndarray, model: str = "mlp") -> None:
    """What a run of this configuration looks at."""
    built = build(ModelConfig(name=model, likelihood=name), input_shape=(PIXELS,), classes=2)
    check_support(built, name, *examples)
    check_likelihood(built, name, torch.from_numpy(GREY))


GREY = np.random.default_rng(0).random((40, PIXELS)).astype(np.float32)
BINARY = (GREY > 0.5).astype(np.float32)
BYTES = (255 * GREY).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "x"),
    [
        ("bernoulli", BINARY),
        ("bernoulli", 255 * (BYTES > 99).astype(np.uint8)),
        ("discretised-logistic", BYTES),
        ("laplace", GREY),
    ],
)
def test_data_in_the_support_are_taken(name: str, x: np.ndarray) -> None:
    check(name, x)


def test_a_likelihood_of_the_users_own_is_taken() -> None:
    check(f"{__name__}:Cauchy", GREY)


@pytest.mark.parametrize(
    ("name", "x", "model", "fix"),
    [
        (
            "bernoulli",
            GREY,
            "mlp",
            "needs pixels that are 0 or 1, but 100 % of the data's are not; give data that are, e.g. x > 0.5",
        ),
        ("bernoulli", BYTES, "mlp", "needs pixels that are 0 or 1, but"),
        ("bernoulli", BINARY, "linear", "needs reconstructions in .0, 1., but decode returns .* with a sigmoid"),
        ("discretised-logistic", 3 * GREY, "mlp", "needs data in .0, 1., but they range from 0.* to 2"),
        (
            "poisson",
            GREY,
            "mlp",
            "give gaussian, gaussian-learnt, bernoulli, discretised-logistic, laplace, or package.module:Class",
        ),
        ("torch.nn:Linear", GREY, "mlp", "expected a subclass of rayfe.model.likelihood.Likelihood"),
        (f"{__name__}:Broken", GREY, "mlp", "fails for x and x_hat of shape .* no attribute 'none'"),
        (f"{__name__}:Blind", GREY, "mlp", "with a gradient in x_hat"),
        (f"{__name__}:Unsupported", GREY, "mlp", r"fails for the data \(ZeroDivisionError"),
        (f"{__name__}:Unnamed", GREY, "mlp", "has the unit 3; give a word"),
        (f"{__name__}:Unmade", GREY, "mlp", r"cannot be built as Class\(input_shape=...\) \(AttributeError"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, x: np.ndarray, model: str, fix: str) -> None:
    with pytest.raises(UsageError, match=fix) as refused:
        check(name, x, model=model)
    assert refused.value.name == "model.likelihood"


def test_blends_of_binary_images_along_a_displacement_are_not_binary() -> None:
    ends = [Examples(x=x, y=np.arange(len(x)) % 2) for x in (BINARY, 1.0 - BINARY)]
    source, target = (Dataset(name="own", train=end, validation=end, class_names=("a", "b")) for end in ends)
    config = configure(model={"likelihood": "bernoulli"}, equilibration={"batch": 16})
    with pytest.raises(UsageError, match="needs pixels that are 0 or 1, but 100 %"):
        check_model(config, PathData(kind="displacement", source=source, target=target))
