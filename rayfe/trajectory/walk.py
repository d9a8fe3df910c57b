"""A quasi-static walk: each step goes a little way along a process, at equilibrium and with what it holds settled."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator

from rayfe.config import RunConfig
from rayfe.exceptions import WalkFailed
from rayfe.records import Answer, Held, Kind, Outcome, Point, Reading, Request, Velocity, Weights
from rayfe.records.carried import Carried
from rayfe.records.columns import Observed, held_reading_in, reading_in
from rayfe.records.work import Work
from rayfe.surface.chance import at_chance
from rayfe.surface.process import LOSS, SingularResponse
from rayfe.surface.response import first_law_residual
from rayfe.surface.step_control import MOVES, Judgement, Proposal, gamma_vanishes, propose, shortest_step
from rayfe.trajectory import history
from rayfe.trajectory.acceptance import draws_of, kept, left_behind
from rayfe.trajectory.attainable import require_attainable, why_failed
from rayfe.trajectory.constraint import limits_of, most_sets, remembered, usual_sets
from rayfe.trajectory.course import Course
from rayfe.trajectory.draws import Sets
from rayfe.trajectory.equilibration import with_uptake
from rayfe.trajectory.first_equilibrium import Started, Tested, read_start, settle_targets, start_equilibrium
from rayfe.trajectory.geodesic_endpoint import find_line
from rayfe.trajectory.line import GeodesicLine, line_in, require_line, with_line
from rayfe.trajectory.prediction import SPAN, ahead, predicted_velocity
from rayfe.trajectory.process_registry import process_class, process_of
from rayfe.trajectory.round_trip import part_done
from rayfe.trajectory.stationary_steps import last_training, renewal, renewal_is_due
from rayfe.trajectory.step import take_step
from rayfe.trajectory.walk_state import Steps, WalkState


class WalkCourse(Course):
    """A walk that holds something: (31), (30) or (38).

    What one step leaves for the next: the tangents of the last stencil, the weights before the last step, what the optimizer learnt, and
    of the start the noise of C and what the settles aim at.
    """

    def attempt(self, state: WalkState) -> Steps:
        if not state.accepted:
            return first_step(state)
        if len(state.accepted) == 1:
            return second_step(state)
        if state.way.ended:
            return last_training(state)
        return renewal(state) if renewal_is_due(state) else next_step(state)

    def arrived(self, state: WalkState) -> str | None:
        if len(state.accepted) == 1 or history.last_training_is_due(state.rows, state.config):
            return None
        return state.way.ended

    def done(self, state: WalkState) -> float:
        return 0.0 if len(state.accepted) == 1 else part_done(state.config, state.way, state.first)


# --- step 0: the start's own equilibrium ------------------------------------------------------------------------------


def first_step(state: WalkState) -> Steps:
    """The start's own equilibrium, and what later steps need of it."""
    config, work = state.config, state.begin(Kind.START)
    point = state.start.point
    started = yield from start_equilibrium(config, work, point, state.weights, moved_by=process_class(config.process).moved_by)
    tested, line, sets = yield from _read_first(state, work, point, started)
    held = _held(config, line)
    usual = usual_sets(limits_of(config, held, tested.held, line), tested.held, sets)
    targets = yield from settle_targets(config, work, point, started, usual=usual, most=sets)
    carried = Carried(
        tangents=started.chart.tangents,
        preconditioner=started.chart.preconditioner,
        start=remembered(held, tested.held, targets),
    )
    first = Judgement(accepted=True, reason=None, next_length=config.asked.step_length_first or config.asked.step_length)
    observed = with_line(tested.observed, line)
    return state.left_behind(work, point, Outcome.OK, first, observed, weights=tested.state, carried=carried)


def _read_first(
    state: WalkState, work: Work, point: Point, started: Started
) -> Generator[Request, Answer | None, tuple[Tested, GeodesicLine, Sets]]:
    """The start's reading, the line of a geodesic from there, and the most draws that a step may have, with which it was read."""
    config, along_line = state.config, process_class(state.config.process).along_line
    line = GeodesicLine(k=config.asked.k if along_line else None)
    sets = _most_sets(config, started.centre, line)
    tested = yield from read_start(config, work, point, started, sets=sets, splits=state.judged)
    if not along_line or config.asked.k is not None or at_chance(tested.held):
        return tested, line, sets
    allowed = limits_of(config, (LOSS,), tested.held, line)[0].allowed
    line = yield from find_line(config, work, point, started.centre, allowed=allowed)
    more = _most_sets(config, started.centre, line)
    if more != sets:
        tested = yield from read_start(config, work, point, started, sets=more, splits=state.judged, again=True)
    return tested, line, more


