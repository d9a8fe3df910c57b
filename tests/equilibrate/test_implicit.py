"""Exact derivatives against differences of solved equilibria, on a smooth model in float64."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import nn

from rayfe.data.device import DeviceExamples
from rayfe.equilibrate.implicit import Curvature, Half, derivatives
from rayfe.model.objective import Noise
from rayfe.records import Held, Point

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
        one, other = curvature(vector, point).gradients()
        return 0.5 * (one + other)

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
    exact = derivatives(curvature(equilibrium), iterations=2000, accuracy=1e-12)
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
    exact = derivatives(curvature(off), iterations=2000, accuracy=1e-12)
    J, C = Held(R=1.0, D=POINT.lam, C=POINT.gamma), Held(C=1.0)
    at = curvature(off)
    one, other = at.gradients()
    mean = 0.5 * (one + other)
    whole = 0.5 * float(mean @ at.solve(mean, iterations=2000, accuracy=1e-12).x)
    assert value(off, J) - value(equilibrium, J) == pytest.approx(whole, rel=0.1)
    back = -at.solve(mean, iterations=2000, accuracy=1e-12).x
    assert value(equilibrium, C) - value(off, C) == pytest.approx(float(sum(at.gradients(C)) / 2 @ back), rel=0.1)
    assert math.isfinite(exact.decrement)


def test_products_with_the_hessian_are_symmetric_also_through_batch_norm():
    start = nn.utils.parameters_to_vector(model(norm=True).parameters()).detach().numpy()
    at = curvature(start, norm=True, damping=0.3)
    u, v = np.random.default_rng(2).standard_normal((2, len(start)))
    assert u @ at.product(v) == pytest.approx(v @ at.product(u), rel=1e-9)
    step = 1e-6
    forward, backward = (sum(curvature(start + sign * step * v, norm=True).gradients()) / 2 for sign in (1, -1))
    assert at.product(v) - 0.3 * v == pytest.approx((forward - backward) / (2 * step), rel=1e-5, abs=1e-6)


def test_more_damping_makes_every_response_smaller(equilibrium):
    sizes = [
        -derivatives(curvature(equilibrium, damping=damping), iterations=2000, accuracy=1e-10).hessian[1, 1]
        for damping in (1e-6, 1e-2, 1.0)
    ]
    assert sizes == sorted(sizes, reverse=True)
