"""Bringing a model to a wanted loss C at fixed lam, however far gamma has to move: rounds of stencil and settle."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

from rayfe.config import RunConfig
from rayfe.records import (
    Answer,
    EquilibrateRequest,
    Outcome,
    Point,
    Replica,
    Request,
    Response,
    SettleRequest,
    Weights,
)
from rayfe.rows import Work, held_readings
from rayfe.surface.process import LOSS
from rayfe.surface.response import response_of
from rayfe.surface.stencil import centre_only, neighbours
from rayfe.surface.stepper import relative_tolerance
from rayfe.trajectory.step import measure_request
from rayfe.weights import along, slope

LARGEST_FACTOR = 1.5
"""By which one round may change gamma."""
STALE = 0.5
"""Distance in log gamma from where its stencil was trained beyond which a chart is measured anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrived:
    """A model at `point` whose measured C is the wanted one, with what a walk goes on from."""

    point: Point
    weights: Weights
    tangent: Weights
    preconditioner: Weights | None
    response: Response


def arrive(
    config: RunConfig, work: Work, point: Point, weights: Weights, preconditioner: Weights | None, *, C: float, rounds: int
) -> Generator[Request, Answer | None, Arrived | None]:
    """Move gamma until C, measured on the draws of settles, is the wanted one; None if it is not within `rounds`.

    Every round equilibrates the model and settles within the chart of its gamma neighbours, which are trained, too, in the
    first round and where gamma has gone far since; where C lies outside the chart, the next round is a Newton step further.
    """
    key = work.key
    tangent: Weights = {}
    charted: float | None = None
    for index in range(rounds):
        stencil = charted is None or abs(math.log(point.gamma / charted)) > STALE
        points = neighbours(point, "iso", config.neighbours) if stencil else centre_only(point)
        replicas = tuple(
            Replica(name=name, point=at, weights=along(weights, tangent, at.gamma - point.gamma)) for name, at in points.items()
        )
        request = EquilibrateRequest(key=key, replicas=replicas, preconditioner=preconditioner, round=index)
        trained = work.equilibrated((yield request))
        if trained.outcome is not Outcome.OK:
            return None
        weights, preconditioner = trained.weights[0], trained.preconditioner
        if stencil:
            tangent = slope(trained.weights[1], trained.weights[2], points["gamma+"].gamma - points["gamma-"].gamma)
            measure = measure_request(work, replicas, trained.weights, "settle", splits=config.steering)
            response, charted = response_of(held_readings(work.measured((yield measure)).readings)), point.gamma
        settle = SettleRequest(
            key=key,
            weights=weights,
            tangents={"gamma": tangent},
            point=point,
            held=(LOSS,),
            targets=(C,),
            scales=(C,),
            jacobian=((response.C_gamma,),),
            reach={"gamma": config.neighbours.reach * config.neighbours.gamma_delta * point.gamma},
            split=config.held_on,
        )
        settled = work.settled((yield settle))
        at = Point(lam=point.lam, gamma=point.gamma + settled.shift["gamma"], t=point.t)
        if abs(settled.after.C / C - 1.0) <= 0.5 * relative_tolerance(config.tolerance, config.tolerance_floor, C):
            return Arrived(point=at, weights=settled.weights, tangent=tangent, preconditioner=preconditioner, response=response)
        wanted = at.gamma + (C - settled.after.C) / response.C_gamma if response.C_gamma < 0 else LARGEST_FACTOR * at.gamma
        gamma = min(max(wanted, point.gamma / LARGEST_FACTOR), point.gamma * LARGEST_FACTOR)
        weights = along(weights, tangent, gamma - point.gamma)
        point = Point(lam=point.lam, gamma=gamma, t=point.t)
    return None
