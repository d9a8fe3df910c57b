"""One walk as an ask/tell machine: which request comes next, and what its answer means. No torch, no Ray, no IO.

`Trajectory.attempt()` is a generator: it yields requests, is sent their answers, and returns what the attempted
step leaves behind. Whoever drives it (`driver`, a notebook, a test) decides where requests are answered.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np

from rayfe.config import RunConfig, Start
from rayfe.records import (
    Answer,
    Commit,
    Equilibrated,
    EquilibrateRequest,
    Measured,
    MeasureRequest,
    Outcome,
    Point,
    Reading,
    Replica,
    Request,
    Response,
    Settled,
    SettleRequest,
    Split,
    StepKey,
    StepRecord,
    Velocity,
    Weights,
)
from rayfe.rows import reading_records, step_record
from rayfe.surface.process import SingularResponse, iso_classification
from rayfe.surface.response import first_law_residual, response_of
from rayfe.surface.stencil import centre_only, neighbours
from rayfe.surface.stepper import STOPS, Proposal, Verdict, gamma_vanishes, judge, propose
from rayfe.weights import along, pack, slope, unpack

Steps = Generator[Request, Answer, Commit]
RISE = 0.02
"""J may rise by this fraction of itself during an equilibration; more means that it did not equilibrate."""


class WalkFailed(RuntimeError):
    """The walk cannot go on, and not by a named stop."""


class Trajectory:
    """A walk at constant classification loss from one start (31).

    `rows` are the attempted steps so far; `state` and `carry` are the weights of the last accepted one and what
    it left for the next: tangent, previous weights, second moments. Together they define everything that follows.
    """

    def __init__(
        self, config: RunConfig, start: Start, rows: Sequence[StepRecord], *, state: Weights | None, carry: Weights
    ) -> None:
        self.start = start
        self._config = config
        self._rows = list(rows)
        self._state = state
        self._carry = carry

    # --- where it stands ----------------------------------------------------------------------------------------------

    @property
    def accepted(self) -> list[StepRecord]:
        return [row for row in self._rows if row.accepted]

    @property
    def seconds(self) -> float:
        return self._rows[-1].seconds if self._rows else 0.0

    @property
    def finished(self) -> str | None:
        """Why there is no further step: a named stop, `lam_end`, `steps` or `time`; None while there is one."""
        if not self._rows:
            return None
        if self._rows[-1].reason in STOPS:
            return self._rows[-1].reason
        if self.accepted and self.accepted[-1].lam >= self._config.lam_end:
            return "lam_end"
        if len(self.accepted) > self._config.steps:
            return "steps"
        if self._config.time_budget is not None and self.seconds >= self._config.time_budget:
            return "time"
        return None

    def committed(self, record: StepRecord, commit: Commit) -> None:
        """Take note that the step is stored."""
        self._rows.append(record)
        if record.accepted:
            self._state, self._carry = commit.state, commit.carry or {}

    # --- one attempted step -------------------------------------------------------------------------------------------

    def attempt(self) -> Steps:
        """Requests of the next attempted step; returns its Commit.

        Raises:
            WalkFailed: the first equilibrium diverged, or steps became shorter than `step_length_min`.
        """
        return self._first_step() if not self.accepted else self._next_step()

    def _first_step(self) -> Steps:
        key = StepKey(trajectory=self.start.name, seed=self.start.seed, step=0, attempt=len(self._rows))
        point = Point(lam=self.start.lam, gamma=self.start.gamma)
        replica = Replica(name="centre", point=point, weights=None)
        first = _equilibrated((yield EquilibrateRequest(key=key, replicas=(replica,), first=True)))
        if first.outcome is not Outcome.OK:
            raise WalkFailed("the first equilibrium diverged; lower --equilibration.first-learning-rate")
        stencil = self._neighbours(point)
        replicas = tuple(Replica(name=name, point=at, weights=first.weights[0]) for name, at in stencil.items())
        walk = _equilibrated((yield EquilibrateRequest(key=key, replicas=replicas, preconditioner=first.preconditioner)))
        if walk.outcome is not Outcome.OK:
            raise WalkFailed("the walk's equilibration diverged at the start; lower --equilibration.learning-rate")
        stencil_read = _measured((yield self._measure(key, replicas, walk.weights, "settle")))
        response = response_of(_by_name(stencil_read.readings))
        tested = _measured((yield self._measure(key, replicas[:1], walk.weights[:1], "test", validation=True)))
        train, validation = tested.readings
        record = step_record(
            key,
            point=point,
            train=train,
            validation=validation,
            response=response,
            process=self._config.process,
            accepted=True,
            outcome=Outcome.OK,
            C_target=train.C,
            C_settle_target=_by_name(stencil_read.readings)["centre"].C,
            drift_se=0.0,
            response_age=0,
            excess=0.0,
            F_start=first.readings[0].F,
            F_end=walk.readings[-len(replicas)].F,
            next_step_length=self._config.step_length,
            examples=first.examples + walk.examples + stencil_read.examples + tested.examples,
        )
        readings = (
            *reading_records(key, first.readings, first=True),
            *reading_records(key, (*walk.readings, *stencil_read.readings), first=False),
            *reading_records(key, tested.readings, first=False, replica="settled"),
        )
        carry = pack(tangent=_tangent(stencil, walk.weights), second_moment=walk.preconditioner, start=_noise(train))
        return Commit(record=record, readings=readings, state=tested.weights[0], carry=carry)

    def _next_step(self) -> Steps:
        last, config = self.accepted[-1], self._config
        key = StepKey(
            trajectory=self.start.name,
            seed=self.start.seed,
            step=last.step + 1,
            attempt=sum(row.step == last.step + 1 for row in self._rows),
        )
        here = Point(lam=last.lam, gamma=last.gamma)
        try:
            velocity = iso_classification(here, _response(last))
        except SingularResponse as singular:
            return self._stop(key, here, singular.stop, Outcome.SINGULAR)
        length = self._rows[-1].next_step_length or config.step_length
        proposal = propose(here, velocity, length=length, lam_end=config.lam_end)
        if gamma_vanishes(proposal.point, start_gamma=self.start.gamma):
            return self._stop(key, proposal.point, "gamma_zero", Outcome.OK)
        if length < config.step_length_min:
            raise WalkFailed(f"step {key.step}: rejected down to a step of {length:.2g} in log lam ({self._rows[-1].reason})")
        return (yield from self._walk(key, proposal, velocity))

    def _walk(self, key: StepKey, proposal: Proposal, velocity: Velocity) -> Steps:
        last, config, point = self.accepted[-1], self._config, proposal.point
        refresh = key.attempt > 0 or (last.response_age or 0) + 1 >= config.refresh
        stencil = self._neighbours(point) if refresh else centre_only(point)
        start = self._predicted(proposal.length)
        tangent = unpack(self._carry, "tangent")
        replicas = tuple(
            Replica(name=name, point=at, weights=along(start, tangent, at.gamma - point.gamma)) for name, at in stencil.items()
        )
        second_moment = unpack(self._carry, "second_moment") or None
        trained = _equilibrated((yield EquilibrateRequest(key=key, replicas=replicas, preconditioner=second_moment)))
        readings, examples = reading_records(key, trained.readings, first=False), trained.examples
        F_start, F_end = trained.readings[0].F, trained.readings[-len(replicas)].F
        outcome = trained.outcome
        if outcome is Outcome.OK and F_end > F_start + RISE * abs(F_start):
            outcome = Outcome.NOT_EQUILIBRATED
        if outcome is not Outcome.OK:
            verdict = self._judge(outcome, None, 0.0, proposal)
            return self._reject(key, proposal, velocity, outcome, verdict, readings, examples)

        response, age = _response(last), (last.response_age or 0) + 1
        if refresh:
            stencil_read = _measured((yield self._measure(key, replicas, trained.weights, "settle")))
            readings += reading_records(key, stencil_read.readings, first=False)
            examples += stencil_read.examples
            response, age = response_of(_by_name(stencil_read.readings)), 0
            tangent = _tangent(stencil, trained.weights)
        centre, settled, used = trained.weights[0], None, 0.0
        if config.settle:
            reach = config.neighbours.gamma_delta * point.gamma
            settled = _settled(
                (
                    yield SettleRequest(
                        key=key,
                        weights=centre,
                        tangent=tangent,
                        point=point,
                        C_target=_number(last.C_settle_target),
                        C_gamma=response.C_gamma,
                        shift_min=-reach,
                        shift_max=reach,
                    )
                )
            )
            centre, examples, used = settled.weights, examples + settled.examples, abs(settled.shift) / reach
        point = Point(lam=point.lam, gamma=point.gamma + (settled.shift if settled else 0.0))
        replica = Replica(name="settled", point=point, weights=centre)
        tested = _measured((yield self._measure(key, (replica,), (centre,), "test", validation=True)))
        train, validation = tested.readings
        readings += reading_records(key, tested.readings, first=False)
        verdict = self._judge(outcome, train, used, proposal)
        record = step_record(
            key,
            point=point,
            train=train,
            validation=validation,
            response=response,
            process=config.process,
            accepted=verdict.accepted,
            outcome=outcome,
            reason=verdict.reason,
            C_target=last.C_target,
            C_settle_target=last.C_settle_target,
            drift_se=self._drift_se(train),
            C_before_settle=settled.C_before if settled else None,
            settle_shift=settled.shift if settled else None,
            response_age=age,
            excess=self._excess(train),
            chart_defect=_chart_defect(_by_name(stencil_read.readings)["centre"], train) if refresh else None,
            first_law_residual=first_law_residual(_reading(last), train),
            F_start=F_start,
            F_end=F_end,
            velocity=velocity,
            step_length=proposal.length,
            next_step_length=verdict.next_length,
            examples=last_examples(self._rows) + examples + tested.examples,
        )
        start_noise = unpack(self._carry, "start")
        carry = pack(tangent=tangent, previous=self._state, second_moment=trained.preconditioner, start=start_noise)
        state = tested.weights[0] if verdict.accepted else None
        return Commit(record=record, readings=readings, state=state, carry=carry if verdict.accepted else None)

    # --- parts --------------------------------------------------------------------------------------------------------

    def _neighbours(self, point: Point) -> dict[str, Point]:
        return neighbours(point, self._config.stencil, self._config.neighbours)

    def _measure(
        self, key: StepKey, replicas: Sequence[Replica], weights: Sequence[Weights], purpose: str, *, validation: bool = False
    ) -> MeasureRequest:
        return MeasureRequest(
            key=key,
            replicas=tuple(
                Replica(name=replica.name, point=replica.point, weights=trained)
                for replica, trained in zip(replicas, weights, strict=True)
            ),
            splits=(Split.TRAIN, Split.VALIDATION) if validation else (Split.TRAIN,),
            purpose=purpose,
        )

    def _predicted(self, length: float) -> Weights:
        """theta_k + r (theta_k - theta_{k-1}), r the ratio of step lengths, at most 1: it removes the steady lag."""
        assert self._state is not None
        previous, last = unpack(self._carry, "previous"), self.accepted[-1].step_length
        if not (self._config.predictor and previous and last):
            return self._state
        return along(self._state, slope(self._state, previous, 1.0), min(1.0, length / last))

    def _judge(self, outcome: Outcome, train: Reading | None, used: float, proposal: Proposal) -> Verdict:
        target = _number(self.accepted[-1].C_target)
        drift = train.C / target - 1.0 if train is not None and self._config.settle else None
        return judge(
            outcome=outcome,
            relative_drift=drift,
            drift_se=self._drift_se(train) if train is not None else 0.0,
            shift_used=used,
            length=proposal.length,
            longest=self._config.step_length,
            tolerance=self._config.tolerance,
        )

    def _drift_se(self, train: Reading) -> float:
        """Standard error of C / C0 - 1. Draws are those of step 0, so the noise that both have in common cancels."""
        C0, noise0 = _number(self.accepted[0].C), unpack(self._carry, "start")["C_noise"]
        return float(np.linalg.norm(np.asarray(train.C_noise) - train.C / C0 * noise0) / C0)

    def _excess(self, train: Reading) -> float:
        """F above the lower envelope of this trajectory's accepted models at the same multipliers, nats."""
        point = train.point
        bounds = [_number(row.R) + point.lam * _number(row.D) + point.gamma * _number(row.C) for row in self.accepted]
        return train.F - min([train.F, *bounds])

    def _reject(
        self,
        key: StepKey,
        proposal: Proposal,
        velocity: Velocity,
        outcome: Outcome,
        verdict: Verdict,
        readings: tuple,
        examples: float,
    ) -> Commit:
        record = step_record(
            key,
            point=proposal.point,
            process=self._config.process,
            accepted=False,
            outcome=outcome,
            reason=verdict.reason,
            C_target=self.accepted[-1].C_target,
            velocity=velocity,
            step_length=proposal.length,
            next_step_length=verdict.next_length,
            examples=last_examples(self._rows) + examples,
        )
        return Commit(record=record, readings=readings, state=None, carry=None)

    def _stop(self, key: StepKey, point: Point, name: str, outcome: Outcome) -> Commit:
        record = step_record(
            key,
            point=point,
            process=self._config.process,
            accepted=False,
            outcome=outcome,
            reason=name,
            C_target=self.accepted[-1].C_target,
            examples=last_examples(self._rows),
        )
        return Commit(record=record, readings=(), state=None, carry=None)


