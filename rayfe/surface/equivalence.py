"""Whether what is held is there: one test, for each step as it is judged and for a whole walk as it is summed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

Z = 4.0
"""Standard errors that are added to a miss before it is compared with the tolerance. A one-sided test at 0.003 %: of up to 1,578
of them, all steps of a walk, one goes wrong with 5 %, whatever --steps is."""
LEVEL = 0.05
"""Probability with which a walk may pass though one of its steps is further off than the tolerance."""


CONFIDENCE = 0.95
"""Coverage of the intervals that are told of seeds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Miss:
    """How far a condition is off, relative to its scale, the standard error of that, and how far it may be off."""

    value: float
    error: float
    tolerance: float

    @property
    def passes(self) -> bool:
        """Whether the condition surely holds."""
        return is_equivalent(self.value, self.error, self.tolerance)

    @property
    def may_hold(self) -> bool:
        """Whether the condition may hold: other draws could show it within the tolerance."""
        return abs(self.value) <= self.tolerance + Z * self.error


def is_equivalent(misses: float | np.ndarray, errors: float | np.ndarray, tolerance: float, *, z: float = Z) -> bool:
    """Equivalence test: |miss| + z standard errors <= tolerance, for each of them.

    A NaN fails: no error bar, no evidence.
    """
    return bool(np.all(np.abs(misses) + z * np.asarray(errors) <= tolerance))


def simultaneous(steps: int) -> float:
    """Standard errors of a one-sided bound of 95 % that holds at so many steps at once; at most Z, by which each step was judged, so
    that a walk of judged steps passes."""
    return min(Z, NormalDist().inv_cdf(1.0 - LEVEL / steps))


def over_seeds(seeds: int) -> float:
    """Standard errors from the scatter of so many seeds to either side of a 95 % interval: Student's quantile, 12.7 of two seeds,
    4.3 of three, 2 of many. Two standard errors of two seeds would cover 70 %."""
    from scipy.special import stdtrit  # slow to import

    return float(stdtrit(seeds - 1, 0.5 + 0.5 * CONFIDENCE))


def all_pass(misses: Sequence[Miss]) -> bool:
    """Whether all conditions surely hold."""
    return all(miss.passes for miss in misses)


def relative_tolerance(tolerance: float, floor: float, C0: float) -> float:
    """The tolerance of |C / C0 - 1|: `tolerance`, or what `floor` nats are of C0 where that is more."""
    return max(tolerance, floor / C0) if C0 > 0.0 else tolerance
