"""There, back and there again: a walk that has arrived at lam_end may go over the same lam twice more, as far as it finds lower F.

Branches of the surface cross, and each is easily entered from one side only: on the way up a model keeps the few dimensions
of z that it has, on the way down it gives up the ones that no longer pay. And what steps lag behind the surface has the
opposite sign on the way back. Where the way back ends a walk turns once more, and goes up from a model that has
neither too few dimensions nor too many (MNIST, two epochs a step: F is 1 % lower at lam = 0.9 than on the way back, and
0.3 % above that of models from scratch). Of all models at one lam the lowest one counts. Near lam_end there is only the
way there: go some steps further than what is needed.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from rayfe.config import RunConfig
from rayfe.records import Leg, StepRecord
from rayfe.surface.envelope import bound
from rayfe.surface.process import Process
from rayfe.trajectory.process_registry import process_of

DIFFERENT = 1e-3
"""Part of F by which the way back must be higher than the way there for it to end, and the way there again lower to go on, ..."""
TIMES = 2
"""... at so many lam one after the other."""
MET, RETURNED = "met", "returned"
"""How the way back ends: it became the higher one, or it is back at the start's lam; and how the way there again does: it is no
longer lower, or it is at lam_end."""
LEGS = tuple(Leg)


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """The leg that a walk is on."""

    process: Process
    """Leads to the end of the leg; after the first leg only to the next lam of those before it."""
    rows: Sequence[StepRecord]
    """Accepted rows on it, beginning with the one where it turned."""
    before: Sequence[StepRecord] = ()
    """Accepted rows of the legs before it, that row included."""
    end: float | None = None
    """lam at which it ends in any case; None: the process knows."""
    leg: Leg = Leg.THERE

    @property
    def over_again(self) -> bool:
        """Whether it goes over lam that an earlier leg went over."""
        return self.leg is not Leg.THERE

    @property
    def turned(self) -> bool:
        """Whether the walk has just turned round: its last step led the other way."""
        return self.over_again and len(self.rows) == 1

    @property
    def ended(self) -> str | None:
        """The name of the end at which it has arrived; None before it."""
        if not self.over_again:
            return self.process.ended([row.point for row in self.rows])
        if self.rows[-1].lam == self.end:
            return RETURNED
        compared = (over for row in reversed(self.rows[1:]) if (over := self._is_over(row)) is not None)
        last = list(itertools.islice(compared, TIMES))
        return MET if len(last) == TIMES and all(last) else None

    def _is_over(self, row: StepRecord) -> bool | None:
        """Whether the legs before have a lower model at the same lam; on the way there again, whether theirs is no higher. None where
        they have no model."""
        before = [other for other in self.before if other.lam == row.lam]
        if not before:
            return None
        point = dataclasses.replace(row.point, gamma=before[-1].gamma)
        lowest = min(bound(other, point) for other in before)
        return bound(row, point) > (1.0 + (DIFFERENT if self.leg is Leg.BACK else -DIFFERENT)) * lowest


def current_way(config: RunConfig, accepted: Sequence[StepRecord]) -> Way:
    """The leg that a walk with these accepted rows is on: that of its last row, or the next one where that has ended.

    Raises:
        UsageError: the process cannot be made.
    """
    process = process_of(config, k=accepted[0].k)
    there = Way(process=process, rows=accepted)
    if not config.asked.both_ways:
        return there
    places = {leg: max(place for place, row in enumerate(accepted) if row.leg == leg) for leg in {row.leg for row in accepted}}
    if Leg.BACK not in places:
        if accepted[-1].lam != config.asked.lam_end:
            return there
        return _over_again(process, accepted, len(accepted) - 1, end=accepted[0].lam, leg=Leg.BACK)
    if Leg.THERE_AGAIN not in places:
        back = _over_again(process, accepted, places[Leg.THERE], end=accepted[0].lam, leg=Leg.BACK)
        if not back.ended:
            return back
    return _over_again(process, accepted, places[Leg.BACK], end=config.asked.lam_end, leg=Leg.THERE_AGAIN)


def _over_again(process: Process, accepted: Sequence[StepRecord], turned: int, *, end: float, leg: Leg) -> Way:
    """The leg from the row `turned` on to `end`, over the lam that were there before."""
    before, rows = accepted[: turned + 1], accepted[turned:]
    here = rows[-1].lam
    left = [row.lam for row in before if min(end, here) <= row.lam <= max(end, here) and row.lam != here]
    nearest = min(left, key=lambda lam: abs(lam - here), default=end)
    return Way(process=process.towards(nearest), rows=rows, before=before, end=end, leg=leg)


def part_done(config: RunConfig, way: Way, first: StepRecord) -> float:
    """Part of the whole way that has been gone, in [0, 1], if each leg goes to its end; 0 where it has no end to arrive at. `first` is
    the start's row."""
    process = process_of(config, k=first.k)
    whole, left = (process.left(row.point) for row in (first, way.rows[-1]))
    if not math.isfinite(whole):
        return 0.0
    if not config.asked.both_ways:
        return 1.0 - left / whole
    if way.leg is Leg.THERE_AGAIN and way.ended:
        return 1.0
    return (LEGS.index(way.leg) + (left / whole if way.leg is Leg.BACK else 1.0 - left / whole)) / len(LEGS)
