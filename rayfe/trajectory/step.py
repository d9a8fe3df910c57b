"""One quasi-static step: train at the next point, settle what is held, read the model with draws that saw neither."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rayfe.config import RunConfig
from rayfe.records import (
    Answer,
    Differentiated,
    DifferentiateRequest,
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
    Split,
    StepRecord,
    TakeUpRequest,
    Weights,
)
from rayfe.records.columns import Work, held_readings, number, probe_ends
from rayfe.surface.response import chart_defect, response_of
from rayfe.surface.stencil import centre_only, neighbours
from rayfe.surface.step_control import moved_on
from rayfe.surface.water_filling import is_worth_it, uptake
from rayfe.trajectory.chart import (
    Aims,
    Goal,
    Tangents,
    moved,
    newton_step,
    settle_request,
    tangents_from,
    tangents_of,
)
from rayfe.trajectory.draws import Sets, columns_of, is_fine

ROUNDS = 4
"""Numbers of rounds, by which batches and noise are told apart, between one move and the next."""
RISE = 0.02
"""J may rise by this fraction of itself during an equilibration; more means that it did not equilibrate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trainee:
    """A model as a training finds it."""

    weights: Weights
    preconditioner: Weights | None
    rate: float = 1.0
    """Part of the learning rate with which the training starts."""
    tangents: Tangents = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart(Trainee):
    """A model and what is known of the surface around it."""

    response: Response
    response_age: int
    """Accepted steps since the response and the tangents were measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """What a step arrived at, before anybody judges it."""

    outcome: Outcome
    point: Point
    columns: dict[str, Any]
    """Columns of its row, as far as they do not depend on the trajectory."""
    chart: Chart | None = None
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
    start: Chart,
    goal: Goal,
    *,
    sets: Sets,
    refresh: bool,
    moves: int,
    splits: tuple[Split, ...],
) -> Generator[Request, Answer | None, Candidate]:
    """Train the model of `start` at `point` and settle the `goal` there; with `refresh` a stencil is trained, too.

    Where the goal lies outside the chart, the settled model is moved on, `moves` times at most: a Newton step from the
    chart's bound, and trained there. The last of these moves has a stencil unless the chart is a fresh one. Settles and the last
    reading have so many `sets` of draws, stencils one: they steer.
    """
    aims = goal.aims(sets)
    chart = dataclasses.replace(start, response_age=start.response_age + 1)
    for move in range(moves + 1):
        stencil = (refresh and move == 0) or (0 < move == moves and chart.response_age > 0)
        trained, replicas = yield from trained_at(config, work, point, chart, refresh=stencil, move=move)
        columns: dict[str, Any] = dict(probe_ends(trained.readings))
        outcome = outcome_of(trained, columns["F_start"], columns["F_end"])
        if outcome is not Outcome.OK:
            return Candidate(outcome=outcome, point=point, columns=columns)
        chart = dataclasses.replace(chart, weights=trained.weights[0], preconditioner=trained.preconditioner)
        centre = None
        if stencil:
            chart, centre, measured = yield from _charted(config, work, point, chart, aims, replicas, trained)
            columns |= measured
            if not all(map(math.isfinite, (chart.response.C_gamma, chart.response.C_lam))):
                return Candidate(outcome=Outcome.NONFINITE, point=point, columns=columns)
        if not config.settle:
            used = 0.0
            break
        settled, at, used = yield from _settled(config, work, point, chart, aims)
        columns |= {"C_before_settle": settled.before.C, "settle_shift": settled.shift["gamma"]}
        columns |= {"settle_shift_lam": settled.shift.get("lam")}
        chart = dataclasses.replace(chart, weights=settled.weights)
        if used < 1.0 or move == moves or aims.are_met(settled.after):
            point = at
            break
        point = moved_on(point, at, newton_step(aims, at, settled.after, chart.response))
        chart = dataclasses.replace(chart, weights=moved(chart.weights, chart.tangents, at, point))
    replica = Replica(name="settled", point=point, weights=chart.weights)
    tested, sets = yield from judging(work, replica, splits, goal, sets)
    train, held = tested.readings[0], held_readings(tested.readings)["settled"]
    if not all(map(math.isfinite, (train.F, held.C))):
        return Candidate(outcome=Outcome.NONFINITE, point=point, columns=columns)
    columns |= {
        "tested": tested.readings,
        **columns_of(sets),
        "response": chart.response,
        "response_age": chart.response_age,
        "chart_defect": chart_defect(centre, train) if centre and "lam" not in aims.process.moved_by else None,
    }
    state = tested.weights[0]
    return Candidate(outcome=outcome, point=point, columns=columns, chart=chart, train=train, held=held, state=state, used=used)


def _settled(
    config: RunConfig, work: Work, point: Point, chart: Chart, aims: Aims
) -> Generator[Request, Answer | None, tuple[Settled, Point, float]]:
    """What the settle of the chart's model found, where that is, and the part of the chart's reach that it took."""
    request = settle_request(config, work.key, aims, chart.weights, chart.tangents, point, chart.response)
    settled = work.settled((yield request))
    shift = settled.shift
    at = Point(lam=point.lam + shift.get("lam", 0.0), gamma=point.gamma + shift["gamma"], t=point.t)
    return settled, at, max(abs(amount) / request.reach[multiplier] for multiplier, amount in shift.items())


def _charted(
    config: RunConfig,
    work: Work,
    point: Point,
    chart: Chart,
    aims: Aims,
    replicas: tuple[Replica, ...],
    trained: Equilibrated,
) -> Generator[Request, Answer | None, tuple[Chart, Reading | None, dict[str, Any]]]:
    """The chart with response and tangents measured at its model, the centre's reading, and columns of certificates."""
    moved_by = aims.process.moved_by
    if config.derivatives == "implicit":
        exact = yield from differentiated(work, point, chart.weights)
        tangents = tangents_from(exact, moved_by)
        return dataclasses.replace(chart, response=exact.response, response_age=0, tangents=tangents), None, certificate(exact)
    read = yield from read_stencil(config, work, replicas, trained.weights)
    response, tangents = response_of(held_readings(read)), tangents_of(moved_by, replicas, trained.weights)
    return dataclasses.replace(chart, response=response, response_age=0, tangents=tangents), by_name(read)["centre"], {}


