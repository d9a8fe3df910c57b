"""Exact derivatives against differences of solved equilibria, on a smooth model in float64."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import nn

from rayfe.data.device_path import DeviceExamples, Still
from rayfe.data.randomness import generator
from rayfe.model.objective import Noise
from rayfe.model.posterior import Widths
from rayfe.records import Held, Point
from rayfe.training.exact_derivatives import Curvature, Half, derivatives, draw_parts

LATENT, PIXELS, CLASSES, N = 2, 5, 3, 24
POINT = Point(lam=0.7, gamma=1.5)


class Smooth(nn.Module):
    """No batch-norm, no ReLU: J is a smooth function of a few weights."""

    latent = LATENT

    def __init__(self, *, norm: bool = False) -> None:
        super().__init__()
        self.encoder = nn.Linear(PIXELS, 2 * LATENT)
        self.norm: nn.Module = nn.BatchNorm1d(2 * LATENT) if norm else nn.Identity()
        self.decoder, self.head = nn.Linear(LATENT, PIXELS), nn.Linear(LATENT, CLASSES - 1)

    def encode(self, x):
        mean, log_variance = self.norm(self.encoder(x)).chunk(2, -1)
        return mean, torch.tanh(log_variance)

    def decode(self, z):
        return torch.sigmoid(self.decoder(z))

    def classify(self, z):
        logits = self.head(z)
        return torch.cat([logits, torch.zeros_like(logits[:, :1])], -1)  # a shift of all would be free


def halves() -> list[Half]:
    rng = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    y = torch.arange(N) % CLASSES
    centres = normal(CLASSES, PIXELS)
    found = []
    for _ in range(2):
        x = torch.sigmoid(centres[y] + 0.7 * normal(N, PIXELS))
        noise = Noise(decoder=normal(2, N, LATENT), head=normal(2, N, LATENT))
        found.append(
            Half(examples=DeviceExamples(x=x, y=y), noise=noise, weights=torch.full((N,), 1.0 / N, dtype=torch.float64))
        )
    return found


def model(vector: np.ndarray | None = None, *, norm: bool = False) -> Smooth:
    torch.manual_seed(1)
    made = Smooth(norm=norm).double()
    if vector is not None:
        nn.utils.vector_to_parameters(torch.from_numpy(vector), made.parameters())
    return made


def curvature(vector: np.ndarray, point: Point = POINT, *, damping: float = 1e-10, norm: bool = False) -> Curvature:
    return Curvature(model(vector, norm=norm), halves(), point, damping=damping)


def value(vector: np.ndarray, held: Held) -> float:
    at = curvature(vector)
    total = 0.0
    for half in at._halves:
        R, D, C, _ = at._objective(half.examples.x, half.examples.y, half.noise)
        total += 0.5 * float((held.R * R + held.D * D + held.C * C).mean().detach())
    return total


def solved(point: Point, start: np.ndarray) -> np.ndarray:
    """The equilibrium at `point` near `start`, |grad J| < 1e-8, by Newton's method with a dense Hessian."""

    def gradient(vector: np.ndarray) -> np.ndarray:
        return curvature(vector, point).gradient(halves())

    def hessian(vector: np.ndarray) -> np.ndarray:
        at = curvature(vector, point, damping=0.0)
        return np.stack([at.product(column) for column in np.eye(len(vector))])

    J = Held(R=1.0, D=point.lam, C=point.gamma)
    near = scipy.optimize.minimize(lambda v: value(v, J), start, jac=gradient, method="BFGS", options={"gtol": 1e-6}).x
    for _ in range(8):
        near = near - np.linalg.lstsq(hessian(near), gradient(near), rcond=1e-9)[0]  # an unused latent has flat directions
    assert np.linalg.norm(gradient(near)) < 1e-8
    return near


@pytest.fixture(scope="module")
def equilibrium() -> np.ndarray:
    return solved(POINT, nn.utils.parameters_to_vector(model().parameters()).detach().numpy())


def flat(weights) -> np.ndarray:
    return np.concatenate([part.ravel() for part in weights.values()])


