"""Settling: the point theta(a) = theta + a tangent, gamma + a of a stencil's chart at which measured C is C0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

EVALUATIONS = 6
"""Measurements of C that one settle may take."""
ACCURACY = 5e-4
"""|C / C0 - 1| at which the search ends: well below what one measurement of C resolves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Root:
    shift: float
    before: float
    """The value at shift 0."""
    after: float
    """The value at `shift`; the target is missed where a bound was met."""
    evaluations: int


def find_shift(
    value: Callable[[float], float], *, target: float, slope: float, lower: float, upper: float, accuracy: float = ACCURACY
) -> Root:
    """Secant search, from 0 with a first slope, for value(shift) = target within [lower, upper].

    Every evaluation is a measurement of a model, so the fewest are wanted: scipy's bracketing methods
    spend two on the bounds before they begin. The best shift seen is returned, also if the search ends
    at a bound; no error is raised.
    """
    shift, before = 0.0, value(0.0)
    best, best_value = 0.0, before
    seen = {0.0: before}
    current = before
    while abs(best_value / target - 1.0) > accuracy and len(seen) < EVALUATIONS:
        candidate = min(max(shift - (current - target) / slope, lower), upper) if slope else shift
        if candidate in seen:
            break  # at a bound, or the slope says nothing
        found = value(candidate)
        seen[candidate] = found
        slope = (found - current) / (candidate - shift) or slope
        shift, current = candidate, found
        if abs(found - target) < abs(best_value - target):
            best, best_value = candidate, found
    return Root(shift=best, before=before, after=best_value, evaluations=len(seen))
