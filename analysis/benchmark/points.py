"""Methods that go from one lam to the next and train at each: what they share, the settle at the end of each point."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from analysis.benchmark.settings import Settings
from rayfe.config import RunConfig, Start
from rayfe.exceptions import WalkFailed
from rayfe.records import (
    Answer,
    Commit,
    EquilibrateRequest,
    Kind,
    Leg,
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
from rayfe.trajectory import history
from rayfe.trajectory.chart import settle_loss
from rayfe.trajectory.course import Course
from rayfe.trajectory.measuring import read_stencil
from rayfe.trajectory.round_trip import part_done
from rayfe.trajectory.stationary_steps import renewal, renewal_is_due
from rayfe.trajectory.walk_state import Steps, WalkState

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
class SettleChart:
    """The tangent dtheta/dgamma and the response that settles use, and the points since they were measured."""

    tangent: Weights
    response: Response
    age: int


Parts = Generator[Request, Answer | None, Reached]


@dataclass(frozen=True, kw_only=True)
class Curve(Course):
    """One accepted step per lam, each read by draws that nothing steered by. Step 0 is the common start. The legs are those of rayfe's
    walk with the same configuration."""

    settings: Settings

    def lams(self, config: RunConfig, start: Start) -> np.ndarray:
        """The lam of the points on the way there."""
        return lams(config, start)

    def arrived(self, state: WalkState) -> str | None:
        return state.way.ended

    def done(self, state: WalkState) -> float:
        return part_done(state.config, state.way, state.first)

    def next_lam(self, state: WalkState) -> float:
        """The nearest lam of the curve's points, or of its start, ahead on the leg."""
        here, every = state.last.lam, [state.first.lam, *map(float, self.lams(state.config, state.start))]
        if state.leg is Leg.BACK:
            return max(lam for lam in every if lam < here)
        return min(lam for lam in every if lam > here)

    def reported(
        self, state: WalkState, work: Work, replica: Replica, observed: Observed, *, reason: str | None = None
    ) -> Steps:
        """Read a model with draws that nothing steered by, and report it; `observed` is what is known of it before, `reason` what it
        lacks, although it counts."""
        last, point = state.last, replica.point
        splits = (Split.TRAIN, Split.VALIDATION)
        request = MeasureRequest(key=work.key, replicas=(replica,), splits=splits, purpose="test")
        tested = work.measured((yield request))
        observed = dataclasses.replace(
            observed,
            tested=tested.readings,
            C_target=last.C_target,
            C_settle_target=last.C_settle_target,
            drift_se=state.holding.drift_se(tested.readings[0]),
            step_length=abs(math.log(point.lam / last.lam)),
        )
        return self.left_behind(state, work, point, observed, reason=reason, weights=tested.weights[0])

    def left_behind(
        self,
        state: WalkState,
        work: Work,
        point: Point,
        observed: Observed,
        *,
        reason: str | None = None,
        weights: Weights | None = None,
    ) -> Commit:
        """What a step leaves behind, as a row of this method; without `weights` it is a rejected one."""
        judgement = Judgement(accepted=weights is not None, reason=reason, next_length=0.0)
        return self.named(state.left_behind(work, point, Outcome.OK, judgement, observed, weights=weights))

    def named(self, commit: Commit) -> Commit:
        """The same as a row of this method."""
        return dataclasses.replace(commit, record=dataclasses.replace(commit.record, process=self.settings.method))


@dataclass(frozen=True, kw_only=True)
class PointByPoint(Curve):
    """Trains at each lam. Every point ends with a settle by the walk's own means: a stencil of three replicas every `refresh` points,
    whose tangent is carried in between.

    A leap's trainings and its landing are the walk's own, by the method's optimizer.
    """

    follows: ClassVar[bool] = True
    """Whether the next point starts from the settled model; else from the model before the settle."""

    def attempt(self, state: WalkState) -> Steps:
        """Requests of the next step; returns its Commit.

        Raises:
            WalkFailed: a training diverged.
        """
        if renewal_is_due(state) and not history.renewals(state.rows):
            return self.named((yield from renewal(state)))
        last, work = state.last, state.begin(Kind.STEP)
        at = Point(lam=self.next_lam(state), gamma=last.gamma if self.follows else _arrived_gamma(state))
        weights = unpack(state.carry, "path") or state.model
        reached = yield from self.reach(state, work, at, weights)
        tangent = state.carried.tangents.get("gamma", {})
        chart = SettleChart(tangent=tangent, response=response_in(last), age=(last.response_age or 0) + 1)
        if chart.age >= state.config.asked.refresh:
            reached, chart = yield from stencil(state.config, work, reached, tangent)
        return (yield from self.settled(state, work, reached, chart))

    @abc.abstractmethod
    def reach(self, state: WalkState, work: Work, at: Point, weights: Weights) -> Parts:
        """Train from `weights` for the lam of `at`, whose gamma is that of the last point."""

    def settled(self, state: WalkState, work: Work, reached: Reached, chart: SettleChart) -> Steps:
        """Settle the model that was reached, and read it."""
        here, C = reached.point, held_C(state)
        allowed, reach = state.config.asked.tolerance * C, REACH * abs(here.gamma)
        request = settle_loss(work.key, reached.weights, chart.tangent, here, chart.response, C=C, allowed=allowed, reach=reach)
        settled = work.settled((yield request))
        shift = settled.shift["gamma"]
        point = Point(lam=here.lam, gamma=here.gamma + shift)
        replica = Replica(name="settled", point=point, weights=settled.weights)
        observed = Observed(
            C_before_settle=settled.before.C, settle_shift=shift, response=chart.response, response_age=chart.age
        )
        commit = yield from self.reported(state, work, replica, observed)
        carried = Carried(tangents={"gamma": chart.tangent}, preconditioner=reached.preconditioner, start=state.carried.start)
        own = pack(path=None if self.follows else reached.weights, kept=reached.kept)
        return dataclasses.replace(commit, carry={**carried.stored(), **own})


def held_C(state: WalkState) -> float:
    """The loss to be held, on the draws of settles, nats."""
    return number(state.first.C_settle_target)


def _arrived_gamma(state: WalkState) -> float:
    """The gamma of the start, or of where a leap landed."""
    return next(row.gamma for row in reversed(state.accepted) if row.kind in (Kind.START, Kind.LEAP))


def lams(config: RunConfig, start: Start) -> np.ndarray:
    """The lam of a curve's points after its start: equal steps in log lam, as the walk's."""
    count = max(1, round(math.log(config.asked.lam_end / start.lam) / config.asked.step_length))
    return np.geomspace(start.lam, config.asked.lam_end, count + 1)[1:]


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
) -> Generator[Request, Answer | None, tuple[Reached, SettleChart]]:
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
    return after, SettleChart(tangent=tangent, response=response, age=0)


def settle_reading(work: Work, replicas: tuple[Replica, ...]) -> MeasureRequest:
    """Read the replicas on the training split with the draws of settles."""
    return MeasureRequest(key=work.key, replicas=replicas, splits=(Split.TRAIN,), purpose="settle")
