"""Methods that go from one lam to the next and train at each: what they share, the settle at the end of each point."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rayfe.benchmark.settings import Settings
from rayfe.config import RunConfig, Start
from rayfe.exceptions import WalkFailed
from rayfe.records import (
    Answer,
    Commit,
    EquilibrateRequest,
    Kind,
    MeasureRequest,
    Outcome,
    Point,
    Replica,
    Request,
    Response,
    Split,
    Weights,
)
from rayfe.records.carried import Carried
from rayfe.records.columns import Observed, number, response_in
from rayfe.records.weights import along, pack, slope, unpack
from rayfe.records.work import Work
from rayfe.surface.response import response_of
from rayfe.surface.stencil import neighbours
from rayfe.surface.step_control import Judgement
from rayfe.trajectory.chart import settle_loss
from rayfe.trajectory.course import Course
from rayfe.trajectory.measuring import measure_request, read_stencil
from rayfe.trajectory.walk_state import Steps, WalkState

REACH = 0.3
"""Fraction of gamma by which the settle of a point may move it: three times the stencil, since these methods are further off."""
PROCEED = Judgement(accepted=True, reason=None, next_length=0.0)


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


@dataclass(frozen=True, kw_only=True)
class PointByPoint(Course):
    """One accepted step per lam. Every point ends with a settle by the walk's own means: a stencil of three replicas
    every `refresh` points, whose tangent is carried in between.

    Step 0 is the common start.
    """

    settings: Settings
    follows: ClassVar[bool] = True
    """Whether the next point starts from the settled model; else from the model before the settle."""

    def arrived(self, state: WalkState) -> str | None:
        return "lam_end" if state.last.step >= len(self.lams(state.config, state.start)) else None

    def done(self, state: WalkState) -> float:
        return state.last.step / len(self.lams(state.config, state.start))

    def lams(self, config: RunConfig, start: Start) -> np.ndarray:
        """The lam of steps 1, 2, ...: equal steps in log lam, as the walk's."""
        count = max(1, round(math.log(config.lam_end / start.lam) / config.step_length))
        return np.geomspace(start.lam, config.lam_end, count + 1)[1:]

    def attempt(self, state: WalkState) -> Steps:
        assert state.accepted, "the common start comes first"
        last, work = state.last, state.begin(Kind.STEP)
        gamma = last.gamma if self.follows else state.start.gamma
        lam = float(self.lams(state.config, state.start)[last.step])
        path = unpack(state.carry, "path") or state.model
        reached = yield from self._reach(state, work, Point(lam=lam, gamma=gamma), path, state.carried.preconditioner)
        age = (last.response_age or 0) + 1
        chart = Chart(tangent=state.carried.tangents.get("gamma", {}), response=response_in(last), age=age)
        if age >= state.config.refresh:
            reached, chart = yield from stencil(state.config, work, reached, chart.tangent)
        return (yield from self._settled(state, work, reached, chart))

    @abc.abstractmethod
    def _reach(self, state: WalkState, work: Work, at: Point, weights: Weights, preconditioner: Weights | None) -> Parts:
        """Train from `weights` for the lam of `at`, whose gamma is that of the last point."""

    def _train(self, work: Work, at: Point, weights: Weights, preconditioner: Weights | None) -> Parts:
        """One equilibration by the walk's schedule."""
        replica = Replica(name="centre", point=at, weights=weights)
        request = EquilibrateRequest(key=work.key, replicas=(replica,), preconditioner=preconditioner)
        trained = work.equilibrated((yield request))
        require_equilibrated(trained.outcome)
        return Reached(point=at, weights=trained.weights[0], preconditioner=trained.preconditioner)

    # --- the end of a point -------------------------------------------------------------------------------------------

    def _settled(self, state: WalkState, work: Work, reached: Reached, chart: Chart) -> Steps:
        config, last = state.config, state.last
        reach, C0 = REACH * abs(reached.point.gamma), wanted_C(state)
        settle = settle_loss(
            work.key,
            reached.weights,
            chart.tangent,
            reached.point,
            chart.response,
            C=C0,
            allowed=config.tolerance * C0,
            reach=reach,
        )
        settled = work.settled((yield settle))
        shift = settled.shift["gamma"]
        point = Point(lam=reached.point.lam, gamma=reached.point.gamma + shift)
        replica = Replica(name="settled", point=point, weights=settled.weights)
        splits = (Split.TRAIN, Split.VALIDATION)
        tested = work.measured((yield measure_request(work, (replica,), (settled.weights,), "test", splits=splits)))
        observed = Observed(
            tested=tested.readings,
            C_target=last.C_target,
            C_settle_target=last.C_settle_target,
            drift_se=state.holding.drift_se(tested.readings[0]),
            C_before_settle=settled.before.C,
            settle_shift=shift,
            response=chart.response,
            response_age=chart.age,
            step_length=math.log(point.lam / last.lam),
        )
        carried = Carried(tangents={"gamma": chart.tangent}, preconditioner=reached.preconditioner, start=state.carried.start)
        commit = state.left_behind(work, point, Outcome.OK, PROCEED, observed, weights=tested.weights[0], carried=carried)
        more = pack(path=None if self.follows else reached.weights, kept=reached.kept)
        return dataclasses.replace(self.of_method(commit), carry={**(commit.carry or {}), **more})

    def of_method(self, commit: Commit) -> Commit:
        """The same as a row of this method."""
        return dataclasses.replace(commit, record=dataclasses.replace(commit.record, process=self.settings.method))


def require_equilibrated(outcome: Outcome) -> None:
    """Refuse to go on after a training that diverged."""
    if outcome is not Outcome.OK:
        raise WalkFailed("the training diverged; lower the method's learning rate")


def wanted_C(state: WalkState) -> float:
    """The loss to be held, on the draws of settles."""
    return number(state.first.C_settle_target)


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