def last_examples(rows: Sequence[StepRecord]) -> float:
    return rows[-1].examples if rows else 0.0


def _response(row: StepRecord) -> Response:
    return Response(
        C_lam=_number(row.C_lam),
        C_gamma=_number(row.C_gamma),
        D_gamma=_number(row.D_gamma),
        D_lam=row.D_lam,
        C_lam_se=_number(row.C_lam_se),
        C_gamma_se=_number(row.C_gamma_se),
    )


def _reading(row: StepRecord) -> Reading:
    """The training reading that an accepted row was made from, as far as the row has it."""
    return Reading(
        replica="settled",
        split=Split.TRAIN,
        point=Point(lam=row.lam, gamma=row.gamma, t=row.t),
        update=0,
        R=_number(row.R),
        D=_number(row.D),
        C=_number(row.C),
        accuracy=_number(row.accuracy),
        R_se=_number(row.R_se),
        D_se=_number(row.D_se),
        C_se=_number(row.C_se),
    )


def _noise(reading: Reading) -> Weights:
    return {"C_noise": np.asarray(reading.C_noise, np.float64)}


def _chart_defect(centre: Reading, settled: Reading) -> float:
    """F of the settled model above the tangent plane of F at the stencil's centre: F + C dgamma (Lemma 3), nats."""
    return settled.F - (centre.F + centre.C * (settled.point.gamma - centre.point.gamma))


def _tangent(stencil: dict[str, Point], weights: Sequence[Weights]) -> Weights:
    """dtheta/dgamma by central differences of the gamma neighbours' weights (18)."""
    at = dict(zip(stencil, weights, strict=True))
    return slope(at["gamma+"], at["gamma-"], stencil["gamma+"].gamma - stencil["gamma-"].gamma)


def _by_name(readings: Sequence[Reading]) -> dict[str, Reading]:
    return {reading.replica: reading for reading in readings if reading.split is Split.TRAIN}


def _number(value: float | None) -> float:
    assert value is not None, "an accepted row has this column"
    return value


def _equilibrated(answer: Answer) -> Equilibrated:
    assert isinstance(answer, Equilibrated)
    return answer


def _measured(answer: Answer) -> Measured:
    assert isinstance(answer, Measured)
    return answer


def _settled(answer: Answer) -> Settled:
    assert isinstance(answer, Settled)
    return answer
