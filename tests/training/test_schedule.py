"""Learning rates follow sec. 5.1."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayfe.training.schedule import PEAK, first_rate, walk_rate

fractions = st.floats(0.0, 1.0)
rates = st.floats(1e-5, 1.0)


@given(fractions, rates)
def test_walk_rate_is_largest_at_two_sevenths(u: float, maximum: float) -> None:
    assert PEAK == 2 / 7
    assert walk_rate(PEAK, maximum=maximum) == pytest.approx(maximum, rel=1e-12)
    assert 0.0 <= walk_rate(u, maximum=maximum) <= maximum * (1 + 1e-12)


def test_walk_rate_is_zero_at_both_ends() -> None:
    assert walk_rate(0.0, maximum=1.5e-3) == walk_rate(1.0, maximum=1.5e-3) == 0.0


@given(fractions)
def test_walk_rate_is_the_papers_polynomial(u: float) -> None:
    assert walk_rate(u, maximum=0.0015) == pytest.approx(0.0015 / 0.015178 * u**2 * (1 - u) ** 5, rel=1e-4, abs=1e-18)


def test_walk_rate_has_mean_0392_of_its_maximum() -> None:
    T = 1000
    mean = np.mean([walk_rate((i + 0.5) / T, maximum=1.0) for i in range(T)])
    assert mean == pytest.approx(0.392, abs=5e-4)


@pytest.mark.parametrize("u, drops", [(0.0, 0), (0.4166, 0), (5 / 12, 1), (0.8333, 1), (10 / 12, 2), (0.999, 2)])
def test_step_schedule_drops_by_ten_at_5_and_10_twelfths(u: float, drops: int) -> None:
    assert first_rate(u, initial=1e-3, schedule="step") == pytest.approx(1e-3 * 10.0**-drops, rel=1e-12)


def test_step_schedule_of_120_epochs_drops_after_50_and_100() -> None:
    epochs = [first_rate((epoch + 0.5) / 120, initial=1.0, schedule="step") for epoch in range(120)]
    assert epochs == pytest.approx([1.0] * 50 + [0.1] * 50 + [0.01] * 20, rel=1e-12)


def test_the_linear_schedule_falls_from_the_initial_rate_to_zero() -> None:
    rates = [first_rate(u, initial=1e-3, schedule="linear") for u in np.linspace(0.0, 1.0, 101)]
    assert rates[0] == 1e-3
    assert rates[50] == pytest.approx(5e-4, rel=1e-12)
    assert rates[-1] == pytest.approx(0.0, abs=1e-18)
    assert np.all(np.diff(rates) < 0)
