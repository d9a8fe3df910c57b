"""A quasi-static walk: each step goes a little way along a process, at equilibrium and with what it holds settled."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from typing import Any

from rayfe.exceptions import WalkFailed
from rayfe.records import (
    Answer,
    Commit,
    Held,
    Outcome,
    Point,
    Reading,
    Request,
    StepKey,
    StepRecord,
    Velocity,
    Weights,
)
from rayfe.records.columns import Work, held_reading_in, reading_in, step_record
from rayfe.records.weights import pack, unpack, without
from rayfe.surface.chance import at_chance
from rayfe.surface.process import LOSS, SingularResponse
from rayfe.surface.response import first_law_residual
from rayfe.surface.step_control import MOVES, Proposal, Verdict, gamma_vanishes, propose, shortest_step
from rayfe.trajectory import history
from rayfe.trajectory.attainable import require_attainable, told_by_draws
from rayfe.trajectory.base import Steps
from rayfe.trajectory.constraint import limits_of, most_sets, remembered, usual_sets
from rayfe.trajectory.draws import Sets
from rayfe.trajectory.first_equilibrium import Started, Tested, read_start, settle_targets, start_equilibrium
from rayfe.trajectory.geodesic_endpoint import find_line
from rayfe.trajectory.line import Line, line_columns, line_in, require_line
from rayfe.trajectory.prediction import SPAN, ahead, predicted_velocity
from rayfe.trajectory.process_registry import process_class, process_of
from rayfe.trajectory.round_trip import current_way
from rayfe.trajectory.stationary_steps import InPlace
from rayfe.trajectory.step import Chart, take_step, with_uptake


class Walk(InPlace):
    """A walk at constant classification loss from one start: (31), (30) or (38).

    What one step leaves for the next (`carry`): the tangents of the last stencil, the weights before the last step,
    Adam's second moments, and of the start the noise of C and what the settles aim at.
    """

    def _end(self, accepted: Sequence[StepRecord]) -> str | None:
        if len(accepted) == 1:
            return None
        ended = current_way(self._config, accepted).ended
        return None if history.last_training_is_due(self._rows, self._config) else ended

    def attempt(self) -> Steps:
        if not self.accepted:
            return self._first_step()
        if len(self.accepted) == 1:
            return self._second_step()
        if self._way.ended:
            return self._last_training()
        return self._renewal() if self._renewal_is_due() else self._next_step()

    # --- step 0: the start's own equilibrium --------------------------------------------------------------------------

    def _first_step(self) -> Steps:
        config, work = self._config, Work(self._key(0))
        point = Point(lam=self.start.lam, gamma=self.start.gamma)
        started = yield from start_equilibrium(config, work, point, moved_by=process_class(config.process).moved_by)
        tested, line, sets = yield from self._read_first(work, point, started)
        held = self._held(line)
        usual = usual_sets(limits_of(config, held, tested.held, line), tested.held, sets)
        targets = yield from settle_targets(config, work, point, started, usual=usual, most=sets)
        columns = started.columns | tested.columns | line_columns(line) | {"process": config.process}
        start = remembered(held, tested.held, targets)
        carry = pack(**started.chart.tangents, preconditioner=started.chart.preconditioner, start=start)
        first = Verdict(accepted=True, reason=None, next_length=config.step_length_first or config.step_length)
        return self._commit(work, point, Outcome.OK, first, columns, accepted_state=tested.state, carry=carry)

    def _read_first(
        self, work: Work, point: Point, started: Started
    ) -> Generator[Request, Answer | None, tuple[Tested, Line, Sets]]:
        """The start's reading, the line of a geodesic from there, and the most draws that a step may have, with which it was read."""
        config = self._config
        line = Line(k=config.k if config.process == "geodesic" else None)
        sets = self._most_sets(started.centre, line)
        tested = yield from read_start(config, work, point, started, sets=sets, splits=self._judged)
        if config.process != "geodesic" or config.k is not None or at_chance(tested.held):
            return tested, line, sets
        allowed = limits_of(config, (LOSS,), tested.held, line)[0].allowed
        line = yield from find_line(config, work, point, started.centre, allowed=allowed)
        more = self._most_sets(started.centre, line)
        if more != sets:
            tested = yield from read_start(config, work, point, started, sets=more, splits=self._judged, again=True)
        return tested, line, more

    def _most_sets(self, centre: Reading, line: Line) -> Sets:
        if not self._config.settle:
            return Sets()  # nothing is judged
        return most_sets(limits_of(self._config, self._held(line), centre, line), centre)

    def _held(self, line: Line) -> tuple[Held, ...]:
        """What is held along a line; of a geodesic without a slope only C."""
        config = self._config
        return (LOSS,) if config.process == "geodesic" and line.k is None else process_of(config, k=line.k).held

    def _second_step(self) -> Steps:
        """The first step along the process; before it, whether there is anything to hold, and whether it can be held.

        Raises:
            WalkFailed: a geodesic has no slope, or the tolerance is below what the draws can tell.
        """
        start, config = self.accepted[0], self._config
        line = line_in(start)
        if LOSS in self._held(line) and at_chance(held_reading_in(start)):
            return self._stop(self._key(1), self._here, "at_chance", Outcome.OK)
        if config.process == "geodesic":
            require_line(start)
        if config.settle:
            require_attainable(config, self._holding.limits, held_reading_in(start), self._holding.most)
        return (yield from self._next_step())

    # --- every other step ---------------------------------------------------------------------------------------------

    def _next_step(self) -> Steps:
        last, config = self.accepted[-1], self._config
        key = self._key(last.step + 1)
        here, length = self._here, self._length
        try:
            velocity = predicted_velocity(self._process, self._way.rows[-SPAN - 1 :], config, length)
        except SingularResponse as singular:
            return self._stop(key, here, singular.stop, Outcome.SINGULAR)
        proposal = propose(self._process, here, velocity, length=length)
        if gamma_vanishes(proposal.point, start_gamma=self.start.gamma):
            return self._stop(key, proposal.point, "gamma_zero", Outcome.OK)
        if (
            history.rejections(self._rows)
            and length < shortest_step(config.step_length, config.step_length_first)
            and length < self._process.left(here)
        ):
            if stop := self._process.singular_near(here):
                return self._stop(key, here, stop, Outcome.SINGULAR)
            told = told_by_draws(config, self._rows[-1], self._process.held, self._holding.misses_in(self._rows[-1]))
            why = self._rows[-1].reason if told is None else told
            raise WalkFailed(f"step {key.step}: rejected down to a step of {length:.2g} ({why})")
        return (yield from self._walk(key, proposal, velocity))

    @property
    def _length(self) -> float:
        """Of the next step: what the last attempt found; back and there again, at first, as far as the next lam of the ways before."""
        if self._way.over_again and self._rows[-1].accepted:
            return self._config.step_length
        return self._rows[-1].next_step_length or self._config.step_length

    def _walk(self, key: StepKey, proposal: Proposal, velocity: Velocity) -> Steps:
        last, config = self.accepted[-1], self._config
        work, before = Work(key), self._chart_ahead(proposal.length)
        refresh = history.rejections(self._rows) > 0 or before.response_age + 1 >= config.refresh
        holding = self._holding
        sets, splits = self._sets(holding), self._judged
        before, taken_up = yield from with_uptake(work, proposal.point, last, before)
        found = yield from take_step(
            config, work, proposal.point, before, holding, sets=sets, refresh=refresh, moves=MOVES, splits=splits
        )
        columns: dict[str, Any] = {
            "velocity": velocity,
            "step_length": proposal.length,
            "taken_up": taken_up,
        }
        if found.train is not None and not config.moves_data:
            columns["first_law_residual"] = first_law_residual(reading_in(last), found.train)
        return self._committed_candidate(work, found, columns, length=proposal.length, previous=self._state)

    # --- parts --------------------------------------------------------------------------------------------------------

    def _chart_ahead(self, length: float) -> Chart:
        """The model that a step of this length starts from."""
        chart = self._chart(self._predicted_weights(length))
        if not history.diverged(self._rows[-1]):
            return chart
        # where the last training was going: over an edge
        return dataclasses.replace(chart, preconditioner=without(chart.preconditioner or {}, "ahead") or None)

    def _predicted_weights(self, length: float) -> Weights:
        """theta_k + r (theta_k - theta_{k-1}), r the ratio of step lengths, at most 1: it removes the steady lag."""
        assert self._state is not None
        previous, last = unpack(self._carry, "previous"), self.accepted[-1].step_length
        turned = self._way.over_again and len(self._way.rows) == 1  # the last step led the other way
        if not (self._config.predictor and previous and last) or turned:
            return self._state
        return ahead(self._state, previous, length / last)

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
