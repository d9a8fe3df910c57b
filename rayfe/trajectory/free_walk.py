"""A walk that holds nothing: lam moves, gamma stays, and each step is one training. No stencil, no settle, no drift."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from rayfe.exceptions import WalkFailed
from rayfe.records import Annealing, Commit, EquilibrateRequest, Outcome, Point, Reading, Replica, StepRecord
from rayfe.records.columns import Work, probe_ends, reading_in
from rayfe.records.weights import pack, unpack, without
from rayfe.surface.process import FixedGamma
from rayfe.surface.response import first_law_residual
from rayfe.surface.step_control import Proposal, judge, propose, shortest_step
from rayfe.trajectory import history
from rayfe.trajectory.base import Steps, Trajectory
from rayfe.trajectory.draws import Sets
from rayfe.trajectory.envelope import excess
from rayfe.trajectory.prediction import ahead
from rayfe.trajectory.process_registry import process_of
from rayfe.trajectory.step import Trainee, judging_request, outcome_of, trained_at, with_uptake


class FreeWalk(Trajectory):
    """A trajectory of a process without conditions.

    What one step leaves for the next (`carry`): the weights before the step, and what its optimizer learnt.
    """

    @property
    def _process(self) -> FixedGamma:
        process = process_of(self._config, k=None)
        assert isinstance(process, FixedGamma), process
        return process

    def _end(self, accepted: Sequence[StepRecord]) -> str | None:
        return self._process.ended([Point(lam=row.lam, gamma=row.gamma, t=row.t) for row in accepted])

    def attempt(self) -> Steps:
        return self._next_step() if self.accepted else self._first_step()

    def _first_step(self) -> Steps:
        work, point = Work(self._key(0)), Point(lam=self.start.lam, gamma=self.start.gamma)
        new, epochs = Replica(name="centre", point=point, weights=None), self._config.equilibration.first_epochs
        whole = Annealing(epochs=epochs, begin=0.0, end=epochs)
        first = work.equilibrated((yield EquilibrateRequest(key=work.key, replicas=(new,), annealing=whole)), first=True)
        if first.outcome is not Outcome.OK:
            raise WalkFailed("the first equilibrium diverged; lower --equilibration.first-learning-rate")
        columns = {"F_start": probe_ends(first.readings)["F_start"]}
        start = Trainee(weights=first.weights[0], preconditioner=first.preconditioner)
        commit = yield from self._trained(work, point, start, columns, length=0.0)
        if not commit.record.accepted:
            raise WalkFailed("the walk's equilibration diverged at the start; lower --equilibration.learning-rate")
        return commit

    def _next_step(self) -> Steps:
        last, config = self.accepted[-1], self._config
        key, length = self._key(last.step + 1), self._rows[-1].next_step_length or config.step_length
        proposal = propose(self._process, self._here, self._process.velocity(self._here), length=length)
        if history.rejections(self._rows) and length < min(
            shortest_step(config.step_length, config.step_length_first), self._process.left(self._here)
        ):
            raise WalkFailed(f"step {key.step}: rejected down to a step of {length:.2g} ({self._rows[-1].reason})")
        return (yield from self._step(Work(key), proposal))

    def _step(self, work: Work, proposal: Proposal) -> Steps:
        last = self.accepted[-1]
        start, taken_up = yield from with_uptake(work, proposal.point, last, self._trainee(proposal.length))
        velocity = self._process.velocity(self._here)
        columns: dict[str, Any] = {"velocity": velocity, "step_length": proposal.length, "taken_up": taken_up}
        return (yield from self._trained(work, proposal.point, start, columns, length=proposal.length))

    def _trainee(self, length: float) -> Trainee:
        """The last model moved on by the step's part of the last step."""
        assert self._state is not None
        left, previous, last = unpack(self._carry, "preconditioner"), unpack(self._carry, "previous"), self.accepted[-1]
        weights = self._state
        if self._config.predictor and previous and last.step_length:
            weights = ahead(weights, previous, length / last.step_length)
        if history.diverged(self._rows[-1]):
            left = without(left, "ahead")
        return Trainee(weights=weights, preconditioner=left or None, rate=history.rate(self._rows))

    def _trained(self, work: Work, point: Point, start: Trainee, columns: dict[str, Any], *, length: float) -> Steps:
        """Train and read the model; accepted if it equilibrated and can be read."""
        trained, _ = yield from trained_at(self._config, work, point, start)
        ends = probe_ends(trained.readings)
        columns = {"process": self._config.process} | ends | columns
        outcome = outcome_of(trained, ends["F_start"], ends["F_end"])
        if outcome is not Outcome.OK:
            return self._judged_commit(work, point, outcome, columns, length=length)
        replica = Replica(name="settled", point=point, weights=trained.weights[0])
        tested = work.measured((yield judging_request(work, replica, self._judged, Sets())))
        train: Reading = tested.readings[0]
        if not math.isfinite(train.F):
            return self._judged_commit(work, point, Outcome.NONFINITE, columns, length=length)
        columns |= {"tested": tested.readings, "excess": excess(self.accepted, train)}
        if self.accepted:
            columns["first_law_residual"] = first_law_residual(reading_in(self.accepted[-1]), train)
        commit = self._judged_commit(work, point, outcome, columns, length=length)
        carry = pack(previous=self._state, preconditioner=trained.preconditioner)
        return dataclasses.replace(commit, state=tested.weights[0], carry=carry)

    def _judged_commit(self, work: Work, point: Point, outcome: Outcome, columns: dict[str, Any], *, length: float) -> Commit:
        config = self._config
        verdict = judge(
            outcome=outcome,
            misses=(),
            shift_used=0.0,
            length=length or config.step_length_first or config.step_length,
            longest=config.step_length,
            growth=self._process.growth if length else 1.0,
        )
        return self._commit(work, point, outcome, verdict, columns, accepted_state=None, carry=None)
