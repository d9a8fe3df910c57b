"""Methods that go from one lam to the next and train at each: what they share, the settle at the end of each point."""

from __future__ import annotations

import abc
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.benchmark.settings import Settings
from rayfe.config import RunConfig, Start
from rayfe.exceptions import WalkFailed
from rayfe.records import (
    Answer,
    Commit,
    EquilibrateRequest,
    MeasureRequest,
    Outcome,
    Point,
    Replica,
    Request,
    Response,
    Split,
    StepKey,
    StepRecord,
    Weights,
)
from rayfe.records.columns import Work, number, response_in, step_record
from rayfe.records.weights import along, pack, slope, unpack
from rayfe.surface.response import response_of
from rayfe.surface.stencil import neighbours
from rayfe.trajectory.chart import settle_loss
from rayfe.trajectory.step import measure_request, read_stencil

REACH = 0.3
"""Fraction of gamma by which the settle of a point may move it: three times the stencil, since these methods are further off."""


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
Steps = Generator[Request, Answer | None, Commit]


class PointByPoint(abc.ABC):
    """One accepted step per lam. Every point ends with a settle by the walk's own means: a stencil of three replicas
    every `refresh` points, whose tangent is carried in between.

    Step 0 is the common start. `state` and `carry` are the weights of the last accepted step and what it left for the next.
    """

    follows = True
    """Whether the next point starts from the settled model; else from the model before the settle."""

    def __init__(
        self, config: RunConfig, start: Start, rows: Sequence[StepRecord], *, state: Weights, carry: Weights, settings: Settings
    ) -> None:
        self.config, self.start, self.settings = config, start, settings
        self.rows, self.state, self.carry = list(rows), state, carry

    @property
    def accepted(self) -> list[StepRecord]:
        return [row for row in self.rows if row.accepted]

    @property
    def finished(self) -> str | None:
        return "lam_end" if self.accepted[-1].step >= len(self.lams) else None

    @property
    def lams(self) -> np.ndarray:
        """The lam of steps 1, 2, ..."""
        return lams(self.config, self.start)

    @property
    def C0(self) -> float:
        """The loss to be held, on the draws of settles."""
        return number(self.accepted[0].C_settle_target)

    def committed(self, record: StepRecord, commit: Commit) -> None:
        """Take note that a step is stored."""
        self.rows.append(record)
        if commit.state is not None:
            self.state, self.carry = commit.state, commit.carry or {}

    def key(self, step: int) -> StepKey:
        """Names the next attempt at `step`."""
        attempt = sum(row.step == step for row in self.rows)
        return StepKey(trajectory=self.start.name, seed=self.start.seed, step=step, attempt=attempt)

    def attempt(self) -> Steps:
        """Requests of the next step; returns its Commit.

        Raises:
            WalkFailed: a training diverged.
        """
        last = self.accepted[-1]
        work = Work(self.key(last.step + 1))
        at = Point(lam=float(self.lams[last.step]), gamma=last.gamma if self.follows else self.start.gamma)
        moments = unpack(self.carry, "preconditioner") or None
        reached = yield from self.reach(work, at, unpack(self.carry, "path") or self.state, moments)
        age = (last.response_age or 0) + 1
        chart = Chart(tangent=unpack(self.carry, "tangent"), response=response_in(last), age=age)
        if age >= self.config.refresh:
            reached, chart = yield from stencil(self.config, work, reached, chart.tangent)
        return (yield from self.settled(work, reached, chart))

    @abc.abstractmethod
    def reach(self, work: Work, at: Point, weights: Weights, preconditioner: Weights | None) -> Parts:
        """Train from `weights` for the lam of `at`, whose gamma is that of the last point."""

    # --- the end of a point -------------------------------------------------------------------------------------------

    def settled(self, work: Work, reached: Reached, chart: Chart) -> Steps:
        """Settle the model that was reached, and read it."""
        last, here = self.accepted[-1], reached.point
        allowed, reach = self.config.tolerance * self.C0, REACH * abs(here.gamma)
        request = settle_loss(
            work.key, reached.weights, chart.tangent, here, chart.response, C=self.C0, allowed=allowed, reach=reach
        )
        settled = work.settled((yield request))
        point = Point(lam=here.lam, gamma=here.gamma + settled.shift["gamma"])
        replica = Replica(name="settled", point=point, weights=settled.weights)
        splits = (Split.TRAIN, Split.VALIDATION)
        tested = work.measured((yield measure_request(work, (replica,), (settled.weights,), "test", splits=splits)))
        columns = {
            "C_target": last.C_target,
            "C_settle_target": last.C_settle_target,
            "C_before_settle": settled.before.C,
            "settle_shift": settled.shift["gamma"],
            "response": chart.response,
            "response_age": chart.age,
            "step_length": math.log(point.lam / last.lam),
            "tested": tested.readings,
        }
        carry = pack(
            tangent=chart.tangent,
            preconditioner=reached.preconditioner,
            path=None if self.follows else reached.weights,
            kept=reached.kept,
        )
        record = self.record(work, point, columns)
        return Commit(record=record, readings=work.readings, state=tested.weights[0], carry=carry)

    def record(self, work: Work, point: Point, columns: dict[str, Any], *, reason: str | None = None) -> StepRecord:
        """The row of a step; with a `reason` it is a rejected one."""
        return step_record(
            work.key,
            point=point,
            outcome=Outcome.OK,
            accepted=reason is None,
            reason=reason,
            process=self.settings.method,
            examples=self.rows[-1].examples + work.examples,
            **columns,
        )


def lams(config: RunConfig, start: Start) -> np.ndarray:
    """The lam of a curve's points after its start: equal steps in log lam, as the walk's."""
    count = max(1, round(math.log(config.lam_end / start.lam) / config.step_length))
    return np.geomspace(start.lam, config.lam_end, count + 1)[1:]


def train(work: Work, at: Point, weights: Weights, preconditioner: Weights | None) -> Parts:
    """One equilibration by the walk's schedule."""
    replica = Replica(name="centre", point=at, weights=weights)
    request = EquilibrateRequest(key=work.key, replicas=(replica,), preconditioner=preconditioner)
    trained = work.equilibrated((yield request))
    require_trained(trained.outcome)
    return Reached(point=at, weights=trained.weights[0], preconditioner=trained.preconditioner)


def require_trained(outcome: Outcome) -> None:
    """Raise WalkFailed for a training that diverged."""
    if outcome is not Outcome.OK:
        raise WalkFailed("the training diverged; lower the method's learning rate")


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
    require_trained(trained.outcome)
    tangent = slope(trained.weights[1], trained.weights[2], points["gamma+"].gamma - points["gamma-"].gamma)
    read = yield from read_stencil(config, work, replicas, trained.weights, centre=False)
    response = response_of({reading.replica: reading for reading in read})
    after = Reached(point=reached.point, weights=trained.weights[0], preconditioner=trained.preconditioner, kept=reached.kept)
    return after, Chart(tangent=tangent, response=response, age=0)


def settle_reading(work: Work, replicas: tuple[Replica, ...]) -> MeasureRequest:
    """Read the replicas on the training split with the draws of settles."""
    return MeasureRequest(key=work.key, replicas=replicas, splits=(Split.TRAIN,), purpose="settle")
