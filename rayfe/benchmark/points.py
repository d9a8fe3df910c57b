"""Methods that go from one lam to the next and train at each: what they share, the settle at the end of each point."""

from __future__ import annotations

import abc
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rayfe.benchmark.settings import Settings
from rayfe.config import RunConfig, Start
from rayfe.exceptions import WalkFailed
from rayfe.records import (
    Answer,
    EquilibrateRequest,
    MeasureRequest,
    Outcome,
    Point,
    Replica,
    Request,
    Response,
    Split,
    StepRecord,
    Weights,
)
from rayfe.records.columns import Work, number, response_in
from rayfe.records.weights import along, pack, slope, unpack
from rayfe.surface.process import IsoClassification
from rayfe.surface.response import response_of
from rayfe.surface.stencil import neighbours
from rayfe.surface.step_control import Verdict
from rayfe.trajectory.base import Steps, Trajectory
from rayfe.trajectory.chart import settle_loss
from rayfe.trajectory.constraint import Holding
from rayfe.trajectory.step import measure_request, read_stencil

REACH = 0.3
"""Fraction of gamma by which the settle of a point may move it: three times the stencil, since these methods are further off."""
PROCEED = Verdict(accepted=True, reason=None, next_length=0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """A model that a method trained for one lam, before the settle."""

    point: Point
    weights: Weights
    preconditioner: Weights | None
    kept: Weights | None = None
    """What the method itself needs at the next point, as named arrays."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """The tangent dtheta/dgamma and the response that settles use, and the points since they were measured."""

    tangent: Weights
    response: Response
    age: int


Parts = Generator[Request, Answer | None, Reached]


class PointByPoint(Trajectory):
    """One accepted step per lam. Every point ends with a settle by the walk's own means: a stencil of three replicas
    every `refresh` points, whose tangent is carried in between.

    Step 0 is the common start.
    """

    follows = True
    """Whether the next point starts from the settled model; else from the model before the settle."""

    def __init__(
        self,
        config: RunConfig,
        start: Start,
        rows: Sequence[StepRecord],
        *,
        state: Weights | None,
        carry: Weights,
        settings: Settings,
    ) -> None:
        super().__init__(config, start, rows, state=state, carry=carry)
        self._settings = settings

    def _end(self, accepted: Sequence[StepRecord]) -> str | None:
        return "lam_end" if accepted[-1].step >= len(self.lams) else None

    @property
    def lams(self) -> np.ndarray:
        """The lam of steps 1, 2, ...: equal steps in log lam, as the walk's."""
        start, end = self.start.lam, self._config.asked.lam_end
        count = max(1, round(math.log(end / start) / self._config.asked.step_length))
        return np.geomspace(start, end, count + 1)[1:]

    @property
    def C0(self) -> float:
        """The loss to be held, on the draws of settles."""
        return number(self.accepted[0].C_settle_target)

    def attempt(self) -> Steps:
        assert self.accepted, "the common start comes first"
        last = self.accepted[-1]
        work = Work(self._key(last.step + 1))
        path = unpack(self._carry, "path") or self._state
        assert path is not None
        gamma = last.gamma if self.follows else self.start.gamma
        lam = float(self.lams[last.step])
        moments = unpack(self._carry, "preconditioner") or None
        reached = yield from self._reach(work, Point(lam=lam, gamma=gamma), path, moments)
        age = (last.response_age or 0) + 1
        chart = Chart(tangent=unpack(self._carry, "tangent"), response=response_in(last), age=age)
        if age >= self._config.asked.refresh:
            reached, chart = yield from stencil(self._config, work, reached, chart.tangent)
        return (yield from self._settled(work, reached, chart))

    @abc.abstractmethod
    def _reach(self, work: Work, at: Point, weights: Weights, preconditioner: Weights | None) -> Parts:
        """Train from `weights` for the lam of `at`, whose gamma is that of the last point."""

    def _train(self, work: Work, at: Point, weights: Weights, preconditioner: Weights | None) -> Parts:
        """One equilibration by the walk's schedule."""
        replica = Replica(name="centre", point=at, weights=weights)
        request = EquilibrateRequest(key=work.key, replicas=(replica,), preconditioner=preconditioner)
        trained = work.equilibrated((yield request))
        self._require(trained.outcome)
        return Reached(point=at, weights=trained.weights[0], preconditioner=trained.preconditioner)

    def _require(self, outcome: Outcome) -> None:
        if outcome is not Outcome.OK:
            raise WalkFailed("the training diverged; lower the method's learning rate")

    # --- the end of a point -------------------------------------------------------------------------------------------

    def _settled(self, work: Work, reached: Reached, chart: Chart) -> Steps:
        last = self.accepted[-1]
        columns: dict[str, Any] = {"C_target": last.C_target, "C_settle_target": last.C_settle_target}
        reach = REACH * abs(reached.point.gamma)
        allowed = self._config.asked.tolerance * self.C0
        settle = settle_loss(
            work.key, reached.weights, chart.tangent, reached.point, chart.response, C=self.C0, allowed=allowed, reach=reach
        )
        settled = work.settled((yield settle))
        shift = settled.shift["gamma"]
        point = Point(lam=reached.point.lam, gamma=reached.point.gamma + shift)
        columns |= {"C_before_settle": settled.before.C, "settle_shift": shift}
        carry = pack(
            tangent=chart.tangent,
            preconditioner=reached.preconditioner,
            path=None if self.follows else reached.weights,
            start=unpack(self._carry, "start"),
            kept=reached.kept,
        )
        columns |= {"response": chart.response, "response_age": chart.age, "step_length": math.log(point.lam / last.lam)}
        return (yield from self._read(work, point, settled.weights, columns, carry))

    def _read(self, work: Work, point: Point, weights: Weights, columns: dict[str, Any], carry: Weights) -> Steps:
        replica = Replica(name="settled", point=point, weights=weights)
        splits = (Split.TRAIN, Split.VALIDATION)
        tested = work.measured((yield measure_request(work, (replica,), (weights,), "test", splits=splits)))
        process, kept = IsoClassification(self._config.asked.lam_end), unpack(self._carry, "start")
        holding = Holding(config=self._config, process=process, start=self.accepted[0], kept=kept)
        columns |= {
            "process": self._settings.method,
            "tested": tested.readings,
            "drift_se": holding.drift_se(tested.readings[0]),
        }
        return self._commit(work, point, Outcome.OK, PROCEED, columns, accepted_state=tested.weights[0], carry=carry)


def stencil(
    config: RunConfig, work: Work, reached: Reached, tangent: Weights
) -> Generator[Request, Answer | None, tuple[Reached, Chart]]:
    """One more equilibration, with gamma neighbours: the model after it, and the chart around it."""
    points = neighbours(reached.point, "iso", config.neighbours)
    replicas = tuple(
        Replica(name=name, point=at, weights=along(reached.weights, tangent, at.gamma - reached.point.gamma))
        for name, at in points.items()
    )
    request = EquilibrateRequest(key=work.key, replicas=replicas, preconditioner=reached.preconditioner)
    trained = work.equilibrated((yield request))
    if trained.outcome is not Outcome.OK:
        raise WalkFailed("the stencil diverged; lower the method's learning rate")
    tangent = slope(trained.weights[1], trained.weights[2], points["gamma+"].gamma - points["gamma-"].gamma)
    read = yield from read_stencil(config, work, replicas, trained.weights, centre=False)
    response = response_of({reading.replica: reading for reading in read})
    after = Reached(point=reached.point, weights=trained.weights[0], preconditioner=trained.preconditioner, kept=reached.kept)
    return after, Chart(tangent=tangent, response=response, age=0)


def settle_reading(work: Work, replicas: tuple[Replica, ...]) -> MeasureRequest:
    """Read the replicas on the training split with the draws of settles."""
    return MeasureRequest(key=work.key, replicas=replicas, splits=(Split.TRAIN,), purpose="settle")
