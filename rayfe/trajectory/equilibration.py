"""One equilibration of a step: a model as the training finds it, the training, and how it ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeVar

from rayfe.config import RunConfig
from rayfe.records import (
    Answer,
    Differentiated,
    DifferentiateRequest,
    Equilibrated,
    EquilibrateRequest,
    Outcome,
    Point,
    Replica,
    Request,
    Response,
    StepRecord,
    TakeUpRequest,
    Weights,
)
from rayfe.records.columns import Observed, number, probe_ends
from rayfe.records.work import Work
from rayfe.surface.stencil import centre_only, neighbours
from rayfe.surface.water_filling import is_worth_it, uptake
from rayfe.trajectory.chart import (
    Tangents,
    moved,
)

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
class LocalChart(Trainee):
    """A model and what is known of the surface around it."""

    response: Response
    response_age: int
    """Accepted steps since the response and the tangents were measured."""


AnyTrainee = TypeVar("AnyTrainee", bound=Trainee)


def trained_at(
    config: RunConfig, work: Work, point: Point, start: Trainee, *, refresh: bool = False, move: int = 0
) -> Generator[Request, Answer | None, tuple[Equilibrated, tuple[Replica, ...]]]:
    """Train a model at `point`, with `refresh` its neighbours, too. After a `move` batches and noise are others."""
    stencil = refresh and config.asked.derivatives == "stencil"
    points = neighbours(point, config.asked.stencil, config.neighbours) if stencil else centre_only(point)
    replicas = tuple(
        Replica(name=name, point=at, weights=moved(start.weights, start.tangents, point, at)) for name, at in points.items()
    )
    request = EquilibrateRequest(
        key=work.key, replicas=replicas, preconditioner=start.preconditioner, round=ROUNDS * move, rate=start.rate
    )
    return work.equilibrated((yield request)), replicas


def with_uptake(
    work: Work, point: Point, row: StepRecord, start: AnyTrainee
) -> Generator[Request, Answer | None, tuple[AnyTrainee, int | None]]:
    """The model with the dimensions of z that took something up, and how many these are; None: its `row` saw no need at the
    lam of `point`, where the next training is."""
    if row.missed is None or row.R_dims is None:
        return start, None
    size = number(row.R) + row.lam * abs(number(row.D)) + row.gamma * abs(number(row.C))
    if not is_worth_it(uptake(min(row.R_dims), row.missed, point.lam), size):
        return start, None
    taken = work.taken_up((yield TakeUpRequest(key=work.key, point=point, weights=start.weights)))
    return dataclasses.replace(start, weights=taken.weights), len(taken.dims)


def differentiated(work: Work, point: Point, weights: Weights) -> Generator[Request, Answer | None, Differentiated]:
    """Exact derivatives at a model."""
    return work.differentiated((yield DifferentiateRequest(key=work.key, point=point, weights=weights)))


def with_derivatives(observed: Observed, exact: Differentiated) -> Observed:
    """And how far from equilibrium a model is, by its exact derivatives."""
    return dataclasses.replace(observed, decrement=exact.decrement, C_lag=exact.C_lag, solve_residual=exact.residual)


def with_ends(observed: Observed, trained: Equilibrated) -> Observed:
    """And J on the probe before and after a training."""
    ends = probe_ends(trained.readings)
    return dataclasses.replace(observed, F_start=ends.F_start, F_end=ends.F_end)


def outcome_of(trained: Equilibrated, observed: Observed) -> Outcome:
    """How a training ended: OK only if J did not rise by more than RISE of itself."""
    F_start, F_end = observed.F_start, observed.F_end
    if trained.outcome is not Outcome.OK or F_start is None or F_end is None:
        return trained.outcome
    if F_end > F_start + RISE * trained.readings[0].F_size:
        return Outcome.NOT_EQUILIBRATED
    return trained.outcome
