"""Orders of the prediction of the multipliers on closed-form surfaces, from (0.25, 4) to lam = 3.5."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from rayfe.records import Point, Response, Velocity
from rayfe.surface.closed_form import HyperbolicSurface, PowerSurface, Surface
from rayfe.surface.process import IsoClassification
from rayfe.surface.step_control import extrapolated

A, B = PowerSurface(kappa=10.0, a=1 / 3, b=1 / 3), HyperbolicSurface(c=0.3)
PROCESS = IsoClassification(9.0)  # an end that rounding does not step over
Step = Callable[[Surface, Point, float, Velocity | None], Velocity]


def velocity(surface: Surface, point: Point) -> Velocity:
    at = point.lam, point.gamma
    exact = Response(
        C_lam=surface.C_lam(*at), C_gamma=surface.C_gamma(*at), D_gamma=surface.D_gamma(*at), C_lam_se=0.0, C_gamma_se=0.0
    )
    return PROCESS.velocity(point, exact)


def euler(surface: Surface, point: Point, length: float, before: Velocity | None) -> Velocity:
    return velocity(surface, point)


def heun(surface: Surface, point: Point, length: float, before: Velocity | None) -> Velocity:
    here = velocity(surface, point)
    there = velocity(surface, PROCESS.moved(point, here, length))
    return Velocity(lam=here.lam, gamma=0.5 * (here.gamma + there.gamma))


def two_step(surface: Surface, point: Point, length: float, before: Velocity | None) -> Velocity:
    here = velocity(surface, point)
    return here if before is None else extrapolated(before, here, ratio=1.0)


def error(surface: Surface, step: Step, n: int) -> float:
    point, before = Point(lam=0.25, gamma=4.0), None
    for _ in range(n):
        now = step(surface, point, math.log(14.0) / n, before)
        before = velocity(surface, point)
        point = PROCESS.moved(point, now, math.log(14.0) / n)
    return abs(point.gamma / surface.gamma_on_iso_c(3.5, surface.C(0.25, 4.0)) - 1.0)


@pytest.mark.parametrize("surface", [A, B], ids=["A", "B"])
@pytest.mark.parametrize(("step", "order"), [(euler, 1), (two_step, 2), (heun, 2)])
def test_orders_are_as_claimed(surface: Surface, step: Step, order: int) -> None:
    assert error(surface, step, 40) / error(surface, step, 80) == pytest.approx(2.0**order, rel=0.1)


@pytest.mark.parametrize(("surface", "percents"), [(A, (7.7, 1.6, 0.35)), (B, (9.0, 2.2, 0.18))], ids=["A", "B"])
def test_ten_steps_miss_gamma_by_what_the_docstring_says(surface: Surface, percents: tuple[float, ...]) -> None:
    found = [100 * error(surface, step, 10) for step in (euler, two_step, heun)]
    assert found == pytest.approx(percents, rel=0.05)


def test_an_unequal_step_is_extrapolated_to_its_own_middle() -> None:
    """A velocity that is linear in progress is met exactly: from 1 at 0 and 3 at 2, the middle of a step of 1 has 3.5."""
    before, last = Velocity(lam=1.0, gamma=-1.0), Velocity(lam=3.0, gamma=-3.0)
    assert extrapolated(before, last, ratio=0.5) == Velocity(lam=3.5, gamma=-3.5)
