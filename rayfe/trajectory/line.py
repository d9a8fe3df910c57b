"""The line of a geodesic in the plane of D and R: where it leads, how long it is, and how far off it a model may be (30)."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from rayfe.config import RunConfig
from rayfe.exceptions import WalkFailed
from rayfe.records import Reading, StepRecord
from rayfe.records.columns import Observed, number
from rayfe.surface.data_processes import line_length


@dataclass(frozen=True, kw_only=True, slots=True)
class GeodesicLine:
    """Slope of the line, and the point of the target on it, as far as they were found; nothing but k where k was given."""

    k: float | None = None
    gamma: float | None = None
    R: float | None = None
    D: float | None = None
    moved: float | None = None
    """How far one more equilibration moved the end in the plane of R and lam D, nats."""


LINE_TOLERANCE = 0.05
"""Part of a line's length by which a step may be off it, in the plane of R and lam D."""
SAME = 1e-9
"""Part of R by which two readings of one model may differ: R has no draws."""
NO_LINE = GeodesicLine()
"""Of processes that have none."""


def line_in(start: StepRecord) -> GeodesicLine:
    """The line that the row of a start has."""
    return GeodesicLine(k=start.k, gamma=start.end_gamma, R=start.end_R, D=start.end_D, moved=start.end_moved)


def with_line(observed: Observed, line: GeodesicLine) -> Observed:
    """And the line, as the row of a start has it."""
    miss = None if line.k is None else 0.0
    return dataclasses.replace(
        observed, k=line.k, end_gamma=line.gamma, end_R=line.R, end_D=line.D, end_moved=line.moved, line_miss=miss
    )


def line_between(start: Reading, end: Reading, *, gamma: float, moved: float) -> GeodesicLine:
    """The line from `start` to `end`, where gamma is that of the target; without a slope if its end moved as far as it is long, or R is
    the same at both ends."""
    dR, dD = end.R - start.R, end.D - start.D
    fixed = dR != 0.0 and line_length(start.point.lam, dR, dD) > moved
    return GeodesicLine(k=dD / dR if fixed else None, gamma=gamma, R=end.R, D=end.D, moved=moved)


def allowed_off_line(config: RunConfig, start: Reading, line: GeodesicLine) -> float:
    """By how much D - D0 - k (R - R0) may differ from 0, in the unit of D.

    Where the line's end is known, it is the distance from the line that counts, LINE_TOLERANCE of its length: both in the plane of R
    and lam D at the start's lam, whose axes are nats. D and R themselves are no measure: lines are short beside them (MNIST 0-4 to
    5-9: 0.6 nats of 18 and 0.5 units of 12). Where k is given, the length is not known, and D may differ from what the line has by
    `tolerance` of D0, as C may of C0.
    """
    if line.R is None or line.D is None:
        return config.asked.tolerance * abs(start.D)
    lam = start.point.lam
    length = line_length(lam, line.R - start.R, line.D - start.D)
    return LINE_TOLERANCE * length * math.hypot(1.0, lam * number(line.k)) / lam


def require_line(start: StepRecord) -> None:
    """Refuse to go along a line whose slope the start did not find.

    Raises:
        WalkFailed: there is none.
    """
    if start.k is not None:
        return
    fix = "give ``k``, or ``process=constant-rate``, and another ``out``"
    if start.end_R is None or start.end_D is None:
        raise WalkFailed(
            f"no model of the target alone with C = {number(start.C_target):.4g} at lam = {start.lam:g} was found by training and "
            f"moving gamma; {fix}"
        )
    length = line_length(start.lam, start.end_R - number(start.R), start.end_D - number(start.D))
    if math.isclose(start.end_R, number(start.R), rel_tol=SAME) and length > number(start.end_moved):
        raise WalkFailed(
            f"the line from D {start.D:.4g} to D {start.end_D:.4g} is {length:.2g} nats long and keeps R at {start.R:.4g}: no k = "
            f"dD / dR is its slope; give ``process=constant-rate``, which needs none, and another ``out``"
        )
    raise WalkFailed(
        f"the line from R {start.R:.4g}, D {start.D:.4g} to R {start.end_R:.4g}, D {start.end_D:.4g} is {length:.2g} nats long, and "
        f"training on moves its end by {number(start.end_moved):.2g}: its ends are too near to fix k; {fix}"
    )
