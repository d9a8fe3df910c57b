"""Which attempted steps are accepted."""

import math

import pytest

from rayfe.records import Outcome
from rayfe.surface.stepper import judge


@pytest.mark.parametrize(
    ("drift", "error", "accepted"),
    [
        (0.0, 0.0, True),
        (0.019, 0.0, True),
        (0.021, 0.0, False),
        (0.017, 0.001, True),  # 2 % less two errors
        (-0.019, 0.001, False),
        (0.021, 0.005, True),  # three errors of both: settles have draws of their own
        (0.022, 0.005, False),
        (0.06, 0.03, True),  # nothing can be told apart
        (math.nan, 0.0, False),
    ],
)
def test_what_is_held_must_be_near_by_more_than_its_error_or_within_what_draws_do(drift, error, accepted):
    common = {"outcome": Outcome.OK, "relative_drift": drift, "drift_se": error, "tolerance": 0.02}
    steps = {"length": 0.1, "longest": 0.15, "growth": 2.0}
    verdict = judge(**common, **steps, shift_used=0.3)
    assert (verdict.accepted, verdict.reason) == (accepted, None if accepted else "drift")
    assert verdict.next_length == (0.15 if accepted else 0.05)
    if not accepted:
        assert judge(**common, **steps, shift_used=1.0).reason == "settle_range"
