"""The far end of a geodesic: a model of the target alone that has the start's C, which gives the slope k (30)."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator

from rayfe.config import RunConfig
from rayfe.exceptions import WalkFailed
from rayfe.records import Annealing, Answer, EquilibrateRequest, Outcome, Point, Reading, Replica, Request
from rayfe.records.work import Work
from rayfe.surface.data_processes import line_length
from rayfe.trajectory.line import NO_LINE, GeodesicLine, line_between
from rayfe.trajectory.measuring import measure_request
from rayfe.trajectory.target_loss import Charted, WantedLoss, arrive, equilibrated, settle_on

ROUNDS = 12
"""Equilibrations in which gamma may move until the target's C is the start's."""


def find_line(
    config: RunConfig, work: Work, start: Point, at_start: Reading, *, allowed: float
) -> Generator[Request, Answer | None, GeodesicLine]:
    """Train on the target at the start's multipliers, move gamma until C is the start's, and once more after training on.

    `at_start` is the start's reading with the draws of settles; C may be off by `allowed` nats. The line has no slope where no end was
    found within ROUNDS, or where training on moves the end too much; `line.require_line` says so.

    Raises:
        WalkFailed: the training diverged.
    """
    epochs = config.equilibration.first_epochs
    new = Replica(name="endpoint", point=dataclasses.replace(start, t=1.0), weights=None)
    request = EquilibrateRequest(key=work.key, replicas=(new,), annealing=Annealing(epochs=epochs, begin=0.0, end=epochs))
    trained = work.equilibrated((yield request))
    if trained.outcome is not Outcome.OK:
        raise WalkFailed("the model of the target alone diverged; lower ``equilibration.first_learning_rate``, or give ``k``")
    wanted = WantedLoss(C=at_start.C, allowed=allowed)
    weights, left = trained.weights[0], trained.preconditioner
    arrived = yield from arrive(config, work, new.point, weights, left, wanted=wanted, rounds=ROUNDS)
    if arrived is None:
        return NO_LINE
    before = yield from _read(work, arrived)
    further = yield from equilibrated(config, work, arrived, round=ROUNDS)
    arrived = None if further is None else (yield from settle_on(config, work, further, wanted=wanted, rounds=ROUNDS))
    if arrived is None:
        return NO_LINE
    end = yield from _read(work, arrived)
    moved = line_length(start.lam, end.R - before.R, end.D - before.D)
    return line_between(at_start, end, gamma=arrived.point.gamma, moved=moved)


def _read(work: Work, arrived: Charted) -> Generator[Request, Answer | None, Reading]:
    """The model with the draws of settles, as the start was read."""
    replica = Replica(name="endpoint", point=arrived.point, weights=arrived.weights)
    measure = measure_request(work, (replica,), (arrived.weights,), "settle")
    return work.measured((yield measure), again=True).readings[0]