def trained_at(
    config: RunConfig, work: Work, point: Point, start: Trainee, *, refresh: bool = False, move: int = 0
) -> Generator[Request, Answer | None, tuple[Equilibrated, tuple[Replica, ...]]]:
    """Train a model at `point`, with `refresh` its neighbours, too. After a `move` batches and noise are others."""
    stencil = refresh and config.derivatives == "stencil"
    points = neighbours(point, config.stencil, config.neighbours) if stencil else centre_only(point)
    replicas = tuple(
        Replica(name=name, point=at, weights=moved(start.weights, start.tangents, point, at)) for name, at in points.items()
    )
    request = EquilibrateRequest(
        key=work.key, replicas=replicas, preconditioner=start.preconditioner, round=ROUNDS * move, rate=start.rate
    )
    return work.equilibrated((yield request)), replicas


AnyTrainee = TypeVar("AnyTrainee", bound=Trainee)


def with_uptake(
    work: Work, point: Point, row: StepRecord, start: AnyTrainee
) -> Generator[Request, Answer | None, tuple[AnyTrainee, int | None]]:
    """The model with the dimensions of z that took something up, and how many these are; None: its `row` saw no need at the
    lam of `point`, where the next training is."""
    if row.missed is None or row.R_dims is None:
        return start, None
    if not is_worth_it(uptake(min(row.R_dims), row.missed, point.lam), number(row.F)):
        return start, None
    taken = work.taken_up((yield TakeUpRequest(key=work.key, point=point, weights=start.weights)))
    return dataclasses.replace(start, weights=taken.weights), len(taken.dims)


