"""A quasi-static walk: each step goes a little way along a process, at equilibrium and with what it holds settled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rayfe.config import RunConfig
from rayfe.records import (
    Annealing,
    Commit,
    Equilibrated,
    EquilibrateRequest,
    Outcome,
    Point,
    Reading,
    Replica,
    Split,
    StepKey,
    StepRecord,
    Velocity,
    Weights,
)
from rayfe.rows import Work, number, probe_ends, reading_in, response_in, step_record
from rayfe.surface.process import ConstantRate, Geodesic, IsoClassification, Process, SingularResponse
from rayfe.surface.response import chart_defect, first_law_residual, response_of
from rayfe.surface.stencil import centre_only, neighbours
from rayfe.surface.stepper import Proposal, Verdict, gamma_vanishes, judge, moved_on, propose
from rayfe.trajectory.base import Steps, Trajectory, WalkFailed
from rayfe.trajectory.chart import carried_tangents, moved, settle_request, tangents_of
from rayfe.trajectory.endpoint import Endpoint, find_endpoint
from rayfe.trajectory.holding import Holding, remembered
from rayfe.trajectory.renewal import renew
from rayfe.weights import along, pack, slope, unpack

RENEWAL_GAIN = 1e-3
"""Part of F by which a renewed model must be lower."""
BOUNDARY_LAYER = 0.1
"""Where a small first step is asked for, the t up to which rates are taken to be too steep to predict with."""
RISE = 0.02
"""J may rise by this fraction of itself during an equilibration; more means that it did not equilibrate."""


def process_of(config: RunConfig, *, k: float | None) -> Process:
    """The process that `config` names; `k` of the geodesic may come from the end points."""
    match config.process:
        case "iso-classification":
            return IsoClassification(config.lam_end)
        case "constant-rate":
            return ConstantRate(config.lam_dot)
        case "geodesic":
            return Geodesic(number(k), layer=BOUNDARY_LAYER if config.step_length_first is not None else 0.0)


class Walk(Trajectory):
    """A walk at constant classification loss from one start: (31), (30) or (38).

    What one step leaves for the next (`carry`): the tangents of the last stencil, the weights before the last step,
    Adam's second moments, and of the start the noise of C and what the settles aim at.
    """

    def _end(self, last: StepRecord) -> str | None:
        if self._process.left(Point(lam=last.lam, gamma=last.gamma, t=last.t)) > 0.0:
            return None
        return "t_end" if self._config.moves_data else "lam_end"

    @property
    def _process(self) -> Process:
        return process_of(self._config, k=self.accepted[0].k)

    @property
    def _holding(self) -> Holding:
        return Holding(process=self._process, start=self.accepted[0], kept=unpack(self._carry, "start"))

    def attempt(self) -> Steps:
        if not self.accepted:
            return self._first_step()
        return self._renewal() if self._renewal_is_due() else self._next_step()

    # --- step 0: the start's own equilibrium --------------------------------------------------------------------------

    def _first_step(self) -> Steps:
        key, config = self._key(0), self._config
        work = Work(key)
        point = Point(lam=self.start.lam, gamma=self.start.gamma)
        new = Replica(name="centre", point=point, weights=None)
        whole = Annealing(epochs=config.equilibration.first_epochs, begin=0.0, end=config.equilibration.first_epochs)
        first = work.equilibrated((yield EquilibrateRequest(key=key, replicas=(new,), annealing=whole)), first=True)
        if first.outcome is not Outcome.OK:
            raise WalkFailed("the first equilibrium diverged; lower --equilibration.first-learning-rate")
        stencil = neighbours(point, config.stencil, config.neighbours)
        replicas = tuple(Replica(name=name, point=at, weights=first.weights[0]) for name, at in stencil.items())
        walk = work.equilibrated((yield EquilibrateRequest(key=key, replicas=replicas, preconditioner=first.preconditioner)))
        if walk.outcome is not Outcome.OK:
            raise WalkFailed("the walk's equilibration diverged at the start; lower --equilibration.learning-rate")
        measure = self._measure(key, replicas, walk.weights, "settle", slope_in_t=config.moves_data)
        read = _by_name(work.measured((yield measure)).readings)
        settled = (Replica(name="settled", point=point, weights=None),)
        tested = work.measured((yield self._measure(key, settled, walk.weights[:1], "test", splits=self._judged)))
        train = tested.readings[0]
        endpoint = Endpoint(k=config.k)
        if config.process == "geodesic" and config.k is None:
            endpoint = yield from find_endpoint(config, work, point, train)
        process = process_of(config, k=endpoint.k)
        columns = {
            "process": config.process,
            "tested": tested.readings,
            "response": response_of(read),
            "response_age": 0,
            "C_target": train.C,
            "C_settle_target": read["centre"].C,
            "drift_se": 0.0,
            "line_miss": 0.0 if endpoint.k is not None else None,
            "k": endpoint.k,
            "end_gamma": endpoint.gamma,
            "end_R": endpoint.R,
            "end_D": endpoint.D,
            "excess": 0.0,
        }
        columns |= {"F_start": probe_ends(first.readings)["F_start"], "F_end": probe_ends(walk.readings)["F_end"]}
        carry = pack(
            **tangents_of(process, replicas, walk.weights),
            second_moment=walk.preconditioner,
            start=remembered(process, train, read["centre"]),
        )
        start = Verdict(accepted=True, reason=None, next_length=config.step_length_first or config.step_length)
        return self._commit(work, point, Outcome.OK, start, columns, accepted_state=tested.weights[0], carry=carry)

    # --- every other step ---------------------------------------------------------------------------------------------

    def _next_step(self) -> Steps:
        last, config = self.accepted[-1], self._config
        key = self._key(last.step + 1)
        here = Point(lam=last.lam, gamma=last.gamma, t=last.t)
        length = self._rows[-1].next_step_length or config.step_length
        try:
            velocity = self._layer_velocity(length) or self._velocity()
        except SingularResponse as singular:
            return self._stop(key, here, singular.stop, Outcome.SINGULAR)
        proposal = propose(self._process, here, velocity, length=length)
        if gamma_vanishes(proposal.point, start_gamma=self.start.gamma):
            return self._stop(key, proposal.point, "gamma_zero", Outcome.OK)
        if length < config.step_length_min and length < self._process.left(here):
            if stop := self._process.singular_near(here):
                return self._stop(key, here, stop, Outcome.SINGULAR)
            raise WalkFailed(f"step {key.step}: rejected down to a step of {length:.2g} ({self._rows[-1].reason})")
        rejected = self._rows[-1]
        if rejected.reason == "settle_range" and rejected.next_step_length == rejected.step_length:
            at = Point(lam=rejected.lam, gamma=rejected.gamma, t=rejected.t)
            proposal = moved_on(proposal, at, self._holding.correction(rejected, at))
        return (yield from self._walk(key, proposal, velocity))

    def _walk(self, key: StepKey, proposal: Proposal, velocity: Velocity) -> Steps:
        last, config, process = self.accepted[-1], self._config, self._process
        work = Work(key)
        age = (last.response_age or 0) + 1
        refresh = self._rejections > 0 or age >= config.refresh
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
            "k": last.k,
            **probe_ends(trained.readings),
        }
        outcome = _outcome(trained, columns["F_start"], columns["F_end"])
        if outcome is not Outcome.OK:
            verdict = self._judge(outcome, None, 0.0, proposal)
            return self._commit(work, proposal.point, outcome, verdict, columns, accepted_state=None, carry={})

        response, tangents, centre = response_in(last), carried_tangents(self._carry), None
        if refresh:
            measure = self._measure(key, replicas, trained.weights, "settle", slope_in_t=config.moves_data)
            read = _by_name(work.measured((yield measure)).readings)
            response, age, centre = response_of(read), 0, read["centre"]
            tangents = tangents_of(process, replicas, trained.weights)
        weights, point, used = trained.weights[0], proposal.point, 0.0
        if config.settle:
            request_settle = settle_request(config, key, self._holding, weights, tangents, point, response)
            settled = work.settled((yield request_settle))
            weights, used = settled.weights, max(abs(a) / request_settle.reach[m] for m, a in settled.shift.items())
            shift_lam = settled.shift.get("lam")
            point = Point(lam=point.lam + (shift_lam or 0.0), gamma=point.gamma + settled.shift["gamma"], t=point.t)
            columns |= {"C_before_settle": settled.before.C, "settle_shift": settled.shift["gamma"]}
            columns |= {"settle_shift_lam": shift_lam}
        replica = Replica(name="settled", point=point, weights=weights)
        tested = work.measured((yield self._measure(key, (replica,), (weights,), "test", splits=self._judged)))
        train = tested.readings[0]
        columns |= {
            "tested": tested.readings,
            "response": response,
            "response_age": age,
            "drift_se": self._holding.drift_se(train),
            "excess": self._excess(train),
            "chart_defect": chart_defect(centre, train) if centre and "lam" not in process.moved_by else None,
            "first_law_residual": first_law_residual(reading_in(last), train) if not config.moves_data else None,
        }
        if line := self._holding.line_miss(train):
            columns |= {"line_miss": line[0], "line_miss_se": line[1]}
        carry = pack(
            **tangents,
            previous=self._state,
            second_moment=trained.preconditioner,
            start=unpack(self._carry, "start"),
        )
        verdict = self._judge(outcome, train, used, proposal)
        return self._commit(work, point, outcome, verdict, columns, accepted_state=tested.weights[0], carry=carry)

    # --- renewal: a step of no length ---------------------------------------------------------------------------------

    def _renewal_is_due(self) -> bool:
        every, start = self._config.renewal.every, self.accepted[0]
        if every is None or self._config.process != "iso-classification":
            return False
        tried = [row.lam for row in self._rows if row.reason == "renewal" or (row.accepted and row.step_length == 0.0)]
        return math.log(self.accepted[-1].lam / (tried[-1] if tried else start.lam)) >= every - 1e-9

    def _renewal(self) -> Steps:
        """Accepted if it is lower than the last step's model at the last step's multipliers."""
        last, config = self.accepted[-1], self._config
        key = self._key(last.step + 1)
        work, here = Work(key), Point(lam=last.lam, gamma=last.gamma, t=last.t)
        assert self._state is not None
        C = number(last.C_settle_target)
        found = yield from renew(config, work, here, self._state, response_in(last), C_now=number(last.C), C=C)
        length = last.next_step_length or config.step_length
        rejected = Verdict(accepted=False, reason="renewal", next_length=length)
        columns: dict[str, Any] = {
            "process": config.process,
            "step_length": 0.0,
            "C_target": last.C_target,
            "C_settle_target": last.C_settle_target,
        }
        if found is None:
            return self._commit(work, here, Outcome.NOT_EQUILIBRATED, rejected, columns, accepted_state=None, carry={})
        replica = Replica(name="settled", point=found.point, weights=found.weights)
        tested = work.measured((yield self._measure(key, (replica,), (found.weights,), "test", splits=self._judged)))
        train = tested.readings[0]
        columns |= {
            "tested": tested.readings,
            "response": found.response,
            "response_age": 0,
            "drift_se": self._holding.drift_se(train),
            "excess": self._excess(train),
        }
        carry = pack(tangent=found.tangent, second_moment=found.second_moment, start=unpack(self._carry, "start"))
        held = self._judge(Outcome.OK, train, 0.0, Proposal(point=found.point, length=length)).accepted
        bound = train.R + here.lam * train.D + here.gamma * train.C
        better = bound < (1.0 - RENEWAL_GAIN) * number(last.F)
        verdict = Verdict(accepted=True, reason=None, next_length=length) if held and better else rejected
        return self._commit(work, found.point, Outcome.OK, verdict, columns, accepted_state=tested.weights[0], carry=carry)

    # --- parts --------------------------------------------------------------------------------------------------------

    def _replicas(self, proposal: Proposal, *, refresh: bool) -> tuple[Replica, ...]:
        """The centre, and at a refresh its neighbours, all starting from the prediction moved along the old tangents."""
        point, config = proposal.point, self._config
        points = neighbours(point, config.stencil, config.neighbours) if refresh else centre_only(point)
        start, tangents = self._predicted(proposal.length), carried_tangents(self._carry)
        return tuple(Replica(name=name, point=at, weights=moved(start, tangents, point, at)) for name, at in points.items())

    def _velocity(self) -> Velocity:
        """The response's velocity, plus what the last step did beyond its own: the settle's shift, which repeats.

        To second order this is the slope at the middle of the next step, and nothing where nothing was settled. After
        a renewal, which is a step of no length on another branch, it is the response's alone.
        """
        rows = self.accepted[-2:] if self.accepted[-1].step_length else self.accepted[-1:]
        points = [Point(lam=row.lam, gamma=row.gamma, t=row.t) for row in rows]
        velocities = [self._process.velocity(point, response_in(row)) for point, row in zip(points, rows, strict=True)]
        if len(rows) == 1:
            return velocities[0]
        before, last = rows
        beyond = (last.gamma - before.gamma) / number(last.step_length) - velocities[0].gamma
        beyond_lam = 0.0
        if "lam" in self._process.moved_by:
            beyond_lam = (last.lam - before.lam) / number(last.step_length) - velocities[0].lam
        return Velocity(lam=velocities[1].lam + beyond_lam, gamma=velocities[1].gamma + beyond)

    def _layer_velocity(self, length: float) -> Velocity | None:
        """In the boundary layer of a transfer: the last step's slope in log (t + first step), None elsewhere.

        Where the target's classes are new, rates go like 1/t there, and what a stencil says at one t is wrong at the next.
        """
        first, rows = self._config.step_length_first, self.accepted[-2:]
        if first is None or not self._config.moves_data or len(rows) < 2 or rows[-1].t >= BOUNDARY_LAYER:
            return None
        before, last = rows
        ratio = math.log1p(length / (last.t + first)) / math.log((last.t + first) / (before.t + first)) / length
        lam = (last.lam - before.lam) * ratio if "lam" in self._process.moved_by else self._velocity().lam
        return Velocity(lam=lam, gamma=(last.gamma - before.gamma) * ratio)

    def _predicted(self, length: float) -> Weights:
        """theta_k + r (theta_k - theta_{k-1}), r the ratio of step lengths, at most 1: it removes the steady lag."""
        assert self._state is not None
        previous, last = unpack(self._carry, "previous"), self.accepted[-1].step_length
        if not (self._config.predictor and previous and last):
            return self._state
        return along(self._state, slope(self._state, previous, 1.0), min(1.0, length / last))

    def _judge(self, outcome: Outcome, train: Reading | None, used: float, proposal: Proposal) -> Verdict:
        config = self._config
        drift, error = self._holding.worst(train) if train is not None and config.settle else (None, 0.0)
        return judge(
            outcome=outcome,
            relative_drift=drift,
            drift_se=error,
            shift_used=used,
            attempt=self._rejections,
            length=proposal.length,
            longest=config.step_length,
            growth=config.step_growth,
            tolerance=config.tolerance,
        )

    @property
    def _rejections(self) -> int:
        """Rejected attempts at the next step, renewals apart: they say nothing about its length."""
        step = self.accepted[-1].step + 1
        return sum(row.step == step and row.reason != "renewal" for row in self._rows)

    def _excess(self, train: Reading) -> float:
        """F above the lower envelope of this trajectory's models at the same multipliers and the same t, nats."""
        point = train.point
        rows = [row for row in self.accepted if row.t == point.t]
        bounds = [number(row.R) + point.lam * number(row.D) + point.gamma * number(row.C) for row in rows]
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
            k=self.accepted[-1].k,
            examples=self._examples,
        )
        return Commit(record=record, readings=(), state=None, carry=None)


def _outcome(trained: Equilibrated, F_start: float | None, F_end: float | None) -> Outcome:
    if trained.outcome is Outcome.OK and F_start is not None and F_end is not None and F_end > F_start + RISE * abs(F_start):
        return Outcome.NOT_EQUILIBRATED
    return trained.outcome


def _by_name(readings: Sequence[Reading]) -> dict[str, Reading]:
    return {reading.replica: reading for reading in readings if reading.split is Split.TRAIN}
