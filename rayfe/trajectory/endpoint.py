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
    Split,
)
from rayfe.rows import Work
from rayfe.trajectory.arrival import arrive
from rayfe.trajectory.base import WalkFailed

ROUNDS = 12
"""Equilibrations in which gamma may move until the target's C is the start's."""


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

    Raises:
        NoEndpoint: the training diverged, C did not arrive within ROUNDS, or source and target have the same rate.
    """
    epochs = config.equilibration.first_epochs
    new = Replica(name="endpoint", point=Point(lam=start.lam, gamma=start.gamma, t=1.0), weights=None)
    request = EquilibrateRequest(key=work.key, replicas=(new,), annealing=Annealing(epochs=epochs, begin=0.0, end=epochs))
    trained = work.equilibrated((yield request))
    if trained.outcome is not Outcome.OK:
        raise NoEndpoint("the model of the target alone diverged; lower --equilibration.first-learning-rate, or give --k")
    arrived = yield from arrive(
        config, work, new.point, trained.weights[0], trained.preconditioner, C=at_start.C, rounds=ROUNDS
    )
    if arrived is None:
        raise NoEndpoint(f"a model of the target alone does not reach C = {at_start.C:.4g} within {ROUNDS} rounds; give --k")
    replica = Replica(name="endpoint", point=arrived.point, weights=arrived.weights)
    measure = MeasureRequest(key=work.key, replicas=(replica,), splits=(Split.TRAIN,), purpose="test")
    end = work.measured((yield measure)).readings[0]
    if abs(end.R - at_start.R) < 1e-9 * abs(at_start.R):
        raise NoEndpoint("source and target have the same rate, so the line has no slope; give --k")
    k = (end.D - at_start.D) / (end.R - at_start.R)
    return Endpoint(k=k, gamma=arrived.point.gamma, R=end.R, D=end.D)
