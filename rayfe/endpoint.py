"""The far end of a geodesic: a model of the target alone that has the start's C, which gives the slope k (30)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from rayfe.config import RunConfig
from rayfe.records import (
    Annealing,
    Answer,
    EquilibrateRequest,
    MeasureRequest,
    Outcome,
    Point,
    Reading,
    Replica,
    Request,
    SettleRequest,
    Split,
    Weights,
)
from rayfe.rows import Work
from rayfe.surface.process import LOSS
from rayfe.surface.response import response_of
from rayfe.surface.stencil import neighbours
from rayfe.trajectory import WalkFailed
from rayfe.weights import along, slope

ROUNDS = 12
"""Equilibrations in which gamma may move until the target's C is the start's."""
LARGEST_FACTOR = 1.5
"""By which one round may change gamma."""


class NoEndpoint(WalkFailed):
    """No gamma was found at which a model of the target alone has the start's C."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Slope of the line, and the point of the target on it; None where k was given."""

    k: float | None
    gamma: float | None = None
    R: float | None = None
    D: float | None = None


def find_endpoint(
    config: RunConfig, work: Work, start: Point, at_start: Reading
) -> Generator[Request, Answer | None, Endpoint]:
    """Train on the target at the start's multipliers, then move gamma until C is the start's.

    Every round equilibrates a model and its gamma neighbours and settles within their chart; a root outside the
    chart moves the stencil there by a Newton step.

    Raises:
        NoEndpoint: the training diverged, or C did not arrive within ROUNDS.
    """
    key, C0 = work.key, at_start.C
    epochs = config.equilibration.first_epochs
    point = Point(lam=start.lam, gamma=start.gamma, t=1.0)
    new = Replica(name="endpoint", point=point, weights=None)
    request = EquilibrateRequest(key=key, replicas=(new,), annealing=Annealing(epochs=epochs, begin=0.0, end=epochs))
    trained = work.equilibrated((yield request))
    if trained.outcome is not Outcome.OK:
        raise NoEndpoint("the model of the target alone diverged; lower --equilibration.first-learning-rate, or give --k")
    weights, moments = trained.weights[0], trained.preconditioner
    tangent: Weights = {name: 0.0 * value for name, value in weights.items()}
    for _ in range(ROUNDS):
        points = neighbours(point, "iso", config.neighbours)
        replicas = tuple(
            Replica(name=name, point=at, weights=along(weights, tangent, at.gamma - point.gamma)) for name, at in points.items()
        )
        trained = work.equilibrated((yield EquilibrateRequest(key=key, replicas=replicas, preconditioner=moments)))
        if trained.outcome is not Outcome.OK:
            break
        weights, moments = trained.weights[0], trained.preconditioner
        replicas = tuple(
            Replica(name=replica.name, point=replica.point, weights=now)
            for replica, now in zip(replicas, trained.weights, strict=True)
        )
        read = work.measured((yield MeasureRequest(key=key, replicas=replicas, splits=(Split.TRAIN,), purpose="settle")))
        readings = {reading.replica: reading for reading in read.readings}
        C_gamma, reach = response_of(readings).C_gamma, config.neighbours.gamma_delta * point.gamma
        width = points["gamma+"].gamma - points["gamma-"].gamma
        tangent = slope(trained.weights[1], trained.weights[2], width)
        settle = SettleRequest(
            key=key,
            weights=weights,
            tangents={"gamma": tangent},
            point=point,
            held=(LOSS,),
            targets=(C0,),
            scales=(C0,),
            jacobian=((C_gamma,),),
            reach={"gamma": reach},
        )
        settled = work.settled((yield settle))
        shift = settled.shift["gamma"]
        if abs(settled.after.C / C0 - 1.0) <= config.tolerance:
            at = Point(lam=point.lam, gamma=point.gamma + shift, t=1.0)
            replica = Replica(name="endpoint", point=at, weights=settled.weights)
            tested = work.measured((yield MeasureRequest(key=key, replicas=(replica,), splits=(Split.TRAIN,), purpose="test")))
            return _endpoint(at, at_start, tested.readings[0])
        wanted = point.gamma + shift + (C0 - settled.after.C) / C_gamma if C_gamma < 0 else LARGEST_FACTOR * point.gamma
        gamma = min(max(wanted, point.gamma / LARGEST_FACTOR), point.gamma * LARGEST_FACTOR)
        weights = along(weights, tangent, gamma - point.gamma)
        point = Point(lam=point.lam, gamma=gamma, t=1.0)
    raise NoEndpoint(f"a model of the target alone does not reach C = {C0:.4g} near gamma {point.gamma:.4g}; give --k")


def _endpoint(at: Point, start: Reading, end: Reading) -> Endpoint:
    if abs(end.R - start.R) < 1e-9 * abs(start.R):
        raise NoEndpoint("source and target have the same rate, so the line has no slope; give --k")
    return Endpoint(k=(end.D - start.D) / (end.R - start.R), gamma=at.gamma, R=end.R, D=end.D)