def differentiated(work: Work, point: Point, weights: Weights) -> Generator[Request, Answer | None, Differentiated]:
    """Exact derivatives at a model."""
    return work.differentiated((yield DifferentiateRequest(key=work.key, point=point, weights=weights)))


def certificate(exact: Differentiated) -> dict[str, float]:
    """Columns that say how far from equilibrium a model is."""
    return {"decrement": exact.decrement, "C_lag": exact.C_lag, "solve_residual": exact.residual}


def read_stencil(
    config: RunConfig, work: Work, replicas: Sequence[Replica], weights: Sequence[Weights], *, centre: bool = True
) -> Generator[Request, Answer | None, list[Reading]]:
    """Readings of a centre and its neighbours, from which the response comes: with `measure.response_size` neighbours are read
    on a part of the examples. Without `centre` it is left out there."""
    slope_in_t, splits = config.moves_data, config.steering
    if config.measure.response_size is None:
        request = measure_request(work, replicas, weights, "settle", splits=splits, slope_in_t=slope_in_t)
        return list(work.measured((yield request)).readings)
    read: list[Reading] = []
    if centre:
        request = measure_request(work, replicas[:1], weights[:1], "settle", splits=splits, slope_in_t=slope_in_t)
        read += work.measured((yield request)).readings
    request = measure_request(work, replicas[1:], weights[1:], "settle", splits=splits, slope_in_t=slope_in_t, part=True)
    return [*read, *work.measured((yield request)).readings]


def measure_request(
    work: Work,
    replicas: Sequence[Replica],
    weights: Sequence[Weights | None],
    purpose: str,
    *,
    splits: tuple[Split, ...] = (Split.TRAIN,),
    slope_in_t: bool = False,
    part: bool = False,
) -> MeasureRequest:
    """Read the replicas with the weights that they have now, on a `part` of the examples if that will do."""
    now = (
        Replica(name=replica.name, point=replica.point, weights=trained)
        for replica, trained in zip(replicas, weights, strict=True)
    )
    return MeasureRequest(key=work.key, replicas=tuple(now), splits=splits, purpose=purpose, slope_in_t=slope_in_t, part=part)


def judging(
    work: Work, replica: Replica, splits: tuple[Split, ...], goal: Goal, sets: Sets
) -> Generator[Request, Answer | None, tuple[Measured, Sets]]:
    """Read a step's model at last; where the errors of what is held are too large, again with twice the draws, as many as a step may
    have at most. Returns the last reading and its sets."""
    tested = work.measured((yield judging_request(work, replica, splits, sets)))
    while not is_fine(goal.misses(held_readings(tested.readings)[replica.name])) and sets != sets.doubled(goal.most):
        sets = sets.doubled(goal.most)
        tested = work.measured((yield judging_request(work, replica, splits, sets)), again=True)
    return tested, sets


def judging_request(work: Work, replica: Replica, splits: tuple[Split, ...], sets: Sets) -> MeasureRequest:
    """Read a step's model with draws that neither training nor settling saw, and its certificate."""
    return dataclasses.replace(
        measure_request(work, (replica,), (replica.weights,), "test", splits=splits),
        certify=True,
        draw_sets=sets.head,
        decoder_sets=sets.decoder,
    )


def by_name(readings: Sequence[Reading]) -> dict[str, Reading]:
    """Training readings by replica."""
    return {reading.replica: reading for reading in readings if reading.split is Split.TRAIN}


def outcome_of(trained: Equilibrated, F_start: float | None, F_end: float | None) -> Outcome:
    if trained.outcome is Outcome.OK and F_start is not None and F_end is not None and F_end > F_start + RISE * abs(F_start):
        return Outcome.NOT_EQUILIBRATED
    return trained.outcome
