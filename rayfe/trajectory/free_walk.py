"""A walk that holds nothing: lam moves, gamma stays, and each step is one training. No stencil, no settle, no drift."""

from __future__ import annotations

import dataclasses
import math

from rayfe.exceptions import WalkFailed
from rayfe.records import Kind, Outcome, Point, Reading, Replica
from rayfe.records.carried import Carried
from rayfe.records.columns import Observed, probe_ends, reading_in
from rayfe.records.work import Work
from rayfe.surface.envelope import excess
from rayfe.surface.process import FixedGamma
from rayfe.surface.response import first_law_residual
from rayfe.surface.step_control import Judgement, judge, propose, shortest_step
from rayfe.trajectory import history
from rayfe.trajectory.attainable import why_failed
from rayfe.trajectory.course import Course
from rayfe.trajectory.draws import Sets
from rayfe.trajectory.equilibration import Trainee, outcome_of, trained_at, with_ends, with_uptake
from rayfe.trajectory.first_equilibrium import first_training
from rayfe.trajectory.measuring import judging_request
from rayfe.trajectory.prediction import ahead
from rayfe.trajectory.round_trip import part_done
from rayfe.trajectory.walk_state import Steps, WalkState


class FreeCourse(Course):
    """A walk of a process without conditions.

    What one step leaves for the next: the weights before the step, and what its optimizer learnt.
    """

    def attempt(self, state: WalkState) -> Steps:
        return next_step(state) if state.accepted else first_step(state)

    def arrived(self, state: WalkState) -> str | None:
        return state.way.ended

    def done(self, state: WalkState) -> float:
        return part_done(state.config, state.way, state.first)


def first_step(state: WalkState) -> Steps:
    """The start's own equilibrium.

    Raises:
        WalkFailed: a training diverged.
    """
    work, point = state.begin(Kind.START), state.start.point
    first = yield from first_training(state.config, work, point, state.weights)
    start = Trainee(weights=first.model, preconditioner=first.preconditioner)
    if not first.trained:
        commit = yield from _read(state, work, point, start, Observed())
        if not commit.record.accepted:
            raise WalkFailed("the model that it starts from has no finite F on these data; start from another one")
        return commit
    F_start = probe_ends(first.readings).F_start
    commit = yield from _trained(state, work, point, start, Observed(), F_start=F_start)
    if not commit.record.accepted:
        raise WalkFailed("the walk's equilibration diverged at the start; lower ``equilibration.learning_rate``")
    return commit


def next_step(state: WalkState) -> Steps:
    """A step of lam.

    Raises:
        WalkFailed: it was rejected down to the shortest one.
    """
    config, here, process = state.config, state.here, state.process
    assert isinstance(process, FixedGamma), process
    length = state.rows[-1].next_step_length or config.asked.step_length
    velocity = process.velocity(here)
    proposal = propose(process, here, velocity, length=length)
    shortest = shortest_step(config.asked.step_length, config.asked.step_length_first)
    if history.rejections(state.rows) and length < min(shortest, process.left(here)):
        why = why_failed(config, state.rows[-1], reading_in(state.first))
        raise WalkFailed(f"step {state.last.step + 1}: rejected down to a step of {length:.2g}: {why}")
    work = state.begin(Kind.STEP)
    start, taken_up = yield from with_uptake(work, proposal.point, state.last, _trainee(state, proposal.length))
    observed = Observed(velocity=velocity, step_length=proposal.length, taken_up=taken_up)
    return (yield from _trained(state, work, proposal.point, start, observed))


def _trainee(state: WalkState, length: float) -> Trainee:
    """The last model moved on by the step's part of the last step."""
    previous, last, weights = state.carried.previous, state.last.step_length, state.model
    if state.config.asked.predictor and previous and last:
        weights = ahead(weights, previous, length / last)
    return Trainee(weights=weights, preconditioner=state.preconditioner, rate=history.rate(state.rows))


def _trained(
    state: WalkState, work: Work, point: Point, start: Trainee, observed: Observed, *, F_start: float | None = None
) -> Steps:
    """Train and read the model; accepted if it equilibrated and can be read. `F_start`: of the first equilibrium, at the start."""
    trained, _ = yield from trained_at(state.config, work, point, start)
    observed = with_ends(observed, trained)
    outcome = outcome_of(trained, observed)
    if F_start is not None:
        observed = dataclasses.replace(observed, F_start=F_start)
    length = observed.step_length
    if outcome is not Outcome.OK:
        return state.left_behind(work, point, outcome, _judged(state, outcome, length), observed)
    return (
        yield from _read(
            state, work, point, Trainee(weights=trained.weights[0], preconditioner=trained.preconditioner), observed
        )
    )


def _read(state: WalkState, work: Work, point: Point, model: Trainee, observed: Observed) -> Steps:
    """What a step with this model leaves behind; accepted if it can be read."""
    length = observed.step_length
    replica = Replica(name="settled", point=point, weights=model.weights)
    tested = work.measured((yield judging_request(work, replica, state.judged, Sets())))
    train: Reading = tested.readings[0]
    if not math.isfinite(train.F):
        return state.left_behind(work, point, Outcome.NONFINITE, _judged(state, Outcome.NONFINITE, length), observed)
    observed = dataclasses.replace(observed, tested=tested.readings, excess=excess(state.accepted, train))
    if state.accepted:
        observed = dataclasses.replace(observed, first_law_residual=first_law_residual(reading_in(state.last), train))
    carried = Carried(previous=state.weights if state.accepted else None, preconditioner=model.preconditioner)
    judgement = _judged(state, Outcome.OK, length)
    return state.left_behind(work, point, Outcome.OK, judgement, observed, weights=tested.weights[0], carried=carried)


def _judged(state: WalkState, outcome: Outcome, length: float | None) -> Judgement:
    """Whether the walk goes on after a step of this length; None: it is the start."""
    config = state.config
    return judge(
        outcome=outcome,
        misses=(),
        shift_used=0.0,
        length=length or config.asked.step_length_first or config.asked.step_length,
        longest=config.asked.step_length,
        growth=state.process.growth if length else 1.0,
    )
