"""find_shift: few evaluations, bounds kept, the best shift seen returned."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayfe.records import Functionals, Held, Point, SettleRequest, StepKey
from rayfe.training.settle import EVALUATIONS, TRUSTED, find_shift, settled_weights

LOSS = Held(C=1.0)
ACCURACY = SettleRequest.__dataclass_fields__["accuracy"].default


@dataclass
class Found:
    shift: float
    before: float
    after: float
    evaluations: int


def request(held, targets, jacobian, reach):
    return SettleRequest(
        key=StepKey(trajectory="t", seed=0, step=1, attempt=0),
        weights={},
        tangents={multiplier: {} for multiplier in reach},
        point=Point(lam=1.0, gamma=1.0),
        held=held,
        targets=targets,
        scales=targets,
        jacobian=jacobian,
        reach=reach,
    )


def search(value, *, target, slope, reach):
    """find_shift for one loss that depends on gamma alone."""
    root = find_shift(
        request((LOSS,), (target,), ((slope,),), {"gamma": reach}), lambda a: Functionals(R=0.0, D=0.0, C=value(float(a[0])))
    )
    return Found(float(root.shift[0]), root.before.C, root.after.C, root.evaluations)


levels = st.floats(0.05, 1.0)
slopes = st.floats(-0.5, -0.005)


@given(levels, slopes, st.floats(-1.0, 1.0))
def test_a_line_with_its_own_slope_takes_two_evaluations(level: float, slope: float, wanted: float) -> None:
    target = level - slope * wanted if level - slope * wanted > 0.01 else level
    root = search(lambda a: level + slope * a, target=target, slope=slope, reach=100.0)
    assert root.before == level
    assert root.evaluations <= 2
    assert root.after == pytest.approx(target, rel=ACCURACY)


@given(levels, slopes, st.floats(0.2, 5.0), st.floats(-0.9, 0.9))
def test_a_line_with_a_wrong_first_slope_takes_three(level: float, slope: float, factor: float, wanted: float) -> None:
    target = level + slope * wanted
    if target < 0.01:
        target = level
    root = search(lambda a: level + slope * a, target=target, slope=factor * slope, reach=1.0)
    assert root.evaluations <= 3
    assert root.after == pytest.approx(target, rel=ACCURACY)
    assert -1.0 <= root.shift <= 1.0


@given(st.floats(0.2, 2.0), st.floats(0.3, 3.0), st.floats(-0.15, 0.15))
def test_a_curve_is_met_within_the_evaluations_allowed(power: float, factor: float, wanted: float) -> None:
    def value(shift: float) -> float:
        return (1.0 + shift) ** -power

    root = search(value, target=value(wanted), slope=-factor * power, reach=0.2)
    assert root.evaluations <= EVALUATIONS
    assert root.after == pytest.approx(value(wanted), rel=ACCURACY)
    assert value(root.shift) == pytest.approx(value(wanted), rel=2.5 * ACCURACY)


def test_a_last_step_that_the_secant_knows_well_enough_is_not_measured() -> None:
    """The first move misses by 0.4 %, which the secant corrects to a thousandth of that."""

    def value(shift: float) -> float:
        return 1.0 - shift - 0.1 * shift**2

    seen: list[float] = []

    def read(a: np.ndarray) -> Functionals:
        seen.append(float(a[0]))
        return Functionals(R=2.0 * float(a[0]), D=0.0, C=value(float(a[0])))

    root = find_shift(request((LOSS,), (0.95,), ((-1.08,),), {"gamma": 1.0}), read)
    assert root.evaluations == len(seen) == 2
    assert root.shift[0] not in seen
    assert value(float(root.shift[0])) == pytest.approx(0.95, rel=0.2 * ACCURACY)
    assert root.after.C == pytest.approx(0.95, rel=1e-12)
    assert root.after.R == pytest.approx(2.0 * float(root.shift[0]))


def test_a_target_beyond_the_bounds_ends_at_the_nearer_bound() -> None:
    for target, bound in ((0.1, 0.2), (1.9, -0.2)):
        root = search(lambda a: 1.0 - a, target=target, slope=-1.0, reach=0.2)
        assert root.shift == bound
        assert root.after == 1.0 - bound
        assert root.evaluations == 2


def test_a_target_already_met_takes_one_evaluation() -> None:
    root = search(lambda a: 1.0 - a, target=1.0 + 0.5 * ACCURACY, slope=-1.0, reach=1.0)
    assert (root.shift, root.before, root.after, root.evaluations) == (0.0, 1.0, 1.0, 1)


def test_a_zero_slope_moves_nothing() -> None:
    root = search(lambda a: 1.0 - a, target=0.9, slope=0.0, reach=1.0)
    assert (root.shift, root.evaluations) == (0.0, 1)


def test_the_best_shift_seen_is_returned_when_the_search_only_makes_it_worse() -> None:
    root = search(lambda a: 1.0 + abs(a), target=0.5, slope=1.0, reach=1.0)
    assert (root.shift, root.after) == (0.0, 1.0)


def surface(a: np.ndarray) -> Functionals:
    """Smooth, with a Jacobian that changes by tens of per cent over the reach."""
    gamma, lam = a.tolist()
    C = 0.2 * math.exp(-0.5 * gamma + 0.1 * lam)
    D = 30.0 * math.exp(-0.3 * lam - 0.05 * gamma)
    return Functionals(R=5.0 - lam * 0.3 - 0.1 * gamma + 0.05 * gamma * lam, D=D, C=C)


@given(st.floats(-0.8, 0.8), st.floats(-0.8, 0.8), st.floats(-2.0, 0.5), st.floats(0.6, 1.6))
def test_two_conditions_are_met_by_two_multipliers(gamma: float, lam: float, k: float, factor: float) -> None:
    held = (LOSS, Held(D=1.0, R=-k))
    wanted = surface(np.array([gamma, lam]))
    targets = tuple(condition.of(wanted) for condition in held)
    asked = request(held, targets, ((0.0, 0.0), (0.0, 0.0)), {"gamma": 1.0, "lam": 1.0})
    jacobian = factor * np.array([[-0.1, 0.02], [-1.5 + 0.1 * k, -9.0 + 0.3 * k]])
    asked = dataclasses.replace(asked, jacobian=tuple(map(tuple, jacobian.tolist())), scales=(0.2, 30.0))
    root = find_shift(asked, surface)
    assert root.evaluations <= 2 * EVALUATIONS
    for condition, target, scale in zip(held, targets, asked.scales, strict=True):
        assert abs(condition.of(root.after) - target) <= ACCURACY * scale


def test_the_chart_adds_each_tangent_by_its_shift() -> None:
    asked = request((LOSS, LOSS), (1.0, 1.0), ((1.0, 0.0), (0.0, 1.0)), {"gamma": 1.0, "lam": 1.0})
    one = {"w": np.ones(2)}
    asked = dataclasses.replace(asked, weights=one, tangents={"gamma": one, "lam": {"w": np.array([0.0, 10.0])}})
    np.testing.assert_allclose(settled_weights(asked, np.array([0.5, -0.1]))["w"], [1.5, 0.5])


@given(st.lists(st.floats(0.1, 2.0), min_size=EVALUATIONS, max_size=EVALUATIONS), slopes)
def test_no_values_however_rough_break_bounds_or_the_limit_on_evaluations(values: list[float], slope: float) -> None:
    asked: list[float] = []

    def value(shift: float) -> float:
        asked.append(shift)
        return values[len(asked) - 1]

    root = search(value, target=1.0, slope=slope, reach=0.3)
    assert root.evaluations == len(asked) == len(set(asked)) <= EVALUATIONS
    assert all(-0.3 <= shift <= 0.3 for shift in asked)
    misses = [abs(found - 1.0) for found in values[: len(asked)]]
    if root.shift in asked:
        assert abs(root.after - 1.0) == min(misses)
        assert values[asked.index(root.shift)] == root.after
    else:  # a last move that was not measured, because even an error of its slope would not matter
        assert TRUSTED * misses[-1] <= ACCURACY and abs(root.after - 1.0) <= ACCURACY
        assert -0.3 <= root.shift <= 0.3


@given(levels, slopes, st.floats(-0.8, 0.8), st.floats(0.9, 1.1), st.floats(-0.02, 0.02))
def test_quick_readings_save_full_ones_and_do_not_change_the_result(
    level: float, slope: float, wanted: float, factor: float, offset: float
) -> None:
    """A part of the examples has another loss and another slope; only what all of them say counts."""

    def full(a: float) -> float:
        return level * math.exp(slope * a)

    counted = {"full": 0, "quick": 0}

    def reading(kind: str, value: float) -> Functionals:
        counted[kind] += 1
        return Functionals(R=0.0, D=0.0, C=value)

    target = full(wanted)
    asked = request((LOSS,), (target,), ((0.5 * slope * level,),), {"gamma": 1.0})
    root = find_shift(
        asked,
        lambda a: reading("full", full(float(a[0]))),
        lambda a: reading("quick", level * math.exp(factor * slope * float(a[0])) + offset),
    )
    assert abs(root.after.C / target - 1.0) <= ACCURACY
    assert counted["full"] == root.evaluations <= 4


@pytest.mark.parametrize("finite", [0, 1])
def test_a_reading_that_is_not_finite_ends_the_search_at_the_best_of_the_others(finite: int) -> None:
    read: list[float] = []

    def value(shift: float) -> float:
        read.append(shift)
        return 1.1 if len(read) <= finite else math.nan

    root = search(value, target=1.0, slope=-0.5, reach=0.5)
    assert (root.shift, root.evaluations) == (0.0, finite + 1)
    assert root.after == pytest.approx(1.1 if finite else math.nan, nan_ok=True)