def _most_sets(config: RunConfig, centre: Reading, line: GeodesicLine) -> Sets:
    if not config.asked.settle:
        return Sets()  # nothing is judged
    return most_sets(limits_of(config, _held(config, line), centre, line), centre)


def _held(config: RunConfig, line: GeodesicLine) -> tuple[Held, ...]:
    """What is held along a line; of a geodesic without a slope only C."""
    if line.k is None and process_class(config.process).along_line:
        return (LOSS,)
    return process_of(config, k=line.k).held


# --- steps along the process ------------------------------------------------------------------------------------------


def second_step(state: WalkState) -> Steps:
    """The first step along the process; before it, whether there is anything to hold, and whether it can be held.

    Raises:
        WalkFailed: a geodesic has no slope, or the tolerance is below what the draws can tell.
    """
    start, config = state.first, state.config
    if LOSS in _held(config, line_in(start)) and at_chance(held_reading_in(start)):
        return state.stop(state.here, "at_chance", Outcome.OK, _told(state))
    if process_class(config.process).along_line:
        require_line(start)
    if config.asked.settle:
        require_attainable(config, state.holding.limits, held_reading_in(start), state.holding.most)
    return (yield from next_step(state))


def next_step(state: WalkState) -> Steps:
    """A step along the process, or the stop that there is instead of it.

    Raises:
        WalkFailed: it was rejected down to the shortest one.
    """
    config, here, process, length = state.config, state.here, state.process, _length(state)
    try:
        velocity = predicted_velocity(process, state.way.rows[-SPAN - 1 :], config, length)
    except SingularResponse as singular:
        return state.stop(here, singular.stop, Outcome.SINGULAR, _told(state))
    proposal = propose(process, here, velocity, length=length)
    if gamma_vanishes(proposal.point, start_gamma=state.start.gamma):
        return state.stop(proposal.point, "gamma_zero", Outcome.OK, _told(state))
    shortest = shortest_step(config.asked.step_length, config.asked.step_length_first)
    if history.rejections(state.rows) and length < min(shortest, process.left(here)):
        if stop := process.singular_near(here):
            return state.stop(here, stop, Outcome.SINGULAR, _told(state))
        rejected = state.rows[-1]
        limits, start = state.holding.limits, held_reading_in(state.first)
        why = why_failed(config, rejected, start, limits, state.holding.misses_in(rejected))
        raise WalkFailed(f"step {state.last.step + 1}: rejected down to a step of {length:.2g}: {why}")
    return (yield from _walk(state, proposal, velocity))


def _length(state: WalkState) -> float:
    """Of the next step: what the last attempt found; back and there again, at first, as far as the next lam of the legs before."""
    if state.way.over_again and state.rows[-1].accepted:
        return state.config.asked.step_length
    return state.rows[-1].next_step_length or state.config.asked.step_length


def _walk(state: WalkState, proposal: Proposal, velocity: Velocity) -> Steps:
    """Train, settle and judge a model at the proposed point."""
    config, work = state.config, state.begin(Kind.STEP)
    before = state.chart(_predicted_weights(state, proposal.length))
    refresh = history.rejections(state.rows) > 0 or before.response_age + 1 >= config.asked.refresh
    before, taken_up = yield from with_uptake(work, proposal.point, state.last, before)
    observed = dataclasses.replace(kept(state), velocity=velocity, step_length=proposal.length, taken_up=taken_up)
    found = yield from take_step(
        config,
        work,
        proposal.point,
        before,
        state.holding,
        sets=draws_of(state),
        refresh=refresh,
        moves=MOVES,
        splits=state.judged,
        observed=observed,
    )
    if found.train is not None and not config.moves_data:
        residual = first_law_residual(reading_in(state.last), found.train)
        found = dataclasses.replace(found, observed=dataclasses.replace(found.observed, first_law_residual=residual))
    return left_behind(state, work, found, length=proposal.length, previous=state.model)


def _predicted_weights(state: WalkState, length: float) -> Weights:
    """theta_k + r (theta_k - theta_{k-1}), r the ratio of step lengths, at most 1: it removes the steady lag."""
    previous, last = state.carried.previous, state.last.step_length
    if not (state.config.asked.predictor and previous and last) or state.way.turned:
        return state.model
    return ahead(state.model, previous, length / last)


def _told(state: WalkState) -> Observed:
    """What the row of a stop has from the last one."""
    return Observed(held_on=state.last.held_on, C_target=state.last.C_target, k=state.last.k)
