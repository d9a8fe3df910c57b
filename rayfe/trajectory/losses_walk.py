"""A walk at several constant losses: lam goes to its end, and a multiplier for each loss keeps it where it was (`surface.several`).

gamma of rows stays the start's. The multiplier of a loss is that times the loss's price, which is a buffer of the model's task.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from rayfe.exceptions import WalkFailed
from rayfe.records import Commit, Kind, Outcome, Point, Velocity
from rayfe.records.carried import Carried
from rayfe.records.columns import Observed, probe_ends, reading_in
from rayfe.records.weights import priced
from rayfe.records.work import Work
from rayfe.surface.chance import at_chance
from rayfe.surface.envelope import excess
from rayfe.surface.process import SingularResponse
from rayfe.surface.response import first_law_residual
from rayfe.surface.several import velocity
from rayfe.surface.step_control import (
    GAMMA_FRACTION,
    Judgement,
    Proposal,
    gamma_vanishes,
    judge,
    propose,
    shortest_step,
)
from rayfe.trajectory import history
from rayfe.trajectory.acceptance import draws_after
from rayfe.trajectory.attainable import require_attainable, why_failed
from rayfe.trajectory.constraint import most_sets, remembered, usual_sets
from rayfe.trajectory.course import Course
from rayfe.trajectory.equilibration import with_uptake
from rayfe.trajectory.first_equilibrium import (
    Started,
    equilibrated_around,
    first_training,
    read_start,
    require_finite,
    settle_targets,
)
from rayfe.trajectory.losses import LossesHeld, limits_of, worst_of
from rayfe.trajectory.losses_chart import LossesChart, charted, response_in, stencil, stored_response
from rayfe.trajectory.losses_step import Arrived, take_step
from rayfe.trajectory.measuring import measure_request
from rayfe.trajectory.prediction import SPAN, ahead
from rayfe.trajectory.round_trip import part_done
from rayfe.trajectory.walk_state import Steps, WalkState


class LossesCourse(Course):
    """A walk that holds each loss of a task.

    What one step leaves for the next is what an ordinary walk leaves, with a tangent for each multiplier and their response.
    """

    def attempt(self, state: WalkState) -> Steps:
        return next_step(state) if state.accepted else first_step(state)

    def arrived(self, state: WalkState) -> str | None:
        return None if len(state.accepted) == 1 else state.way.ended

    def done(self, state: WalkState) -> float:
        return part_done(state.config, state.way, state.first)


def first_step(state: WalkState) -> Steps:
    """The start's own equilibrium, at prices of 1, and the chart around it.

    Raises:
        WalkFailed: a training diverged, or a model has no finite F.
    """
    config, work = state.config, state.begin(Kind.START)
    point = Point(lam=state.start.lam, gamma=state.start.gamma)
    first = yield from first_training(config, work, point, state.weights)
    replicas = stencil(config, point, first.model, {})
    models, preconditioner, F_end = yield from equilibrated_around(work, first, replicas)
    centre = work.measured((yield measure_request(work, replicas[:1], models[:1], "settle"))).readings[0]
    chart = yield from charted(config, work, replicas, models, preconditioner)
    require_finite(centre.F, *chart.response.C_gamma.ravel().tolist(), *chart.response.C_lam.tolist())
    observed = Observed(
        response_age=0,
        C_settle_target=centre.C,
        first_updates=max((reading.update for reading in first.readings), default=None),
        F_start=probe_ends(first.readings).F_start,
        F_end=F_end,
    )
    started, limits = Started(chart=chart, centre=centre, observed=observed), limits_of(config, centre)
    sets = most_sets(limits, centre)
    tested = yield from read_start(config, work, point, started, sets=sets, splits=state.judged)
    usual = usual_sets(limits, tested.held, sets)
    settled = yield from settle_targets(config, work, point, started, usual=usual, most=sets)
    carried = Carried(
        tangents=chart.tangents,
        preconditioner=chart.preconditioner,
        start=remembered([limit.held for limit in limits], tested.held, settled),
        slopes=stored_response(chart.response),
    )
    judgement = Judgement(accepted=True, reason=None, next_length=config.asked.step_length)
    return state.left_behind(work, point, Outcome.OK, judgement, tested.observed, weights=tested.state, carried=carried)


def next_step(state: WalkState) -> Steps:
    """A step of lam, or the stop that there is instead of it.

    Raises:
        WalkFailed: it was rejected down to the shortest one, or the tolerance is below what the draws can tell.
    """
    config, here, process, held = state.config, state.here, state.process, held_by(state)
    if len(state.accepted) == 1 and at_chance(reading_in(state.first)):
        return state.stop(here, "at_chance", Outcome.OK, _told(state))
    require_attainable(config, held.limits, held.reading, held.most)
    length = state.rows[-1].next_step_length or config.asked.step_length
    lam_dot = math.copysign(here.lam, config.asked.lam_end - here.lam)
    try:
        rates = _rates(state, lam_dot, min(length, process.left(here)))
    except SingularResponse as singular:
        return state.stop(here, singular.stop, Outcome.SINGULAR, _told(state))
    gamma = np.array(state.last.multipliers)
    falls = rates < 0.0
    longest = float((GAMMA_FRACTION * gamma[falls] / -rates[falls]).min(initial=math.inf))
    proposal = propose(process, here, Velocity(lam=lam_dot, gamma=0.0), length=min(length, longest))
    gamma = gamma + proposal.length * rates
    if gamma_vanishes(Point(lam=here.lam, gamma=float(gamma.min())), start_gamma=state.start.gamma):
        told = dataclasses.replace(_told(state), multipliers=tuple(gamma.tolist()))
        return state.stop(proposal.point, "gamma_zero", Outcome.OK, told)
    if history.rejections(state.rows) and length < min(shortest_step(config.asked.step_length, None), process.left(here)):
        rejected = state.rows[-1]
        why = why_failed(config, rejected, held.reading, held.limits, held.misses_in(rejected))
        raise WalkFailed(f"step {state.last.step + 1}: rejected down to a step of {length:.2g}: {why}")
    return (yield from _walk(state, held, proposal, gamma, lam_dot))


def held_by(state: WalkState) -> LossesHeld:
    """What the walk holds."""
    assert state.carried.start is not None
    return LossesHeld(config=state.config, start=state.first, kept=state.carried.start)


def _rates(state: WalkState, lam_dot: float, length: float) -> np.ndarray:
    """Change of each multiplier per log lam on the next step, (k,): what the response says at first, then the mean slope of the last
    steps, of log gamma where it grows.

    Raises:
        SingularResponse: the response does not determine it.
    """
    rows = state.way.rows[-SPAN - 1 :]
    last = np.array(rows[-1].multipliers)
    if len(rows) == 1:
        assert state.carried.slopes is not None
        return velocity(last, response_in(state.carried.slopes), lam_dot=lam_dot)
    first, gone = np.array(rows[0].multipliers), sum(row.step_length or 0.0 for row in rows[1:])
    growing = last * np.expm1(np.log(last / first) * length / gone) / length
    return np.where(last > first, growing, (last - first) / gone)


def _walk(state: WalkState, held: LossesHeld, proposal: Proposal, gamma: np.ndarray, lam_dot: float) -> Steps:
    """Train, settle and judge a model at the proposed point, from multipliers `gamma` (k,)."""
    config, work, last = state.config, state.begin(Kind.STEP), state.last
    weights, previous, before = state.model, state.carried.previous, last.step_length
    if config.asked.predictor and previous and before:
        weights = ahead(weights, previous, proposal.length / before)
    assert state.carried.slopes is not None
    chart = LossesChart(
        weights=priced(weights, gamma / proposal.point.gamma),
        tangents=state.carried.tangents,
        response=response_in(state.carried.slopes),
        response_age=last.response_age or 0,
        preconditioner=state.preconditioner,
        rate=history.rate(state.rows),
    )
    refresh = history.rejections(state.rows) > 0 or chart.response_age + 1 >= config.asked.refresh
    chart, taken_up = yield from with_uptake(work, proposal.point, last, chart)
    observed = dataclasses.replace(
        _told(state), velocity=Velocity(lam=lam_dot, gamma=0.0), step_length=proposal.length, taken_up=taken_up
    )
    sets = draws_after(state, usual=held.usual, most=held.most, misses=held.misses_in)
    found = yield from take_step(
        config, work, proposal.point, chart, held, sets=sets, refresh=refresh, splits=state.judged, observed=observed
    )
    return _left_behind(state, work, held, proposal, found)


def _left_behind(state: WalkState, work: Work, held: LossesHeld, proposal: Proposal, found: Arrived) -> Commit:
    train, chart = found.train, found.chart
    judgement = judge(
        outcome=found.outcome,
        misses=held.misses(train) if train is not None else (),
        shift_used=found.used,
        length=proposal.length,
        longest=state.config.asked.step_length,
        growth=state.process.growth,
    )
    if train is None or chart is None:
        return state.left_behind(work, proposal.point, found.outcome, judgement, found.observed)
    drifts, worst = held.drifts(train), worst_of(held.misses(train))
    observed = dataclasses.replace(
        found.observed,
        drift_se=state.holding.drift_se(train),
        held_drift=worst.value,
        held_drift_se=worst.error,
        loss_drifts=tuple(drifts.value.tolist()),
        loss_drift_ses=tuple(drifts.error.tolist()),
        excess=excess(state.accepted, train),
        first_law_residual=first_law_residual(reading_in(state.last), train),
    )
    carried = Carried(
        tangents=chart.tangents,
        previous=state.model,
        preconditioner=chart.preconditioner,
        start=state.carried.start,
        slopes=stored_response(chart.response),
    )
    return state.left_behind(work, proposal.point, found.outcome, judgement, observed, weights=found.state, carried=carried)


def _told(state: WalkState) -> Observed:
    """What every row has from the one before."""
    last = state.last
    return Observed(held_on=last.held_on, C_target=last.C_target, C_settle_target=last.C_settle_target)
