"""One walk as an ask/tell machine: which request comes next, and what its answer means. No torch, no Ray, no IO.

`Trajectory.attempt()` is a generator: it yields requests, is sent their answers, and returns what the attempted
step leaves behind. Whoever drives it (`driver`, a notebook, a test) decides where requests are answered.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from rayfe.config import RunConfig, Start
from rayfe.records import (
    Answer,
    Commit,
    Equilibrated,
    EquilibrateRequest,
    MeasureRequest,
    Outcome,
    Point,
    Reading,
    Replica,
    Request,
    Response,
    SettleRequest,
    Split,
    StepKey,
    StepRecord,
    Velocity,
    Weights,
)
from rayfe.rows import Work, number, reading_in, response_in, step_record
from rayfe.surface.process import SingularResponse, iso_classification
from rayfe.surface.response import chart_defect, first_law_residual, response_of
from rayfe.surface.stencil import centre_only, neighbours
from rayfe.surface.stepper import STOPS, Proposal, Verdict, gamma_vanishes, judge, moved, propose
from rayfe.weights import along, pack, slope, unpack

Steps = Generator[Request, Answer | None, Commit]
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
    def _examples(self) -> float:
        return self._rows[-1].examples if self._rows else 0.0

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
        config, work = self._config, Work(key)
        point = Point(lam=self.start.lam, gamma=self.start.gamma)
        new = Replica(name="centre", point=point, weights=None)
        first = work.equilibrated((yield EquilibrateRequest(key=key, replicas=(new,), first=True)), first=True)
        if first.outcome is not Outcome.OK:
            raise WalkFailed("the first equilibrium diverged; lower --equilibration.first-learning-rate")
        stencil = neighbours(point, config.stencil, config.neighbours)
        replicas = tuple(Replica(name=name, point=at, weights=first.weights[0]) for name, at in stencil.items())
        request = EquilibrateRequest(key=key, replicas=replicas, preconditioner=first.preconditioner)
        walk = work.equilibrated((yield request))
        if walk.outcome is not Outcome.OK:
            raise WalkFailed("the walk's equilibration diverged at the start; lower --equilibration.learning-rate")
        read = work.measured((yield _measure(key, replicas, walk.weights, "settle")))
        settled = (Replica(name="settled", point=point, weights=None),)
        tested = work.measured((yield _measure(key, settled, walk.weights[:1], "test", validation=True)))
        train, validation = tested.readings
        columns = {
            "process": config.process,
            "train": train,
            "validation": validation,
            "response": response_of(_by_name(read.readings)),
            "response_age": 0,
            "C_target": train.C,
            "C_settle_target": _by_name(read.readings)["centre"].C,
            "drift_se": 0.0,
            "excess": 0.0,
            "F_start": first.readings[0].F,
            "F_end": walk.readings[-len(replicas)].F,
        }
        carry = pack(
            tangent=_tangent(replicas, walk.weights),
            second_moment=walk.preconditioner,
            start={"C_noise": np.asarray(train.C_noise, np.float64)},
        )
        start = Verdict(accepted=True, reason=None, next_length=config.step_length)
        return self._commit(work, point, Outcome.OK, start, columns, accepted_state=tested.weights[0], carry=carry)

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
            velocity = self._velocity()
        except SingularResponse as singular:
            return self._stop(key, here, singular.stop, Outcome.SINGULAR)
        length = self._rows[-1].next_step_length or config.step_length
        proposal = propose(here, velocity, length=length, lam_end=config.lam_end)
        if gamma_vanishes(proposal.point, start_gamma=self.start.gamma):
            return self._stop(key, proposal.point, "gamma_zero", Outcome.OK)
        if length < config.step_length_min:
            raise WalkFailed(f"step {key.step}: rejected down to a step of {length:.2g} in log lam ({self._rows[-1].reason})")
        rejected = self._rows[-1]
        if rejected.reason == "settle_range" and rejected.next_step_length == rejected.step_length:
            miss = number(rejected.C) - number(rejected.C_target)
            proposal = moved(proposal, gamma=rejected.gamma, miss=miss, C_gamma=number(rejected.C_gamma))
        return (yield from self._walk(key, proposal, velocity))

    def _walk(self, key: StepKey, proposal: Proposal, velocity: Velocity) -> Steps:
        last, config = self.accepted[-1], self._config
        work = Work(key)
        age = (last.response_age or 0) + 1
        refresh = key.attempt > 0 or age >= config.refresh
        replicas = self._replicas(proposal, refresh=refresh)
        second_moment = unpack(self._carry, "second_moment") or None
        request = EquilibrateRequest(key=key, replicas=replicas, preconditioner=second_moment)
        trained = work.equilibrated((yield request))
        columns: dict[str, Any] = {
            "process": config.process,
            "velocity": velocity,
            "step_length": proposal.length,
            "C_target": last.C_target,
            "C_settle_target": last.C_settle_target,
            "F_start": trained.readings[0].F if trained.readings else None,
            "F_end": trained.readings[-len(replicas)].F if trained.readings else None,
        }
        outcome = _outcome(trained, columns["F_start"], columns["F_end"])
        if outcome is not Outcome.OK:
            verdict = self._judge(outcome, None, 0.0, proposal)
            return self._commit(work, proposal.point, outcome, verdict, columns, accepted_state=None, carry={})

        response, tangent, centre = response_in(last), unpack(self._carry, "tangent"), None
        if refresh:
            read = work.measured((yield _measure(key, replicas, trained.weights, "settle")))
            response, age, centre = response_of(_by_name(read.readings)), 0, _by_name(read.readings)["centre"]
            tangent = _tangent(replicas, trained.weights)
        weights, point, used = trained.weights[0], proposal.point, 0.0
        if config.settle:
            reach = config.neighbours.gamma_delta * point.gamma
            settled = work.settled((yield self._settle(key, weights, tangent, point, response, reach)))
            weights, used = settled.weights, abs(settled.shift) / reach
            point = Point(lam=point.lam, gamma=point.gamma + settled.shift, t=point.t)
            columns |= {"C_before_settle": settled.C_before, "settle_shift": settled.shift}
        replica = Replica(name="settled", point=point, weights=weights)
        tested = work.measured((yield _measure(key, (replica,), (weights,), "test", validation=True)))
        train, validation = tested.readings
        columns |= {
            "train": train,
            "validation": validation,
            "response": response,
            "response_age": age,
            "drift_se": self._drift_se(train),
            "excess": self._excess(train),
            "chart_defect": chart_defect(centre, train) if centre else None,
            "first_law_residual": first_law_residual(reading_in(last), train),
        }
        carry = pack(
            tangent=tangent,
            previous=self._state,
            second_moment=trained.preconditioner,
            start=unpack(self._carry, "start"),
        )
        verdict = self._judge(outcome, train, used, proposal)
        return self._commit(work, point, outcome, verdict, columns, accepted_state=tested.weights[0], carry=carry)

    # --- parts --------------------------------------------------------------------------------------------------------

    def _replicas(self, proposal: Proposal, *, refresh: bool) -> tuple[Replica, ...]:
        """The centre, and at a refresh its neighbours, all starting from the prediction moved along the old tangent."""
        point, config = proposal.point, self._config
        points = neighbours(point, config.stencil, config.neighbours) if refresh else centre_only(point)
        start, tangent = self._predicted(proposal.length), unpack(self._carry, "tangent")
        return tuple(
            Replica(name=name, point=at, weights=along(start, tangent, at.gamma - point.gamma)) for name, at in points.items()
        )

    def _settle(
        self, key: StepKey, weights: Weights, tangent: Weights, point: Point, response: Response, reach: float
    ) -> SettleRequest:
        return SettleRequest(
            key=key,
            weights=weights,
            tangent=tangent,
            point=point,
            C_target=number(self.accepted[-1].C_settle_target),
            C_gamma=response.C_gamma,
            shift_min=-reach,
            shift_max=reach,
        )

    def _commit(
        self,
        work: Work,
        point: Point,
        outcome: Outcome,
        verdict: Verdict,
        columns: dict[str, Any],
        *,
        accepted_state: Weights | None,
        carry: Weights,
    ) -> Commit:
        record = step_record(
            work.key,
            point=point,
            outcome=outcome,
            accepted=verdict.accepted,
            reason=verdict.reason,
            next_step_length=verdict.next_length,
            examples=self._examples + work.examples,
            **columns,
        )
        if not verdict.accepted:
            return Commit(record=record, readings=work.readings, state=None, carry=None)
        return Commit(record=record, readings=work.readings, state=accepted_state, carry=carry)

    def _velocity(self) -> Velocity:
        """The response's velocity, plus what the last step's gamma did beyond its own: the settle's shift, which repeats.

        To second order this is the slope at the middle of the next step, and nothing where nothing was settled.
        """
        velocities = [iso_classification(Point(lam=row.lam, gamma=row.gamma), response_in(row)) for row in self.accepted[-2:]]
        if len(velocities) == 1:
            return velocities[0]
        before, last = self.accepted[-2:]
        beyond = (last.gamma - before.gamma) / number(last.step_length) - velocities[0].gamma
        return Velocity(lam=velocities[1].lam, gamma=velocities[1].gamma + beyond)

    def _predicted(self, length: float) -> Weights:
        """theta_k + r (theta_k - theta_{k-1}), r the ratio of step lengths, at most 1: it removes the steady lag."""
        assert self._state is not None
        previous, last = unpack(self._carry, "previous"), self.accepted[-1].step_length
        if not (self._config.predictor and previous and last):
            return self._state
        return along(self._state, slope(self._state, previous, 1.0), min(1.0, length / last))

    def _judge(self, outcome: Outcome, train: Reading | None, used: float, proposal: Proposal) -> Verdict:
        target = number(self.accepted[-1].C_target)
        drift = train.C / target - 1.0 if train is not None and self._config.settle else None
        return judge(
            outcome=outcome,
            relative_drift=drift,
            drift_se=self._drift_se(train) if train is not None else 0.0,
            shift_used=used,
            attempt=sum(row.step == self.accepted[-1].step + 1 for row in self._rows),
            length=proposal.length,
            longest=self._config.step_length,
            tolerance=self._config.tolerance,
        )

    def _drift_se(self, train: Reading) -> float:
        """Standard error of C / C0 - 1. Draws are those of step 0, so the noise that both have in common cancels."""
        C0, noise0 = number(self.accepted[0].C), unpack(self._carry, "start")["C_noise"]
        return float(np.linalg.norm(np.asarray(train.C_noise) - train.C / C0 * noise0) / C0)

    def _excess(self, train: Reading) -> float:
        """F above the lower envelope of this trajectory's accepted models at the same multipliers, nats."""
        point = train.point
        bounds = [number(row.R) + point.lam * number(row.D) + point.gamma * number(row.C) for row in self.accepted]
        return train.F - min([train.F, *bounds])

    def _stop(self, key: StepKey, point: Point, name: str, outcome: Outcome) -> Commit:
        record = step_record(
            key,
            point=point,
            process=self._config.process,
            accepted=False,
            outcome=outcome,
            reason=name,
            C_target=self.accepted[-1].C_target,
            examples=self._examples,
        )
        return Commit(record=record, readings=(), state=None, carry=None)


