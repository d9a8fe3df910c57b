"""Which attempted steps are accepted."""

import math

import pytest

from rayfe.records import Outcome
from rayfe.surface.equivalence import Miss
from rayfe.surface.step_control import judge

STEPS = {"length": 0.1, "longest": 0.15, "growth": 2.0}


@pytest.mark.parametrize(
    ("drift", "error", "accepted"),
    [
        (0.0, 0.0, True),
        (0.019, 0.0, True),
        (0.021, 0.0, False),
        (0.015, 0.001, True),  # 2 % less four errors
        (-0.017, 0.001, False),
        (0.0, 0.0049, True),
        (0.0, 0.0051, False),  # however small the miss, nobody knows
        (math.nan, 0.0, False),
        (0.0, math.nan, False),
    ],
)
def test_what_is_held_must_be_near_by_four_errors(drift, error, accepted):
    common = {"outcome": Outcome.OK, "misses": (Miss(value=drift, error=error, tolerance=0.02),)}
    verdict = judge(**common, **STEPS, shift_used=0.3)
    assert (verdict.accepted, verdict.reason) == (accepted, None if accepted else "drift")
    assert verdict.next_length == (0.15 if accepted else 0.05)
    if not accepted:
        assert judge(**common, **STEPS, shift_used=1.0).reason == "settle_range"


def test_every_condition_must_hold_not_only_the_one_that_is_furthest_off():
    """The first is further off, but surely within its tolerance; the second may not be."""
    misses = (Miss(value=0.05, error=0.0, tolerance=0.1), Miss(value=0.01, error=0.005, tolerance=0.02))
    assert judge(outcome=Outcome.OK, misses=misses[:1], **STEPS, shift_used=0.0).accepted
    assert not judge(outcome=Outcome.OK, misses=misses, **STEPS, shift_used=0.0).accepted


def test_where_nothing_is_held_only_the_outcome_counts():
    assert judge(outcome=Outcome.OK, misses=(), **STEPS, shift_used=1.0).accepted
    assert judge(outcome=Outcome.NONFINITE, misses=(), **STEPS, shift_used=0.0).reason == "nonfinite"
