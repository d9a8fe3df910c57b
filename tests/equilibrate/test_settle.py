"""find_shift: few evaluations, bounds kept, the best shift seen returned."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayfe.equilibrate.settle import ACCURACY, EVALUATIONS, find_shift

levels = st.floats(0.05, 1.0)
slopes = st.floats(-0.5, -0.005)


@given(levels, slopes, st.floats(-1.0, 1.0))
def test_a_line_with_its_own_slope_takes_two_evaluations(level: float, slope: float, wanted: float) -> None:
    target = level - slope * wanted if level - slope * wanted > 0.01 else level
    root = find_shift(lambda a: level + slope * a, target=target, slope=slope, lower=-100.0, upper=100.0)
    assert root.before == level
    assert root.evaluations <= 2
    assert root.after == pytest.approx(target, rel=ACCURACY)


@given(levels, slopes, st.floats(0.2, 5.0), st.floats(-0.9, 0.9))
def test_a_line_with_a_wrong_first_slope_takes_three(level: float, slope: float, factor: float, wanted: float) -> None:
    target = level + slope * wanted
    if target < 0.01:
        target = level
    root = find_shift(lambda a: level + slope * a, target=target, slope=factor * slope, lower=-1.0, upper=1.0)
    assert root.evaluations <= 3
    assert root.after == pytest.approx(target, rel=ACCURACY)
    assert -1.0 <= root.shift <= 1.0


@given(st.floats(0.2, 2.0), st.floats(0.3, 3.0), st.floats(-0.15, 0.15))
def test_a_curve_is_met_within_the_evaluations_allowed(power: float, factor: float, wanted: float) -> None:
    def value(shift: float) -> float:
        return (1.0 + shift) ** -power

    root = find_shift(value, target=value(wanted), slope=-factor * power, lower=-0.2, upper=0.2)
    assert root.evaluations <= EVALUATIONS
    assert root.after == value(root.shift) == pytest.approx(value(wanted), rel=ACCURACY)


def test_a_target_beyond_the_bounds_ends_at_the_nearer_bound() -> None:
    for target, bound in ((0.1, 0.2), (1.9, -0.2)):
        root = find_shift(lambda a: 1.0 - a, target=target, slope=-1.0, lower=-0.2, upper=0.2)
        assert root.shift == bound
        assert root.after == 1.0 - bound
        assert root.evaluations == 2


def test_a_target_already_met_takes_one_evaluation() -> None:
    root = find_shift(lambda a: 1.0 - a, target=1.0 + 0.5 * ACCURACY, slope=-1.0, lower=-1.0, upper=1.0)
    assert (root.shift, root.before, root.after, root.evaluations) == (0.0, 1.0, 1.0, 1)


def test_a_zero_slope_moves_nothing() -> None:
    root = find_shift(lambda a: 1.0 - a, target=0.9, slope=0.0, lower=-1.0, upper=1.0)
    assert (root.shift, root.evaluations) == (0.0, 1)


def test_the_best_shift_seen_is_returned_when_the_search_only_makes_it_worse() -> None:
    root = find_shift(abs, target=-1.0, slope=1.0, lower=-1.0, upper=1.0)
    assert (root.shift, root.after) == (0.0, 0.0)


@given(st.lists(st.floats(0.1, 2.0), min_size=EVALUATIONS, max_size=EVALUATIONS), slopes)
def test_no_values_however_rough_break_bounds_or_the_limit_on_evaluations(values: list[float], slope: float) -> None:
    asked: list[float] = []

    def value(shift: float) -> float:
        asked.append(shift)
        return values[len(asked) - 1]

    root = find_shift(value, target=1.0, slope=slope, lower=-0.3, upper=0.3)
    assert root.evaluations == len(asked) == len(set(asked)) <= EVALUATIONS
    assert all(-0.3 <= shift <= 0.3 for shift in asked)
    misses = [abs(found - 1.0) for found in values[: len(asked)]]
    assert abs(root.after - 1.0) == min(misses)
    assert values[asked.index(root.shift)] == root.after
