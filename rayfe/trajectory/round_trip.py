"""There, back and there again: a walk that has arrived at lam_end may go over the same lam twice more, as far as it finds lower F.

Branches of the surface cross, and each is easily entered from one side only: on the way up a model keeps the few dimensions
of z that it has, on the way down it gives up the ones that no longer pay. And what steps lag behind the surface has the
opposite sign on the way back. Where the way back ends a walk turns once more, and goes up from a model that has
neither too few dimensions nor too many (MNIST, two epochs a step: F is 1 % lower at lam = 0.9 than on the way back, and
0.3 % above that of models from scratch). Of all models at one lam the lowest one counts. Near lam_end there is only the
way there: go some steps further than what is needed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from rayfe.config import RunConfig
from rayfe.records import Point, StepRecord
from rayfe.surface.process import IsoClassification, Process
from rayfe.trajectory.envelope import bound
from rayfe.trajectory.process_registry import process_of

DIFFERENT = 1e-3
"""Part of F by which the way back must be higher than the way there for it to end, and the way there again lower to go on, ..."""
TIMES = 2
"""... at so many lam one after the other."""
MET, RETURNED = "met", "returned"
"""How the way back ends: it became the higher one, or it is back at the start's lam; and how the way there again does: it is no
longer lower, or it is at lam_end."""
THERE, BACK, AGAIN = range(3)
"""The ways, in order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """The way that a walk is on."""

    process: Process
    """Leads to the end of the way; after the first one only to the next lam of those before it."""
    rows: Sequence[StepRecord]
    """Accepted rows on it, beginning with the one where it turned."""
    before: Sequence[StepRecord] = ()
    """Accepted rows of the ways before it, that row included."""
    end: float | None = None
    """lam at which it ends in any case; None: the process knows."""
    number: int = THERE
    """THERE, BACK or AGAIN."""

    @property
    def over_again(self) -> bool:
        """Whether it goes over lam that an earlier way went over."""
        return self.number != THERE

    @property
    def ended(self) -> str | None:
        """The name of the end at which it has arrived; None before it."""
        if not self.over_again:
            return self.process.ended([Point(lam=row.lam, gamma=row.gamma, t=row.t) for row in self.rows])
        if self.rows[-1].lam == self.end:
            return RETURNED
        compared = (over for row in reversed(self.rows[1:]) if (over := self._is_over(row)) is not None)
        last = list(itertools.islice(compared, TIMES))
        return MET if len(last) == TIMES and all(last) else None

    def _is_over(self, row: StepRecord) -> bool | None:
        """Whether the ways before have a lower model at the same lam; on the way there again, whether theirs is no higher. None where
        they have no model."""
        before = [other for other in self.before if other.lam == row.lam]
        if not before:
            return None
        point = Point(lam=row.lam, gamma=before[-1].gamma, t=row.t)
        lowest = min(bound(other, point) for other in before)
        return bound(row, point) > (1.0 + (DIFFERENT if self.number == BACK else -DIFFERENT)) * lowest


def current_way(config: RunConfig, accepted: Sequence[StepRecord]) -> Way:
    """The way that a walk with these accepted rows is on.

    Raises:
        UsageError: the process cannot be made.
    """
    there = Way(process=process_of(config, k=accepted[0].k), rows=accepted)
    turned = next((place for place, row in enumerate(accepted) if row.lam == config.asked.lam_end), None)
    if not config.asked.both_ways or turned is None:
        return there
    for place in range(turned + 1, len(accepted)):
        back = _over_again(accepted[: place + 1], turned, end=accepted[0].lam, number=BACK)
        if back.ended:
            return _over_again(accepted, place, end=config.asked.lam_end, number=AGAIN)
    return _over_again(accepted, turned, end=accepted[0].lam, number=BACK)


def _over_again(accepted: Sequence[StepRecord], turned: int, *, end: float, number: int) -> Way:
    """The way from the row `turned` on to `end`, over the lam that were there before."""
    before, rows = accepted[: turned + 1], accepted[turned:]
    here = rows[-1].lam
    left = [row.lam for row in before if min(end, here) <= row.lam <= max(end, here) and row.lam != here]
    nearest = min(left, key=lambda lam: abs(lam - here), default=end)
    return Way(process=IsoClassification(nearest), rows=rows, before=before, end=end, number=number)


def part_done(config: RunConfig, accepted: Sequence[StepRecord]) -> float | None:
    """Part of the whole way that has been gone, in [0, 1], if each way goes to its end; None where it has no end to arrive at."""
    process = process_of(config, k=accepted[0].k)
    whole, left = (process.left(Point(lam=row.lam, gamma=row.gamma, t=row.t)) for row in (accepted[0], accepted[-1]))
    if not math.isfinite(whole):
        return None
    if not config.asked.both_ways:
        return 1.0 - left / whole
    way = current_way(config, accepted)
    if way.number == AGAIN and way.ended:
        return 1.0
    return (way.number + (left / whole if way.number == BACK else 1.0 - left / whole)) / (AGAIN + 1)
