"""There and back: a walk that has arrived at lam_end may go back over the same lam to where its way up was the lower one.

Branches of the surface cross, and each is easily entered from one side only: on the way up a model keeps the few dimensions
of z that it has, on the way down it gives up the ones that no longer pay. And what steps lag behind the surface has the
opposite sign on the way back. So of two models at one lam the lower one counts. Near lam_end both ways have the lag of the
way there: go some steps further than what is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rayfe.config import RunConfig
from rayfe.records import Point, StepRecord
from rayfe.surface.process import IsoClassification, Process
from rayfe.trajectory.envelope import bound
from rayfe.trajectory.processes import process_of

HIGHER = 1e-3
"""Part of F by which the way back must be higher than the way there, ..."""
TIMES = 2
"""... at so many lam one after the other, for it to end: below where branches cross it stays higher."""
MET, RETURNED = "met", "returned"
"""How a way back ends: it became the higher one, or it is back at the start's lam."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """The way that a walk is on."""

    process: Process
    """Leads to the end of the way, back only to the next lam of the way there."""
    rows: Sequence[StepRecord]
    """Accepted rows on it, the last one at lam_end included."""
    there: Sequence[StepRecord] = ()
    """On the way back: the accepted rows of the way there."""

    @property
    def back(self) -> bool:
        return bool(self.there)

    @property
    def ended(self) -> str | None:
        """The name of the end at which the walk has arrived; None before it."""
        if not self.back:
            return self.process.ended([Point(lam=row.lam, gamma=row.gamma, t=row.t) for row in self.rows])
        if self.rows[-1].lam == self.there[0].lam:
            return RETURNED
        higher = [self._is_higher(row) for row in self.rows[1:]]
        return MET if len(higher) >= TIMES and all(higher[-TIMES:]) else None

    def _is_higher(self, row: StepRecord) -> bool:
        """Whether the way there has a lower model at the same lam."""
        before = [other for other in self.there if other.lam == row.lam]
        if not before:
            return False
        point = Point(lam=row.lam, gamma=before[-1].gamma, t=row.t)
        return bound(row, point) > (1.0 + HIGHER) * min(bound(other, point) for other in before)


def current_way(config: RunConfig, accepted: Sequence[StepRecord]) -> Way:
    """The way that a walk with these accepted rows is on.

    Raises:
        UsageError: the process cannot be made.
    """
    process = process_of(config, k=accepted[0].k)
    arrived = [place for place, row in enumerate(accepted) if row.lam == config.lam_end] if config.both_ways else []
    if not arrived:
        return Way(process=process, rows=accepted)
    there, rows = accepted[: arrived[-1] + 1], accepted[arrived[-1] :]
    home, here = there[0].lam, rows[-1].lam
    left = [row.lam for row in there if min(home, here) <= row.lam <= max(home, here) and row.lam != here]
    nearest = min(left, key=lambda lam: abs(lam - here), default=home)
    return Way(process=IsoClassification(nearest), rows=rows, there=there)


def part_done(config: RunConfig, accepted: Sequence[StepRecord]) -> float | None:
    """Part of the whole way that has been gone, in [0, 1]; None where it has no end to arrive at."""
    process = process_of(config, k=accepted[0].k)
    whole, left = (process.left(Point(lam=row.lam, gamma=row.gamma, t=row.t)) for row in (accepted[0], accepted[-1]))
    if not math.isfinite(whole):
        return None
    if not config.both_ways:
        return 1.0 - left / whole
    return 0.5 * (1.0 + left / whole if current_way(config, accepted).back else 1.0 - left / whole)
