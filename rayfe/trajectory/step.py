"""One quasi-static step: train at the next point, settle what is held, read the model with draws that saw neither."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Generator
from dataclasses import dataclass

from rayfe.config import RunConfig
from rayfe.records import (
    Answer,
    Differentiated,
    Equilibrated,
    Outcome,
    Point,
    Reading,
    Replica,
    Request,
    Settled,
    Split,
    Weights,
)
from rayfe.records.columns import Observed, held_readings
from rayfe.records.work import Work
from rayfe.surface.response import chart_defect, response_of
from rayfe.surface.step_control import moved_on
from rayfe.trajectory.chart import (
    Aims,
    Goal,
    moved,
    newton_step,
    settle_request,
    tangents_of,
)
from rayfe.trajectory.draws import Sets
from rayfe.trajectory.equilibration import LocalChart, differentiated, outcome_of, trained_at, with_derivatives, with_ends
from rayfe.trajectory.measuring import by_name, judging, read_stencil


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """What a step arrived at, before anybody judges it."""

    outcome: Outcome
    point: Point
    observed: Observed
    chart: LocalChart | None = None
    """None: it did not equilibrate."""
    train: Reading | None = None
    held: Reading | None = None
    """The same with C of the split on which it is held."""
    state: Weights | None = None
    """The weights that were read, with the batch-norm statistics of that reading."""
    used: float = 0.0
    """Part of the chart's reach that the settle used, in [0, 1]."""


def take_step(
    config: RunConfig,
    work: Work,
    point: Point,
    start: LocalChart,
    goal: Goal,
    *,
    sets: Sets,
    refresh: bool,
    moves: int,
    splits: tuple[Split, ...],
    observed: Observed,
) -> Generator[Request, Answer | None, Candidate]:
    """Train the model of `start` at `point` and settle the `goal` there; with `refresh` a stencil is trained, too.

    Where the goal lies outside the chart, the settled model is moved on, `moves` times at most: a Newton step from the
    chart's bound, and trained there. The last of these moves has a stencil unless the chart is a fresh one. Settles and the last
    reading have so many `sets` of draws, stencils one: they steer. `observed` is what is known before the step; what it finds is added.
    """
    aims = goal.aims(sets)
    chart = dataclasses.replace(start, response_age=start.response_age + 1)
    for move in range(moves + 1):
        stencil = (refresh and move == 0) or (0 < move == moves and chart.response_age > 0)
        found = yield from _one_move(config, work, point, chart, aims, stencil=stencil, move=move, observed=observed)
        if found.outcome is not Outcome.OK:
            return Candidate(outcome=found.outcome, point=point, observed=found.observed)
        chart, settled = found.chart, found.settled
        if settled is None or found.used < 1.0 or move == moves or aims.are_met(settled.after):
            break
        point = moved_on(point, found.at, newton_step(aims, found.at, settled.after, chart.response))
        chart = dataclasses.replace(chart, weights=moved(chart.weights, chart.tangents, found.at, point))
    return (yield from _read(work, found, goal, sets=sets, splits=splits, with_lam="lam" in aims.process.moved_by))