def test_implicit_derivatives_are_those_of_solved_equilibria(equilibrium):
    exact = derivatives(curvature(equilibrium), halves(), halves(), iterations=2000, accuracy=1e-12)
    step = 1e-4
    ends = {
        name: [
            solved(dataclasses.replace(POINT, **{name: getattr(POINT, name) + sign * step}), equilibrium) for sign in (1, -1)
        ]
        for name in ("lam", "gamma")
    }
    for column, name in enumerate(("lam", "gamma")):
        up, down = ends[name]
        tangent = (up - down) / (2 * step)
        ours = flat(exact.theta_lam if name == "lam" else exact.theta_gamma)
        flat_ones_apart = curvature(equilibrium).product(ours - tangent)
        assert np.linalg.norm(flat_ones_apart) < 1e-2 * np.linalg.norm(curvature(equilibrium).product(tangent))
        for row, held in enumerate((Held(D=1.0), Held(C=1.0))):
            difference = (value(up, held) - value(down, held)) / (2 * step)
            assert exact.hessian[row, column] == pytest.approx(difference, rel=1e-2)
    assert exact.hessian[0, 1] == pytest.approx(exact.hessian[1, 0], rel=1e-6)
    assert np.linalg.eigvalsh(exact.hessian)[-1] < 0.0


def test_the_decrement_is_the_distance_in_F_and_C_lag_that_in_C(equilibrium):
    rng = np.random.default_rng(0)
    off = equilibrium + 2e-3 * rng.standard_normal(len(equilibrium))
    exact = derivatives(curvature(off), halves(), halves(), iterations=2000, accuracy=1e-12)
    J, C = Held(R=1.0, D=POINT.lam, C=POINT.gamma), Held(C=1.0)
    assert value(off, J) - value(equilibrium, J) == pytest.approx(exact.decrement, rel=0.1)
    assert value(equilibrium, C) - value(off, C) == pytest.approx(exact.C_lag, rel=0.1)


def test_products_with_the_hessian_are_symmetric_also_through_batch_norm():
    start = nn.utils.parameters_to_vector(model(norm=True).parameters()).detach().numpy()
    at = curvature(start, norm=True, damping=0.3)
    u, v = np.random.default_rng(2).standard_normal((2, len(start)))
    assert u @ at.product(v) == pytest.approx(v @ at.product(u), rel=1e-9)
    step = 1e-6
    forward, backward = (curvature(start + sign * step * v, norm=True).gradient(halves()) for sign in (1, -1))
    assert at.product(v) - 0.3 * v == pytest.approx((forward - backward) / (2 * step), rel=1e-5, abs=1e-6)


def test_more_damping_makes_every_response_smaller(equilibrium):
    sizes = [
        -derivatives(curvature(equilibrium, damping=damping), halves(), halves(), iterations=2000, accuracy=1e-10).hessian[1, 1]
        for damping in (1e-6, 1e-2, 1.0)
    ]
    assert sizes == sorted(sizes, reverse=True)


# --- with noise: means over seeds against the derivatives of J itself --------------------------------------------------------

IMAGES, MANY, SEEDS, DAMPING = 60, 64, 40, 0.05


@functools.cache
def images() -> DeviceExamples:
    rng = torch.Generator().manual_seed(4)
    y = torch.arange(IMAGES) % CLASSES
    centres = torch.randn(CLASSES, PIXELS, generator=rng, dtype=torch.float64)
    x = torch.sigmoid(centres[y] + 0.7 * torch.randn(IMAGES, PIXELS, generator=rng, dtype=torch.float64))
    return DeviceExamples(x=x, y=y)


@functools.cache
def all_draws() -> tuple[Half, ...]:
    """All images with so many antithetic quasi-random draws of z that J hardly has noise."""
    points = torch.quasirandom.SobolEngine(IMAGES * LATENT, scramble=True, seed=1).draw(MANY).double()
    normal = (2.0 * points.clamp(1e-6, 1.0 - 1e-6) - 1.0).erfinv().mul(2.0**0.5).view(MANY, IMAGES, LATENT)
    noise = torch.cat([normal, -normal])
    weights = torch.full((IMAGES,), 1.0 / IMAGES, dtype=torch.float64)
    return (Half(examples=images(), noise=Noise(decoder=noise, head=noise), weights=weights),)


