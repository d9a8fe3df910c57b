"""What all steps of a walk have in common, those of no length too: its way, what it holds, and how a new model is judged by that."""

from __future__ import annotations

import dataclasses
from typing import Any

from rayfe.records import Commit, Outcome, Reading, Weights
from rayfe.records.columns import Work, response_in
from rayfe.records.weights import pack, unpack
from rayfe.surface.process import Process
from rayfe.surface.step_control import Verdict, judge
from rayfe.trajectory import history
from rayfe.trajectory.attainable import BY_DRAWS
from rayfe.trajectory.base import Trajectory
from rayfe.trajectory.chart import carried_tangents
from rayfe.trajectory.constraint import Holding
from rayfe.trajectory.draws import Sets, sets_of
from rayfe.trajectory.envelope import excess
from rayfe.trajectory.round_trip import Way, current_way
from rayfe.trajectory.step import Candidate, Chart


class Judged(Trajectory):
    """A trajectory whose steps are accepted if what its process holds has the start's values."""

    @property
    def _way(self) -> Way:
        return current_way(self._config, self.accepted)

    @property
    def _process(self) -> Process:
        return self._way.process

    @property
    def _holding(self) -> Holding:
        kept = unpack(self._carry, "start")
        return Holding(config=self._config, process=self._process, start=self.accepted[0], kept=kept)

    def _sets(self, holding: Holding) -> Sets:
        """Draws of the next attempt: as many as the start's error asks for or the last step took, and twice as many after each
        rejection that draws may explain."""
        last = self.accepted[-1]
        sets = holding.usual if last.step == 0 else sets_of(last)
        for row in history.attempts(self._rows):
            miss = holding.miss_in(row)
            if row.reason in BY_DRAWS and miss is not None and miss.may_hold:
                sets = sets.doubled(holding.most)
        return sets

    def _chart(self, weights: Weights) -> Chart:
        """The model that the next training starts from, with the response and tangents that the last step left."""
        last = self.accepted[-1]
        return Chart(
            weights=weights,
            tangents=carried_tangents(self._carry),
            response=response_in(last),
            response_age=last.response_age or 0,
            preconditioner=unpack(self._carry, "preconditioner") or None,
            rate=history.rate(self._rows),
        )

    @property
    def _kept_columns(self) -> dict[str, Any]:
        """Columns of what is held, which every row has from the one before."""
        last, holds_C = self.accepted[-1], self._holding.holds_C
        return {
            "process": self._config.process,
            "held_on": last.held_on if holds_C else None,
            "C_target": last.C_target if holds_C else None,
            "C_settle_target": last.C_settle_target,
            "k": last.k,
        }

    def _judged_columns(self, train: Reading, held: Reading) -> dict[str, Any]:
        """Columns of how far a model is off what is held, and above the lowest known."""
        holding = self._holding
        first, line = holding.misses(held)[0], holding.line_miss(held)
        return {
            "drift_se": holding.drift_se(held),
            "held_drift": first.value,
            "held_drift_se": first.error,
            "excess": excess(self.accepted, train),
            **({"line_miss": line[0], "line_miss_se": line[1]} if line else {}),
        }

    def _committed_candidate(
        self,
        work: Work,
        found: Candidate,
        columns: dict[str, Any],
        *,
        length: float,
        previous: Weights | None,
        in_vain: bool = False,
    ) -> Commit:
        """What a step of this length leaves behind; `previous`: the model from which the walk came to this one. `in_vain`: it is not
        wanted, whatever it holds."""
        columns = self._kept_columns | found.columns | columns
        verdict = self._judge(found.outcome, found.held, used=found.used, length=length)
        if found.train is None or found.held is None or found.chart is None:
            return self._commit(work, found.point, found.outcome, verdict, columns, accepted_state=None, carry={})
        columns |= self._judged_columns(found.train, found.held)
        if in_vain and verdict.accepted:
            verdict = dataclasses.replace(verdict, accepted=False, reason="renewal")
        carry = pack(
            **found.chart.tangents,
            previous=previous,
            preconditioner=found.chart.preconditioner,
            start=unpack(self._carry, "start"),
        )
        return self._commit(work, found.point, found.outcome, verdict, columns, accepted_state=found.state, carry=carry)

    def _judge(self, outcome: Outcome, read: Reading | None, *, used: float, length: float) -> Verdict:
        config = self._config
        return judge(
            outcome=outcome,
            misses=self._holding.misses(read) if read is not None and config.settle else (),
            shift_used=used,
            length=length,
            longest=config.step_length,
            growth=self._process.growth,
        )
