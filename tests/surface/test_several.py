"""k losses, a multiplier each, on a surface that is known: response, velocity, settle, and a walk that holds all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayfe.records import Point, Response
from rayfe.surface.process import IsoClassification, SingularResponse
from rayfe.surface.several import Neighbours, SeveralResponse, broyden, response_of, response_of_few, velocity


@dataclass(frozen=True)
class Known:
    """F = a log u + sum_j b_j log(1 + r_j gamma_j) + c log(1 + s lam), u = 1 + p lam + sum_j q_j gamma_j, which is concave."""

    q: np.ndarray
    r: np.ndarray
    a: float = 2.0
    b: float = 0.5
    c: float = 3.0
    p: float = 0.8
    s: float = 0.5

    def u(self, lam: float, gamma: np.ndarray) -> float:
        return float(1.0 + self.p * lam + self.q @ gamma)

    def C(self, lam: float, gamma: np.ndarray) -> np.ndarray:
        return self.a * self.q / self.u(lam, gamma) + self.b * self.r / (1.0 + self.r * gamma)

    def D(self, lam: float, gamma: np.ndarray) -> float:
        return self.a * self.p / self.u(lam, gamma) + self.c * self.s / (1.0 + self.s * lam)

    def C_gamma(self, lam: float, gamma: np.ndarray) -> np.ndarray:
        own = self.b * (self.r / (1.0 + self.r * gamma)) ** 2
        return -self.a * np.outer(self.q, self.q) / self.u(lam, gamma) ** 2 - np.diag(own)

    def C_lam(self, lam: float, gamma: np.ndarray) -> np.ndarray:
        return -self.a * self.p * self.q / self.u(lam, gamma) ** 2

    def read(self, lam: float, gamma: np.ndarray, *, delta: float = 0.01) -> Neighbours:
        shifts = np.diag(delta * gamma)
        up, down = (np.array([self.C(lam, gamma + sign * shift) for shift in shifts]) for sign in (1.0, -1.0))
        D_up, D_down = (np.array([self.D(lam, gamma + sign * shift) for shift in shifts]) for sign in (1.0, -1.0))
        noise = np.zeros_like(up)
        return Neighbours(width=2.0 * delta * gamma, C_up=up, C_down=down, D_up=D_up, D_down=D_down, C_noise=noise)

    def exact(self, lam: float, gamma: np.ndarray) -> SeveralResponse:
        C_gamma = self.C_gamma(lam, gamma)
        return SeveralResponse(C_lam=self.C_lam(lam, gamma), C_gamma=C_gamma, C_gamma_se=np.zeros_like(C_gamma), asymmetry=0.0)


def known(k: int) -> Known:
    return Known(q=np.linspace(0.5, 1.5, k), r=np.linspace(2.0, 1.0, k))


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_differences_between_neighbours_are_the_hessian_to_second_order(k: int) -> None:
    surface, gamma = known(k), np.linspace(2.0, 4.0, k)
    exact, errors = surface.exact(0.7, gamma), []
    for delta in (0.1, 0.05):
        found = response_of(surface.read(0.7, gamma, delta=delta))
        errors.append(np.abs(found.C_gamma - exact.C_gamma).max() + np.abs(found.C_lam - exact.C_lam).max())
        assert found.asymmetry < 0.01
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.1)
    assert errors[1] < 1e-3


def test_the_error_of_a_slope_is_that_of_the_difference_over_the_width() -> None:
    surface, gamma = known(2), np.array([2.0, 4.0])
    read = surface.read(0.7, gamma)
    noisy = Neighbours(
        width=read.width, C_up=read.C_up, C_down=read.C_down, D_up=read.D_up, D_down=read.D_down, C_noise=np.full((2, 2), 1e-3)
    )
    error = response_of(noisy).C_gamma_se
    np.testing.assert_allclose(np.diag(error), 1e-3 / read.width * 0.5 * 2**0.5)
    np.testing.assert_allclose(error[0, 1], 0.5 * np.hypot(*(1e-3 / read.width)))


@given(st.lists(st.floats(0.3, 20.0), min_size=1, max_size=4), st.floats(0.1, 5.0))
def test_no_loss_changes_to_first_order(multipliers: list[float], lam: float) -> None:
    surface, gamma = known(len(multipliers)), np.array(multipliers)
    gamma_dot = velocity(gamma, surface.exact(lam, gamma), lam_dot=lam)
    step = 1e-5
    changed = surface.C(lam * (1.0 + step), gamma + step * gamma_dot) - surface.C(lam * (1.0 - step), gamma - step * gamma_dot)
    moved = surface.C(lam * (1.0 + step), gamma) - surface.C(lam * (1.0 - step), gamma)
    assert np.abs(changed).max() <= 1e-6 * np.abs(moved).max() + 1e-14


def test_one_loss_is_iso_classification() -> None:
    surface, gamma = known(1), np.array([3.0])
    exact = surface.exact(0.7, gamma)
    C_lam, C_gamma = float(exact.C_lam[0]), float(exact.C_gamma[0, 0])
    alone = Response(C_lam=C_lam, C_gamma=C_gamma, D_gamma=C_lam, C_lam_se=0.0, C_gamma_se=0.0)
    expected = IsoClassification(3.5).velocity(Point(lam=0.7, gamma=3.0), alone)
    assert velocity(gamma, exact, lam_dot=expected.lam) == pytest.approx(expected.gamma)


def test_losses_that_the_errors_do_not_tell_apart_cannot_be_held() -> None:
    gamma, same = np.array([2.0, 3.0]), np.full((2, 2), -0.1)  # both multipliers do the same
    response = SeveralResponse(C_lam=np.ones(2), C_gamma=same, C_gamma_se=np.full((2, 2), 1e-4), asymmetry=0.0)
    with pytest.raises(SingularResponse, match="highest eigenvalue of C_gamma") as stopped:
        velocity(gamma, response, lam_dot=1.0)
    assert stopped.value.stop == "gamma_blind"
    apart = SeveralResponse(C_lam=np.ones(2), C_gamma=same - 0.01 * np.eye(2), C_gamma_se=response.C_gamma_se, asymmetry=0.0)
    assert np.isfinite(velocity(gamma, apart, lam_dot=1.0)).all()


@pytest.mark.parametrize("k", [5, 10])
def test_two_pairs_of_neighbours_tell_the_diagonal_where_there_is_no_more(k: int) -> None:
    """With no coupling between the losses the diagonal is exact to second order, and D tells C_lam of all together."""
    surface, gamma, delta = Known(q=np.zeros(k), r=np.linspace(2.0, 1.0, k)), np.linspace(2.0, 4.0, k), 0.01
    signs = np.array([np.ones(k), np.resize([1.0, -1.0], k)])
    up, down = (np.array([surface.C(0.7, gamma * (1.0 + side * delta * sign)) for sign in signs]) for side in (1.0, -1.0))
    D = np.array([0.3, 0.0])
    read = Neighbours(
        width=np.full(2, 2.0 * delta), C_up=up, C_down=down, D_up=D, D_down=np.zeros(2), C_noise=np.full((2, k), 1e-4)
    )
    found = response_of_few(read, signs, gamma)
    np.testing.assert_allclose(found.C_gamma, surface.C_gamma(0.7, gamma), rtol=1e-3, atol=1e-9)
    assert gamma @ found.C_lam == pytest.approx(0.3 / (2.0 * delta))
    np.testing.assert_allclose(np.diag(found.C_gamma_se), 1e-4 / (2.0 * delta) * 2**0.5 / 2 / gamma)


def test_broyden_has_what_the_step_showed() -> None:
    rng = np.random.default_rng(0)
    jacobian, step, change = rng.normal(size=(3, 3)), rng.normal(size=3), rng.normal(size=3)
    np.testing.assert_allclose(broyden(jacobian, step, change) @ step, change)
