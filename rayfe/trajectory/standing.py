"""Steps of no length: the model of a walk is trained anew where it stands, to leave its branch or to make good its lag."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

from rayfe.records import Annealing, Commit, EquilibrateRequest, Outcome, Point, Reading, Replica, StepRecord, Weights
from rayfe.rows import Work, held_readings, number, response_in
from rayfe.surface.process import Process
from rayfe.surface.stepper import MOVES, Verdict, judge
from rayfe.trajectory import history
from rayfe.trajectory.base import Steps, Trajectory
from rayfe.trajectory.chart import carried_tangents
from rayfe.trajectory.envelope import Bounding, bound, excess
from rayfe.trajectory.holding import Holding
from rayfe.trajectory.renewal import leap, renew
from rayfe.trajectory.step import Candidate, Chart, judging_request, take_step
from rayfe.trajectory.ways import Way, current_way
from rayfe.weights import pack, unpack

RENEWAL_GAIN = 1e-3
"""Part of F by which a renewed model must be lower, half-way to the next renewal."""


class Standing(Trajectory):
    """What a walk does where it stands, and how it judges that and every other step by what it holds."""

    # --- renewals -----------------------------------------------------------------------------------------------------

    def _renewal_is_due(self) -> bool:
        every, start = self._config.renewal.every, self.accepted[0]
        if every is None or self._config.process != "iso-classification" or self._way.over_again:
            return False
        tried = history.renewals(self._rows)
        return abs(math.log(self.accepted[-1].lam / (tried[-1] if tried else start.lam))) >= every - 1e-9

    def _renewal(self) -> Steps:
        """Accepted if it bounds F lower than the last step's model does where the walk will be half-way to the next renewal; the
        first one may be a leap, which is judged where it lands."""
        last, config, here = self.accepted[-1], self._config, self._here
        work = Work(self._key(last.step + 1))
        assert self._state is not None
        C = number(last.C_settle_target)
        if config.renewal.leap and not history.renewals(self._rows):
            ahead = dataclasses.replace(here, lam=config.lam_end)
            found = yield from leap(config, work, here, self._state, C=C)
        else:
            ahead = self._half_way(here)
            found = yield from renew(config, work, here, self._state, C=C, F=last.F_end, share=config.renewal.share)
        length = last.next_step_length or config.step_length
        rejected = Verdict(accepted=False, reason="renewal", next_length=length)
        columns = self._kept_columns | {"step_length": 0.0}
        if found is None:
            return self._commit(work, here, Outcome.NOT_EQUILIBRATED, rejected, columns, accepted_state=None, carry={})
        replica = Replica(name="settled", point=found.point, weights=found.weights)
        tested = work.measured((yield judging_request(work, replica, found.weights, self._judged)))
        train, held = tested.readings[0], held_readings(tested.readings)["settled"]
        columns |= {"tested": tested.readings, "response": found.response, "response_age": 0} | self._judged_columns(
            train, held
        )
        carry = pack(tangent=found.tangent, preconditioner=found.preconditioner, start=unpack(self._carry, "start"))
        holds = self._judge(Outcome.OK, held, used=0.0, length=length).accepted
        better = bound(train, ahead) < (1.0 - RENEWAL_GAIN) * bound(last, ahead)
        verdict = Verdict(accepted=True, reason=None, next_length=length) if holds and better else rejected
        return self._commit(work, found.point, Outcome.OK, verdict, columns, accepted_state=tested.weights[0], carry=carry)

    def _half_way(self, here: Point) -> Point:
        """Where the walk will be half-way to the next renewal, at the same gamma."""
        every, lam_end = self._config.renewal.every, self._config.lam_end
        assert every is not None
        length = min(0.5 * every, self._process.left(here))
        return dataclasses.replace(here, lam=here.lam * math.exp(math.copysign(length, lam_end - here.lam)))

    # --- the last training of a transfer ------------------------------------------------------------------------------

    def _last_training(self) -> Steps:
        """Anneal the model where it is, then take a step of no length there."""
        last, config, here = self.accepted[-1], self._config, self._here
        work, epochs = Work(self._key(last.step + 1)), config.path.last_epochs
        assert self._state is not None
        chart = self._chart(self._state)
        replica = Replica(name="centre", point=here, weights=chart.weights)
        whole = Annealing(epochs=epochs, begin=0.0, end=epochs)
        request = EquilibrateRequest(
            key=work.key, replicas=(replica,), preconditioner=chart.preconditioner, annealing=whole, rate=chart.rate
        )
        trained = work.equilibrated((yield request))
        if trained.outcome is not Outcome.OK:
            found = Candidate(outcome=trained.outcome, point=here, columns={})
        else:
            chart = dataclasses.replace(chart, weights=trained.weights[0], preconditioner=trained.preconditioner)
            aims, splits = self._holding.aims, self._judged
            found = yield from take_step(config, work, here, chart, aims, refresh=True, moves=MOVES, splits=splits)
        return self._committed_candidate(work, found, {"step_length": 0.0}, length=0.0, previous=None)

    # --- parts --------------------------------------------------------------------------------------------------------

    @property
    def _here(self) -> Point:
        last = self.accepted[-1]
        return Point(lam=last.lam, gamma=last.gamma, t=last.t)

    @property
    def _way(self) -> Way:
        return current_way(self._config, self.accepted)

    @property
    def _process(self) -> Process:
        return self._way.process

    @property
    def _holding(self) -> Holding:
        return Holding(process=self._process, start=self.accepted[0], kept=unpack(self._carry, "start"))

    @property
    def _models(self) -> list[Bounding]:
        """All models that bound F: those of the accepted steps, and those of the runs that this one was told of."""
        stored = self._stored or _no_weights
        return [*(Bounding(row=row, weights=functools.partial(stored, row)) for row in self.accepted), *self._known]

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
        drift, drift_se = self._holding.held_miss(held)
        line = self._holding.line_miss(held)
        return {
            "drift_se": self._holding.drift_se(held),
            "held_drift": drift,
            "held_drift_se": drift_se,
            "excess": excess(self._models, train),
            **({"line_miss": line[0], "line_miss_se": line[1]} if line else {}),
        }

    def _committed_candidate(
        self, work: Work, found: Candidate, columns: dict[str, Any], *, length: float, previous: Weights | None
    ) -> Commit:
        """What a step of this length leaves behind; `previous`: the model from which the walk came to this one."""
        columns = self._kept_columns | found.columns | columns
        verdict = self._judge(found.outcome, found.held, used=found.used, length=length)
        if found.train is None or found.held is None or found.chart is None:
            return self._commit(work, found.point, found.outcome, verdict, columns, accepted_state=None, carry={})
        columns |= self._judged_columns(found.train, found.held)
        carry = pack(
            **found.chart.tangents,
            previous=previous,
            preconditioner=found.chart.preconditioner,
            start=unpack(self._carry, "start"),
        )
        return self._commit(work, found.point, found.outcome, verdict, columns, accepted_state=found.state, carry=carry)

    def _judge(self, outcome: Outcome, read: Reading | None, *, used: float, length: float) -> Verdict:
        config = self._config
        drift, error = self._holding.worst(read, config) if read is not None and config.settle else (None, 0.0)
        return judge(
            outcome=outcome,
            relative_drift=drift,
            drift_se=error,
            shift_used=used,
            length=length,
            longest=config.step_length,
            growth=config.step_growth,
            tolerance=config.tolerance,
        )


def _no_weights(row: StepRecord) -> Weights:
    raise LookupError(f"{row.trajectory}: this walk was given no stored weights")
