"""Bringing a model to a wanted loss C at fixed lam, however far gamma has to move: rounds of stencil and settle."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Generator
from dataclasses import dataclass

from rayfe.config import RunConfig
from rayfe.records import (
    Annealing,
    Answer,
    EquilibrateRequest,
    Outcome,
    Point,
    Replica,
    Request,
    Response,
    Settled,
    Weights,
)
from rayfe.records.columns import held_readings
from rayfe.records.weights import along, slope
from rayfe.records.work import Work
from rayfe.surface.response import response_of
from rayfe.surface.stencil import neighbours
from rayfe.trajectory.chart import settle_loss
from rayfe.trajectory.measuring import read_stencil

LARGEST_FACTOR = 1.5
"""By which one round may change gamma."""
STALE = 0.5
"""Distance in log gamma from where its stencil was trained beyond which a chart is measured anew."""
ARRIVED = 0.25
"""Part of what C may be off by at which it has arrived: the draws of settles and of those that judge need the rest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedLoss:
    """The loss that a model is brought to, as settles read it."""

    C: float
    """By the first set of their draws, nats."""
    allowed: float
    """By how much it may be off, nats."""
    last: float | None = None
    """By the `draw_sets` of the last settle, nats; None: there is no other than those by one set."""
    draw_sets: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Charted:
    """A model at `point` with the tangent and response of its gamma neighbours, which were trained at `charted`."""

    point: Point
    weights: Weights
    tangent: Weights
    preconditioner: Weights | None
    response: Response
    charted: float


def arrive(
    config: RunConfig,
    work: Work,
    point: Point,
    weights: Weights,
    preconditioner: Weights | None,
    *,
    wanted: WantedLoss,
    rounds: int,
) -> Generator[Request, Answer | None, Charted | None]:
    """Equilibrate a model and move gamma until C, measured on the draws of settles, is the wanted one; None if it is not
    within `rounds`."""
    chart = yield from train_charted(config, work, point, weights, preconditioner)
    return None if chart is None else (yield from settle_on(config, work, chart, wanted=wanted, rounds=rounds))


def settle_on(
    config: RunConfig, work: Work, chart: Charted, *, wanted: WantedLoss, rounds: int
) -> Generator[Request, Answer | None, Charted | None]:
    """Settle within the chart; where C lies outside it, equilibrate a Newton step further on and settle again, `rounds`
    settles at most. Neighbours are trained anew where gamma has gone far since they were. Where C has arrived, it is settled once
    more with the draws of the last settle."""
    for index in range(rounds):
        if index > 0:
            trained = yield from equilibrated(config, work, chart, round=index)
            if trained is None:
                return None
            chart = trained
        settled = yield from _settled(config, work, chart, wanted, C=wanted.C)
        here, at = chart.point.gamma, chart.point.gamma + settled.shift["gamma"]
        if abs(settled.after.C - wanted.C) <= ARRIVED * wanted.allowed:
            arrived = dataclasses.replace(chart, point=dataclasses.replace(chart.point, gamma=at), weights=settled.weights)
            return arrived if wanted.last is None else (yield from _settled_last(config, work, arrived, wanted))
        steepness = chart.response.C_gamma
        there = at + (wanted.C - settled.after.C) / steepness if steepness < 0 else LARGEST_FACTOR * at
        gamma = min(max(there, here / LARGEST_FACTOR), here * LARGEST_FACTOR)
        weights = along(chart.weights, chart.tangent, gamma - here)
        chart = dataclasses.replace(chart, point=dataclasses.replace(chart.point, gamma=gamma), weights=weights)
    return None


def _settled(
    config: RunConfig, work: Work, chart: Charted, wanted: WantedLoss, *, C: float, draw_sets: int = 1
) -> Generator[Request, Answer | None, Settled]:
    """What a settle of the chart's model finds within the chart's reach."""
    settle = settle_loss(
        work.key,
        chart.weights,
        chart.tangent,
        chart.point,
        chart.response,
        C=C,
        allowed=wanted.allowed,
        reach=config.neighbours.reach * config.neighbours.gamma_delta * chart.point.gamma,
        split=config.held_on,
        draw_sets=draw_sets,
    )
    return work.settled((yield settle))


def _settled_last(
    config: RunConfig, work: Work, arrived: Charted, wanted: WantedLoss
) -> Generator[Request, Answer | None, Charted]:
    """The model that arrived, settled with the draws of the last settle."""
    assert wanted.last is not None
    settled = yield from _settled(config, work, arrived, wanted, C=wanted.last, draw_sets=wanted.draw_sets)
    gamma = arrived.point.gamma + settled.shift["gamma"]
    return dataclasses.replace(arrived, point=dataclasses.replace(arrived.point, gamma=gamma), weights=settled.weights)


def train_charted(
    config: RunConfig,
    work: Work,
    point: Point,
    weights: Weights,
    preconditioner: Weights | None,
    *,
    tangent: Weights | None = None,
    annealing: Annealing | None = None,
    round: int = 0,
) -> Generator[Request, Answer | None, Charted | None]:
    """Train a model together with its gamma neighbours, which begin along `tangent`; None if that diverges."""
    points = neighbours(point, "iso", config.neighbours)
    replicas = tuple(
        Replica(name=name, point=at, weights=along(weights, tangent or {}, at.gamma - point.gamma))
        for name, at in points.items()
    )
    request = EquilibrateRequest(
        key=work.key, replicas=replicas, preconditioner=preconditioner, annealing=annealing, round=round
    )
    trained = work.equilibrated((yield request))
    if trained.outcome is not Outcome.OK:
        return None
    read = yield from read_stencil(config, work, replicas, trained.weights, centre=False)
    width = points["gamma+"].gamma - points["gamma-"].gamma
    return Charted(
        point=point,
        weights=trained.weights[0],
        tangent=slope(trained.weights[1], trained.weights[2], width),
        preconditioner=trained.preconditioner,
        response=response_of(held_readings(read)),
        charted=point.gamma,
    )


def equilibrated(
    config: RunConfig, work: Work, chart: Charted, *, round: int
) -> Generator[Request, Answer | None, Charted | None]:
    """The chart's model equilibrated where it is now; None if that diverges."""
    point, weights, left = chart.point, chart.weights, chart.preconditioner
    if abs(math.log(point.gamma / chart.charted)) > STALE:
        return (yield from train_charted(config, work, point, weights, left, tangent=chart.tangent, round=round))
    replica = Replica(name="centre", point=point, weights=weights)
    request = EquilibrateRequest(key=work.key, replicas=(replica,), preconditioner=left, round=round)
    trained = work.equilibrated((yield request))
    if trained.outcome is not Outcome.OK:
        return None
    return dataclasses.replace(chart, weights=trained.weights[0], preconditioner=trained.preconditioner)
