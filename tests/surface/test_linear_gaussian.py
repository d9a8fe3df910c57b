"""The exact surface of linear models: nothing of the family is lower, and it obeys the identities of an equilibrium surface."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from rayfe.config import DataConfig, ModelConfig
from rayfe.data.datasets import load
from rayfe.model import marginal
from rayfe.model.objective import Noise, Objective, draw_noise
from rayfe.model.posterior import Widths
from rayfe.model.protocol import build
from rayfe.surface.linear_gaussian import Encoder, LinearGaussian

LATENT = 4


def small() -> tuple[np.ndarray, np.ndarray]:
    """300 examples of three classes whose means differ where the variance is small."""
    rng = np.random.default_rng(5)
    y = np.arange(300) % 3
    means = np.zeros((3, 6))
    means[:, 4:] = 2.0 * np.array([[1.0, 0.0], [-0.5, 0.9], [-0.5, -0.9]])
    x = (rng.normal(size=(300, 6)) + means[y]) * np.array([1.5, 1.0, 0.7, 0.5, 0.3, 0.2])
    return x @ np.linalg.qr(rng.standard_normal((6, 6)))[0] + 1.0, y


@pytest.fixture(scope="module")
def surface() -> LinearGaussian:
    return LinearGaussian(*small(), latent=LATENT, nodes=8)


def random_start(rng: np.random.Generator, latent: int, features: int) -> Encoder:
    scale = 10.0 ** rng.uniform(-2, 1)
    return Encoder(
        M=scale * rng.standard_normal((latent, features)), L=np.tril(rng.standard_normal((2, 2))), c=rng.standard_normal(2)
    )


@pytest.mark.parametrize(("lam", "gamma"), [(0.6, 3.0), (4.0, 2.0)])
def test_no_model_of_the_family_is_lower(surface: LinearGaussian, lam: float, gamma: float) -> None:
    rng = np.random.default_rng(1)

    def F(flat: np.ndarray, like: Encoder) -> tuple[float, np.ndarray]:
        model = like.like(flat)
        return surface.free_energy(model, lam, gamma, surface.sample_loss(model))

    def minimum(start: Encoder) -> float:
        options = {"maxiter": 5000, "ftol": 0.0, "gtol": 1e-7}
        return minimize(F, start.flat, args=(start,), jac=True, method="L-BFGS-B", options=options).fun

    direct = sorted(minimum(random_start(rng, LATENT, 6)) for _ in range(6))
    assert surface.at(lam, gamma).F <= direct[0] + 1e-8
    assert surface.at(lam, gamma).F >= direct[0] - 1e-6  # rarer minima may be a little lower


def test_more_dimensions_of_z_than_directions_change_nothing() -> None:
    full, wide = (LinearGaussian(*small(), latent=latent, nodes=8).at(2.0, 3.0) for latent in (6, 11))
    assert wide.F == pytest.approx(full.F, abs=1e-8)


def test_gradient_is_that_of_differences(surface: LinearGaussian) -> None:
    model, step = random_start(np.random.default_rng(2), LATENT, 6), 1e-6

    def F(flat: np.ndarray) -> float:
        moved = model.like(flat)
        return surface.free_energy(moved, 2.0, 3.0, surface.sample_loss(moved))[0]

    gradient, above = surface.free_energy(model, 2.0, 3.0, surface.sample_loss(model))[1], model.M.size + 1
    for i in (i for i in range(0, len(gradient), 3) if i != above):
        moved = step * np.eye(len(gradient))[i]
        difference = (F(model.flat + moved) - F(model.flat - moved)) / (2 * step)
        assert gradient[i] == pytest.approx(difference, abs=1e-6 * max(1.0, abs(difference)))


def test_rate_and_distortion_are_those_of_a_model_that_is_drawn_from(surface: LinearGaussian) -> None:
    x, _ = small()
    found, rng = surface.at(2.0, 3.0), np.random.default_rng(0)
    centred = x - x.mean(0)
    spectrum, axes = np.linalg.eigh(centred.T @ centred / len(x))
    whitened = centred @ axes[:, ::-1] / np.sqrt(spectrum[::-1])
    left, signal, _ = np.linalg.svd(found.model.M)
    W = left.T @ found.model.M  # turned, so that the dimensions of z have no correlation
    scale = 1.0 / np.sqrt(1.0 + signal**2)
    mean, variance = whitened @ W.T * scale, scale**2
    rate = 0.5 * (np.square(mean) + variance - 1.0 - np.log(variance)).mean(0)
    z = np.repeat(mean, 200, 0) + np.sqrt(variance) * rng.standard_normal((200 * len(x), LATENT))
    wanted = np.repeat(centred, 200, 0)
    missed = wanted - z @ np.linalg.lstsq(z, wanted)[0]
    assert np.sort(rate)[::-1] == pytest.approx(found.rates, abs=1e-8)
    assert rate.sum() == pytest.approx(found.R, abs=1e-8)
    assert np.square(missed).sum(1).mean() == pytest.approx(found.D, rel=5e-3)


def test_slopes_of_the_free_energy_are_distortion_and_loss_and_maxwell_holds(surface: LinearGaussian) -> None:
    lam, gamma, step = 2.0, 3.0, 1e-3
    here = surface.at(lam, gamma)
    up, down = surface.at(lam + step, gamma), surface.at(lam - step, gamma)
    more, less = surface.at(lam, gamma + step), surface.at(lam, gamma - step)
    assert (up.F - down.F) / (2 * step) == pytest.approx(here.D, rel=1e-4)
    assert (more.F - less.F) / (2 * step) == pytest.approx(here.C, rel=1e-4)
    D_gamma, C_lam = (more.D - less.D) / (2 * step), (up.C - down.C) / (2 * step)
    assert D_gamma == pytest.approx(C_lam, rel=1e-3)
    first_law = (up.R - down.R) + lam * (up.D - down.D) + gamma * (up.C - down.C)
    assert first_law == pytest.approx(0.0, abs=1e-4 * abs(up.R - down.R))
    assert here.F == pytest.approx(here.R + lam * here.D + gamma * here.C, abs=1e-12)


def test_the_multiplier_of_a_wanted_loss_is_found(surface: LinearGaussian) -> None:
    wanted = surface.at(1.0, 3.0).C
    gamma, found = surface.at_loss(2.5, wanted, near=3.0)
    assert found.C == pytest.approx(wanted, rel=1e-6)
    assert surface.at(2.5, gamma).F == pytest.approx(found.F, abs=1e-7)
    with pytest.raises(ValueError, match="is not on the surface"):
        surface.at_loss(2.5, 2.0, near=3.0)


def test_equal_questions_have_equal_bytes(surface: LinearGaussian) -> None:
    other = LinearGaussian(*small(), latent=LATENT, nodes=8)
    assert surface.at(1.0, 2.0).F == other.at(1.0, 2.0).F
    assert surface.at_loss(1.5, 0.9, near=2.0)[0] == other.at_loss(1.5, 0.9, near=2.0)[0]


@pytest.mark.parametrize("lam", [0.6, 3.0, 25.0])
def test_quadrature_nodes_suffice_on_the_data_of_the_preset(lam: float) -> None:
    train = load(DataConfig(name="gaussian")).train
    coarse = LinearGaussian(train.x, train.y, latent=16)
    fine = LinearGaussian(train.x, train.y, latent=16, nodes=24)
    model = coarse.of_classes(lam, 3.0).model
    assert coarse.sample_loss(model).value == pytest.approx(fine.sample_loss(model).value, abs=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(("lam", "gamma"), [(0.6, 3.0), (5.0, 2.8), (25.0, 2.0)])
def test_the_lowest_of_fifty_starts_is_found_by_many_and_by_the_preset_s_own(lam: float, gamma: float) -> None:
    train = load(DataConfig(name="gaussian")).train
    surface, rng = LinearGaussian(train.x, train.y, latent=16), np.random.default_rng(0)
    found = sorted(surface.at(lam, gamma, start=random_start(rng, 16, 32)).F for _ in range(50))
    own = surface.at(lam, gamma)
    assert found[4] == pytest.approx(found[0], abs=1e-8)
    assert own.F == pytest.approx(found[0], abs=1e-8)
    assert own.slope < 1e-4


# --- a learnt mixture as marginal ---------------------------------------------------------------------------------------

WELL_KNOWN = 3000
"""Examples of which a mixture of few Gaussians learns some 0.01 nats by heart."""


def classes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Examples of three Gaussian classes with one covariance, which two of five features tell apart."""
    rng = np.random.default_rng(7)
    y = np.arange(count) % 3
    means = np.zeros((3, 5))
    means[:, 3:] = 2.5 * np.array([[1.0, 0.0], [-0.5, 0.9], [-0.5, -0.9]])
    return (rng.normal(size=(count, 5)) + means[y]) * np.array([1.5, 1.0, 0.7, 0.5, 0.4]), y


