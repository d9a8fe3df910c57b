"""A quasi-static walk: each step goes a little way along a process, at equilibrium and with what it holds settled."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

from rayfe.records import (
    Commit,
    Outcome,
    Point,
    Reading,
    Replica,
    StepKey,
    StepRecord,
    Velocity,
    Weights,
)
from rayfe.rows import Work, held_readings, number, reading_in, response_in, step_record
from rayfe.surface.process import Process, SingularResponse
from rayfe.surface.response import first_law_residual
from rayfe.surface.stepper import MOVES, Proposal, Verdict, gamma_vanishes, judge, propose
from rayfe.trajectory import history
from rayfe.trajectory.base import Steps, Trajectory, WalkFailed
from rayfe.trajectory.chart import carried_tangents
from rayfe.trajectory.endpoint import Endpoint, find_endpoint
from rayfe.trajectory.envelope import Bounding, better_start, bound, excess
from rayfe.trajectory.holding import Holding, remembered
from rayfe.trajectory.prediction import SPAN, predicted_velocity
from rayfe.trajectory.processes import process_class, process_of
from rayfe.trajectory.renewal import leap, renew
from rayfe.trajectory.start import start_equilibrium
from rayfe.trajectory.step import Chart, judging_request, take_step
from rayfe.trajectory.ways import Way, current_way
from rayfe.weights import along, pack, slope, unpack, without

RENEWAL_GAIN = 1e-3
"""Part of F by which a renewed model must be lower, half-way to the next renewal."""


class Walk(Trajectory):
    """A walk at constant classification loss from one start: (31), (30) or (38).

    What one step leaves for the next (`carry`): the tangents of the last stencil, the weights before the last step,
    Adam's second moments, and of the start the noise of C and what the settles aim at.
    """

    def _end(self, accepted: Sequence[StepRecord]) -> str | None:
        return current_way(self._config, accepted).ended

    @property
    def _way(self) -> Way:
        return current_way(self._config, self.accepted)

    @property
    def _process(self) -> Process:
        return self._way.process

    @property
    def _holding(self) -> Holding:
        return Holding(process=self._process, start=self.accepted[0], kept=unpack(self._carry, "start"))

    def attempt(self) -> Steps:
        if not self.accepted:
            return self._first_step()
        return self._renewal() if self._renewal_is_due() else self._next_step()

    # --- step 0: the start's own equilibrium --------------------------------------------------------------------------

    def _first_step(self) -> Steps:
        config, work = self._config, Work(self._key(0))
        point = Point(lam=self.start.lam, gamma=self.start.gamma)
        moved_by = process_class(config.process).moved_by
        started = yield from start_equilibrium(config, work, point, moved_by=moved_by, splits=self._judged)
        endpoint = Endpoint(k=config.k if config.process == "geodesic" else None)
        if config.process == "geodesic" and config.k is None:
            endpoint = yield from find_endpoint(config, work, point, started.held)
        process = process_of(config, k=endpoint.k)
        columns = started.columns | {
            "process": config.process,
            "line_miss": 0.0 if endpoint.k is not None else None,
            "k": endpoint.k,
            "end_gamma": endpoint.gamma,
            "end_R": endpoint.R,
            "end_D": endpoint.D,
        }
        start = remembered(process, started.held, started.centre)
        carry = pack(**started.chart.tangents, preconditioner=started.chart.preconditioner, start=start)
        first = Verdict(accepted=True, reason=None, next_length=config.step_length_first or config.step_length)
        return self._commit(work, point, Outcome.OK, first, columns, accepted_state=started.state, carry=carry)

    # --- every other step ---------------------------------------------------------------------------------------------

    def _next_step(self) -> Steps:
        last, config = self.accepted[-1], self._config
        if len(self.accepted) == 1:
            self._holding.require_attainable(config)
        key = self._key(last.step + 1)
        here = Point(lam=last.lam, gamma=last.gamma, t=last.t)
        length = self._length
        try:
            velocity = predicted_velocity(self._process, self._way.rows[-SPAN - 1 :], config, length)
        except SingularResponse as singular:
            return self._stop(key, here, singular.stop, Outcome.SINGULAR)
        proposal = propose(self._process, here, velocity, length=length)
        if gamma_vanishes(proposal.point, start_gamma=self.start.gamma):
            return self._stop(key, proposal.point, "gamma_zero", Outcome.OK)
        if history.rejections(self._rows) and length < config.step_length_min and length < self._process.left(here):
            if stop := self._process.singular_near(here):
                return self._stop(key, here, stop, Outcome.SINGULAR)
            told = self._holding.told_by_draws(self._rows[-1], config)
            why = self._rows[-1].reason if told is None else told
            raise WalkFailed(f"step {key.step}: rejected down to a step of {length:.2g} ({why})")
        return (yield from self._walk(key, proposal, velocity))

    @property
    def _length(self) -> float:
        """Of the next step: what the last attempt found; on the way back, at first, as far as the next lam of the way there."""
        if self._way.back and self._rows[-1].accepted:
            return self._config.step_length
        return self._rows[-1].next_step_length or self._config.step_length

    def _walk(self, key: StepKey, proposal: Proposal, velocity: Velocity) -> Steps:
        last, config = self.accepted[-1], self._config
        work, other = Work(key), self._better_start(proposal.point)
        before = self._chart(proposal.length, other)
        refresh = history.rejections(self._rows) > 0 or other is not None or before.response_age + 1 >= config.refresh
        aims, splits = self._holding.aims, self._judged
        found = yield from take_step(config, work, proposal.point, before, aims, refresh=refresh, moves=MOVES, splits=splits)
        columns = found.columns | {
            "process": config.process,
            "velocity": velocity,
            "restarted_from": None if other is None else other.row.step,
            "restarted_run": None if other is None else other.run,
            "step_length": proposal.length,
            "held_on": last.held_on if self._holding.holds_C else None,
            "C_target": last.C_target if self._holding.holds_C else None,
            "C_settle_target": last.C_settle_target,
            "k": last.k,
        }
        verdict = self._judge(found.outcome, found.held, found.used, proposal)
        if found.train is None or found.held is None or found.chart is None:
            return self._commit(work, found.point, found.outcome, verdict, columns, accepted_state=None, carry={})
        train, held = found.train, found.held
        drift, drift_se = self._holding.held_miss(held)
        columns |= {
            "drift_se": self._holding.drift_se(held),
            "held_drift": drift,
            "held_drift_se": drift_se,
            "excess": excess(self._models, train),
            "first_law_residual": first_law_residual(reading_in(last), train) if not config.moves_data else None,
        }
        if line := self._holding.line_miss(held):
            columns |= {"line_miss": line[0], "line_miss_se": line[1]}
        carry = pack(
            **found.chart.tangents,
            previous=self._state if other is None else None,  # no way leads from the one to the other
            preconditioner=found.chart.preconditioner,
            start=unpack(self._carry, "start"),
        )
        return self._commit(work, found.point, found.outcome, verdict, columns, accepted_state=found.state, carry=carry)

    # --- renewal: a step of no length ---------------------------------------------------------------------------------

    def _renewal_is_due(self) -> bool:
        every, start = self._config.renewal.every, self.accepted[0]
        if every is None or self._config.process != "iso-classification" or self._way.back:
            return False
        tried = history.renewals(self._rows)
        return abs(math.log(self.accepted[-1].lam / (tried[-1] if tried else start.lam))) >= every - 1e-9

    def _renewal(self) -> Steps:
        """Accepted if it bounds F lower than the last step's model does where the walk will be half-way to the next renewal; the
        first one may be a leap, which is judged where it lands."""
        last, config = self.accepted[-1], self._config
        key = self._key(last.step + 1)
        work, here = Work(key), Point(lam=last.lam, gamma=last.gamma, t=last.t)
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
        columns: dict[str, Any] = {
            "process": config.process,
            "step_length": 0.0,
            "held_on": last.held_on,
            "C_target": last.C_target,
            "C_settle_target": last.C_settle_target,
        }
        if found is None:
            return self._commit(work, here, Outcome.NOT_EQUILIBRATED, rejected, columns, accepted_state=None, carry={})
        replica = Replica(name="settled", point=found.point, weights=found.weights)
        tested = work.measured((yield judging_request(work, replica, found.weights, self._judged)))
        train, judged = tested.readings[0], held_readings(tested.readings)["settled"]
        columns |= {
            "tested": tested.readings,
            "response": found.response,
            "response_age": 0,
            "drift_se": self._holding.drift_se(judged),
            **dict(zip(("held_drift", "held_drift_se"), self._holding.held_miss(judged), strict=True)),
            "excess": excess(self._models, train),
        }
        carry = pack(tangent=found.tangent, preconditioner=found.preconditioner, start=unpack(self._carry, "start"))
        held = self._judge(Outcome.OK, judged, 0.0, Proposal(point=found.point, length=length)).accepted
        better = bound(train, ahead) < (1.0 - RENEWAL_GAIN) * bound(last, ahead)
        verdict = Verdict(accepted=True, reason=None, next_length=length) if held and better else rejected
        return self._commit(work, found.point, Outcome.OK, verdict, columns, accepted_state=tested.weights[0], carry=carry)

    def _half_way(self, here: Point) -> Point:
        """Where the walk will be half-way to the next renewal, at the same gamma."""
        every, lam_end = self._config.renewal.every, self._config.lam_end
        assert every is not None
        length = min(0.5 * every, self._process.left(here))
        return dataclasses.replace(here, lam=here.lam * math.exp(math.copysign(length, lam_end - here.lam)))

    # --- parts --------------------------------------------------------------------------------------------------------

    @property
    def _models(self) -> list[Bounding]:
        """All models that bound F: those of the accepted steps, and those of the runs that this one was told of."""
        stored = self._stored or _no_weights
        return [*(Bounding(row=row, weights=functools.partial(stored, row)) for row in self.accepted), *self._known]

    def _better_start(self, point: Point) -> Bounding | None:
        gain = self._config.restart
        return None if gain is None else better_start(self._models, self.accepted[-1], point, gain)

    def _chart(self, length: float, other: Bounding | None) -> Chart:
        """The model that the next step starts from (`other`: not the last one), with the response and tangents that the last
        one left."""
        last, left = self.accepted[-1], unpack(self._carry, "preconditioner")
        if other is not None or history.diverged(self._rows[-1]):
            left = without(left, "ahead")  # where the last model's training was going: not this one's way, or over an edge
        return Chart(
            weights=self._predicted_weights(length) if other is None else other.weights(),
            tangents=carried_tangents(self._carry),
            response=response_in(last),
            response_age=last.response_age or 0,
            preconditioner=left or None,
            rate=history.rate(self._rows),
        )

    def _predicted_weights(self, length: float) -> Weights:
        """theta_k + r (theta_k - theta_{k-1}), r the ratio of step lengths, at most 1: it removes the steady lag."""
        assert self._state is not None
        previous, last = unpack(self._carry, "previous"), self.accepted[-1].step_length
        turned = self._way.back and len(self._way.rows) == 1  # the last step led the other way
        if not (self._config.predictor and previous and last) or turned:
            return self._state
        return along(self._state, slope(self._state, previous, 1.0), min(1.0, length / last))

    def _judge(self, outcome: Outcome, read: Reading | None, used: float, proposal: Proposal) -> Verdict:
        config = self._config
        drift, error = self._holding.worst(read, config) if read is not None and config.settle else (None, 0.0)
        return judge(
            outcome=outcome,
            relative_drift=drift,
            drift_se=error,
            shift_used=used,
            length=proposal.length,
            longest=config.step_length,
            growth=config.step_growth,
            tolerance=config.tolerance,
        )

    def _stop(self, key: StepKey, point: Point, name: str, outcome: Outcome) -> Commit:
        record = step_record(
            key,
            point=point,
            process=self._config.process,
            accepted=False,
            outcome=outcome,
            reason=name,
            held_on=self.accepted[-1].held_on,
            C_target=self.accepted[-1].C_target,
            k=self.accepted[-1].k,
            examples=self._examples,
        )
        return Commit(record=record, readings=(), state=None, carry=None)


def _no_weights(row: StepRecord) -> Weights:
    raise LookupError(f"{row.trajectory}: this walk was given no stored weights")