def _measure(
    key: StepKey, replicas: Sequence[Replica], weights: Sequence[Weights], purpose: str, *, validation: bool = False
) -> MeasureRequest:
    """Read the replicas with the weights that they have now."""
    return MeasureRequest(
        key=key,
        replicas=tuple(
            dataclasses.replace(replica, weights=trained) for replica, trained in zip(replicas, weights, strict=True)
        ),
        splits=(Split.TRAIN, Split.VALIDATION) if validation else (Split.TRAIN,),
        purpose=purpose,
    )


def _outcome(trained: Equilibrated, F_start: float | None, F_end: float | None) -> Outcome:
    if trained.outcome is Outcome.OK and F_start is not None and F_end is not None and F_end > F_start + RISE * abs(F_start):
        return Outcome.NOT_EQUILIBRATED
    return trained.outcome


def _tangent(replicas: Sequence[Replica], weights: Sequence[Weights]) -> Weights:
    """dtheta/dgamma by central differences of the gamma neighbours' weights (18)."""
    at = {replica.name: (replica.point.gamma, trained) for replica, trained in zip(replicas, weights, strict=True)}
    (upper, up), (lower, down) = at["gamma+"], at["gamma-"]
    return slope(up, down, upper - lower)


def _by_name(readings: Sequence[Reading]) -> dict[str, Reading]:
    return {reading.replica: reading for reading in readings if reading.split is Split.TRAIN}