@pytest.fixture(scope="module")
def mixture() -> LinearGaussian:
    return LinearGaussian(*classes(WELL_KNOWN), latent=LATENT, nodes=8, mixture=True)


def test_a_mixture_lowers_F_most_where_z_tells_classes_apart(mixture: LinearGaussian) -> None:
    usual = LinearGaussian(*classes(WELL_KNOWN), latent=LATENT, nodes=8)
    for lam, gamma in ((0.6, 3.0), (4.0, 2.0)):
        one, other = usual.at(lam, gamma), mixture.at(lam, gamma)
        assert other.F < one.F - 0.05
        assert other.F == pytest.approx(other.R + lam * other.D + gamma * other.C, abs=1e-12)
    with pytest.raises(ValueError, match="known above 1"):
        mixture.at(1.0, 1.0)


def test_with_a_mixture_the_slopes_of_F_are_D_and_C(mixture: LinearGaussian) -> None:
    lam, gamma, step = 2.0, 3.0, 1e-3
    found = mixture.at(lam, gamma)
    slopes = [
        (mixture.at(lam + step * a, gamma + step * b).F - mixture.at(lam - step * a, gamma - step * b).F) / (2 * step)
        for a, b in ((1, 0), (0, 1))
    ]
    np.testing.assert_allclose(slopes, (found.D, found.C), rtol=1e-4)