def exactly(vector: np.ndarray) -> Curvature:
    return Curvature(model(vector), all_draws(), POINT, damping=DAMPING)


@functools.cache
def settled() -> np.ndarray:
    """The equilibrium of J itself near a new model, by L-BFGS on all images and draws."""

    def loss(vector: np.ndarray) -> tuple[float, np.ndarray]:
        at = exactly(vector)
        R, D, C, _ = at._objective(images().x, images().y, all_draws()[0].noise)
        return float((R + POINT.lam * D + POINT.gamma * C).mean().detach()), at.gradient(all_draws())

    start = nn.utils.parameters_to_vector(model().parameters()).detach().numpy()
    options = {"maxiter": 1000, "maxfun": 2000, "ftol": 0.0, "gtol": 1e-6}
    found = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
    assert np.linalg.norm(exactly(found).gradient(all_draws())) < 1e-5
    return found


def estimates(vector: np.ndarray) -> list[dict[str, float]]:
    """What a run reads, and what two faulty estimators would, a line a seed: 8 draws of z for each image."""
    path, found = Still(images()), []
    for seed in range(SEEDS):
        order, noise = (generator("cpu", seed, name) for name in ("order", "noise"))
        batches = [
            tuple(
                draw_parts(
                    path, 0.0, IMAGES // 2, count=2, widths=Widths(latent=LATENT), decoder_draws=2, order=order, noise=noise
                )
            )
            for _ in range(3)
        ]
        at = Curvature(model(vector), batches[0], POINT, damping=DAMPING)
        exact = derivatives(at, *batches[1:], iterations=40, accuracy=1e-4)
        one, other = (at.gradient((half,)) for half in batches[1])
        both = at.gradient(batches[1])
        solved = at.solve(both, iterations=40, accuracy=1e-4).x
        found.append(
            {
                "decrement": exact.decrement,
                "C_lag": exact.C_lag,
                "C_gamma": exact.hessian[1, 1],
                "D_lam": exact.hessian[0, 0],
                "C_lam": exact.hessian[1, 0],
                "disjoint decrement": 0.5 * float(one @ at.solve(other, iterations=40, accuracy=1e-4).x),
                "C_lag of one noise": -float(at.gradient(batches[1], Held(C=1.0)) @ solved),
            }
        )
    return found


@functools.cache
def at_and_off_equilibrium() -> tuple[list[dict[str, float]], list[dict[str, float]], np.ndarray]:
    rng = np.random.default_rng(0)
    off = settled() + 0.04 * rng.standard_normal(len(settled()))
    return estimates(settled()), estimates(off), off


def mean_and_error(lines: list[dict[str, float]], name: str) -> tuple[float, float]:
    values = np.array([line[name] for line in lines])
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


@pytest.mark.parametrize("name", ["decrement", "C_lag"])
def test_at_equilibrium_the_distance_is_zero_within_its_noise(name: str) -> None:
    mean, error = mean_and_error(at_and_off_equilibrium()[0], name)
    assert abs(mean) < 4 * error


@pytest.mark.parametrize(("name", "sign"), [("disjoint decrement", -1), ("C_lag of one noise", -1)])
def test_halves_of_all_images_and_one_noise_for_both_gradients_would_show_what_is_not_there(name: str, sign: int) -> None:
    mean, error = mean_and_error(at_and_off_equilibrium()[0], name)
    assert sign * mean > 2 * error


@pytest.mark.parametrize("name", ["decrement", "C_lag", "C_gamma", "D_lam", "C_lam"])
def test_off_equilibrium_means_over_seeds_are_the_derivatives_of_J_itself(name: str) -> None:
    lines, off = at_and_off_equilibrium()[1:]
    truth = derivatives(exactly(off), all_draws(), all_draws(), iterations=400, accuracy=1e-10)
    (D_lam, _), (C_lam, C_gamma) = truth.hessian.tolist()
    wanted = {"decrement": truth.decrement, "C_lag": truth.C_lag, "C_gamma": C_gamma, "D_lam": D_lam, "C_lam": C_lam}[name]
    mean, error = mean_and_error(lines, name)
    assert abs(mean - wanted) < 4 * error + 0.05 * abs(wanted)
    assert abs(wanted) > 3 * error or name == "C_lag"