def _read(
    work: Work, found: _Move, goal: Goal, *, sets: Sets, splits: tuple[Split, ...], with_lam: bool
) -> Generator[Request, Answer | None, Candidate]:
    """The model of the last move, read by the draws that judge; `with_lam`: settles move lam, too, where a chart has no defect."""
    chart, point = found.chart, found.at
    replica = Replica(name="settled", point=point, weights=chart.weights)
    tested, sets = yield from judging(work, replica, splits, goal, sets)
    train, held = tested.readings[0], held_readings(tested.readings)["settled"]
    if not all(map(math.isfinite, (train.F, held.C))):
        return Candidate(outcome=Outcome.NONFINITE, point=point, observed=found.observed)
    observed = dataclasses.replace(
        found.observed,
        tested=tested.readings,
        draw_sets=sets.head,
        decoder_sets=sets.decoder,
        response=chart.response,
        response_age=chart.response_age,
        chart_defect=chart_defect(found.centre, train) if found.centre and not with_lam else None,
    )
    return Candidate(
        outcome=Outcome.OK,
        point=point,
        observed=observed,
        chart=chart,
        train=train,
        held=held,
        state=tested.weights[0],
        used=found.used,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Move:
    """A model that was trained and settled once."""

    outcome: Outcome
    observed: Observed
    chart: LocalChart
    at: Point
    """Where the settle ended."""
    centre: Reading | None = None
    """The stencil's centre; None: there was no stencil, or derivatives were exact."""
    settled: Settled | None = None
    """None: nothing is settled."""
    used: float = 0.0
    """Part of the chart's reach that the settle used, in [0, 1]."""


def _one_move(
    config: RunConfig,
    work: Work,
    point: Point,
    chart: LocalChart,
    aims: Aims,
    *,
    stencil: bool,
    move: int,
    observed: Observed,
) -> Generator[Request, Answer | None, _Move]:
    """Train the chart's model at `point` and settle it within the chart, which is measured anew with a `stencil`."""
    trained, replicas = yield from trained_at(config, work, point, chart, refresh=stencil, move=move)
    observed, centre = with_ends(observed, trained), None
    outcome = outcome_of(trained, observed)
    if outcome is not Outcome.OK:
        return _Move(outcome=outcome, observed=observed, chart=chart, at=point)
    chart = dataclasses.replace(chart, weights=trained.weights[0], preconditioner=trained.preconditioner)
    if stencil:
        chart, centre, exact = yield from _charted(config, work, point, chart, aims, replicas, trained)
        observed = observed if exact is None else with_derivatives(observed, exact)
        if not all(map(math.isfinite, (chart.response.C_gamma, chart.response.C_lam))):
            return _Move(outcome=Outcome.NONFINITE, observed=observed, chart=chart, at=point)
    if not config.asked.settle:
        return _Move(outcome=outcome, observed=observed, chart=chart, at=point, centre=centre)
    settled, at, used = yield from _settled(config, work, point, chart, aims)
    shift = settled.shift
    observed = dataclasses.replace(
        observed, C_before_settle=settled.before.C, settle_shift=shift["gamma"], settle_shift_lam=shift.get("lam")
    )
    chart = dataclasses.replace(chart, weights=settled.weights)
    return _Move(outcome=outcome, observed=observed, chart=chart, at=at, centre=centre, settled=settled, used=used)


def _settled(
    config: RunConfig, work: Work, point: Point, chart: LocalChart, aims: Aims
) -> Generator[Request, Answer | None, tuple[Settled, Point, float]]:
    """What the settle of the chart's model found, where that is, and the part of the chart's reach that it took."""
    request = settle_request(config, work.key, aims, chart.weights, chart.tangents, point, chart.response)
    settled = work.settled((yield request))
    shift = settled.shift
    at = dataclasses.replace(point, lam=point.lam + shift.get("lam", 0.0), gamma=point.gamma + shift["gamma"])
    return settled, at, max(abs(amount) / request.reach[multiplier] for multiplier, amount in shift.items())


def _charted(
    config: RunConfig,
    work: Work,
    point: Point,
    chart: LocalChart,
    aims: Aims,
    replicas: tuple[Replica, ...],
    trained: Equilibrated,
) -> Generator[Request, Answer | None, tuple[LocalChart, Reading | None, Differentiated | None]]:
    """The chart with response and tangents measured at its model; the centre's reading, or the exact derivatives."""
    moved_by = aims.process.moved_by
    if config.asked.derivatives == "implicit":
        exact = yield from differentiated(work, point, chart.weights)
        exactly = {multiplier: exact.tangents[multiplier] for multiplier in moved_by}
        return dataclasses.replace(chart, response=exact.response, response_age=0, tangents=exactly), None, exact
    read = yield from read_stencil(config, work, replicas, trained.weights)
    response, tangents = response_of(held_readings(read)), tangents_of(moved_by, replicas, trained.weights)
    return dataclasses.replace(chart, response=response, response_age=0, tangents=tangents), by_name(read)["centre"], None