def test_a_trained_model_with_a_mixture_reaches_the_known_F(mixture: LinearGaussian, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a few more components than classes, so that none has to stand for two; N(0, I) could not come within 2 % of it."""
    monkeypatch.setattr(marginal, "COMPONENTS", 8)
    lam, gamma = 0.6, 3.0
    model = build(
        ModelConfig(name="linear", latent=LATENT, classifier_hidden=0, marginal="mixture"), input_shape=(5,), classes=3
    )
    objective, (x, y) = Objective(model.double()), map(torch.from_numpy, classes(WELL_KNOWN))
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=80, history_size=20, line_search_fn="strong_wolfe")
    rng = torch.Generator().manual_seed(0)

    def J(noise: Noise) -> torch.Tensor:
        R, D, C, _ = objective(x, y, noise)
        return (R + lam * D + gamma * C).mean()

    def noise_of(head_draws: int) -> Noise:
        size = {"n": WELL_KNOWN, "widths": Widths(latent=LATENT), "decoder_draws": 2, "head_draws": head_draws}
        return draw_noise(rng, dtype=torch.float64, **size)

    same = noise_of(2)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = J(same)
        value.backward()
        return value

    optimizer.step(closure)
    with torch.no_grad():
        found = np.mean([J(noise_of(16)).item() for _ in range(4)])
    exact, usual = mixture.at(lam, gamma).F, LinearGaussian(*classes(WELL_KNOWN), latent=LATENT, nodes=8).at(lam, gamma).F
    assert usual > 1.02 * exact
    assert found == pytest.approx(exact, rel=0.005)
