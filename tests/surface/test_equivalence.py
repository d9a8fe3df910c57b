"""The test that steps and whole walks are put to, and what is called chance."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayfe.records import Point, Reading, Split
from rayfe.surface.chance import FEW_UPDATES, at_chance, what_to_raise
from rayfe.surface.equivalence import LEVEL, Miss, Z, is_equivalent, simultaneous

SMALL = st.floats(0.0, 0.1)


@given(misses=st.lists(st.tuples(st.floats(-0.1, 0.1), SMALL), min_size=1, max_size=40), tolerance=st.floats(1e-4, 0.2))
def test_a_walk_of_steps_that_were_accepted_passes(misses, tolerance):
    kept = [(v, e) for v, e in misses if Miss(value=v, error=e, tolerance=tolerance).passes] or [(0.0, 0.0)]
    values, errors = map(np.array, zip(*kept, strict=True))
    assert is_equivalent(values, errors, tolerance, z=simultaneous(len(kept)))


@pytest.mark.parametrize("steps", [1, 12, 100, 1000, 1578, 1579, 10**6])
def test_four_errors_are_enough_for_the_steps_of_any_walk(steps):
    assert simultaneous(steps) <= Z
    exact = NormalDist().inv_cdf(1.0 - LEVEL / steps)
    assert (simultaneous(steps) == exact) == (steps <= 1578)


@given(value=st.floats(-0.1, 0.1), error=SMALL, tolerance=st.floats(1e-4, 0.2))
def test_what_passes_may_hold_and_what_may_not_hold_does_not_pass(value, error, tolerance):
    miss = Miss(value=value, error=error, tolerance=tolerance)
    assert miss.may_hold or not miss.passes
    assert not Miss(value=math.nan, error=error, tolerance=tolerance).passes


def reading(R, C, label_entropy):
    zero = dict.fromkeys(("accuracy", "R_se", "D_se", "C_se"), 0.0)
    point = Point(lam=1.0, gamma=1.0)
    return Reading(
        replica="settled", split=Split.TRAIN, point=point, update=0, R=R, D=1.0, C=C, **zero, label_entropy=label_entropy
    )


@pytest.mark.parametrize(
    ("R", "C", "entropy", "expected"),
    [
        (3.0, 0.1, math.log(10), False),
        (3.0, 0.96 * math.log(10), math.log(10), True),
        (3.0, 0.94 * math.log(10), math.log(10), False),
        (3.0, 0.5, 0.5, True),  # few of one class
        (0.04, 0.1, math.log(10), True),
        (0.06, 5.0, None, False),
    ],
)
def test_a_start_is_at_chance_by_its_loss_or_by_its_rate(R, C, entropy, expected):
    assert at_chance(reading(R, C, entropy)) is expected


def test_what_to_raise_follows_from_the_numbers():
    assert "first_epochs" in what_to_raise(gamma=0.5, updates=FEW_UPDATES - 1)
    assert "``gamma``" in what_to_raise(gamma=0.5, updates=FEW_UPDATES)
    enough = what_to_raise(gamma=4.0, updates=5000)
    assert "5000 updates" in enough and "learning_rate" in enough and "first-epochs" not in enough
    assert "updates" not in what_to_raise(gamma=4.0, updates=None)
