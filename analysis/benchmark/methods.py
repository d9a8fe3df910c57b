"""The alternatives themselves: what each does at one lam."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from analysis.benchmark.points import (
    Curve,
    Parts,
    PointByPoint,
    Reached,
    held_C,
    require_trained,
    settle_reading,
    stencil,
    train,
)
from analysis.benchmark.requests import Constrained, ConstrainRequest
from rayfe.config import RunConfig, Start
from rayfe.records import Annealing, Answer, Box, EquilibrateRequest, Kind, Point, Replica, Request, Weights
from rayfe.records.carried import Carried
from rayfe.records.columns import Observed, number
from rayfe.records.weights import pack, unpack
from rayfe.records.work import Work
from rayfe.trajectory.walk_state import Steps, WalkState

RAISE = 0.1
"""By how much the authors' heuristic raises gamma at a time."""
RAISES = 30
"""At most so often at one lam."""
LOWEST = 0.02
"""Part of the start's gamma below which a multiplier does not go: its chart would have no width."""
TRAININGS = 6
"""Models from scratch that the grid may train at one lam."""
ELASTICITY = (0.3, 2.0)
"""Bounds of -d log C / d log gamma in the search for gamma, and 0.7 where nothing is known."""
LARGEST_FACTOR = 3.0
LAM_RANGE, GAMMA_RANGE = 1.3, (0.05, 10.0)
"""The box of a conditioned model: beyond the curve's lam by this factor on either side, since it is worst at its ends, and these times the
start's gamma. On MNIST C0 needs a gamma of 14 at lam = 0.25 and about 0.3 at 3.5, on Fashion-MNIST more than 16."""
READINGS, READ_PART = 8, 0.1
"""Readings of a part of the images by which the gamma of a conditioned model is found, at most, and the part of the tolerance to which C
is found by them."""
CONFIRMATIONS, CONFIRMED = 3, 0.25
"""Readings of all images of what was found, at most, and the part of the tolerance within which C is confirmed."""

AT_THE_END = "gamma at the end of the box"
"""Reason of a point of a conditioned model whose C could not be brought to C0 within the gamma that it was trained for."""


class WarmGrid(PointByPoint):
    """Fine-tuning from the neighbour with gamma as it was: C goes where it goes, but for the settle of what is reported."""

    follows = False

    def reach(self, state: WalkState, work: Work, at: Point, weights: Weights) -> Parts:
        return (yield from train(work, at, weights, state.carried.preconditioner))


class Heuristic(PointByPoint):
    """lam along a line; gamma is raised by 0.1 and the model trained again until C <= C0 (the authors' public code)."""

    def lams(self, config: RunConfig, start: Start) -> np.ndarray:
        return np.linspace(start.lam, config.asked.lam_end, len(super().lams(config, start)) + 1)[1:]

    def reach(self, state: WalkState, work: Work, at: Point, weights: Weights) -> Parts:
        preconditioner = state.carried.preconditioner
        for attempt in range(RAISES + 1):
            point = Point(lam=at.lam, gamma=at.gamma + attempt * RAISE)
            reached = yield from train(work, point, weights, preconditioner)
            weights, preconditioner = reached.weights, reached.preconditioner
            replica = Replica(name="centre", point=point, weights=weights)
            read = work.measured((yield settle_reading(work, (replica,))))
            if read.readings[0].C <= held_C(state):
                break
        return reached


class ConstrainedPath(PointByPoint):
    """min R + lam D subject to C = C0 at each lam, from the model and the multiplier of the last one."""

    def reach(self, state: WalkState, work: Work, at: Point, weights: Weights) -> Parts:
        assert self.settings.rule is not None
        request = ConstrainRequest(
            key=work.key,
            replicas=(Replica(name="centre", point=at, weights=weights),),
            preconditioner=state.carried.preconditioner,
            rule=self.settings.rule,
            C=held_C(state),
            ratio=float(unpack(state.carry, "kept").get("ratio", np.array(1.0))),
        )
        answer = work.equilibrated((yield request))
        require_trained(answer.outcome)
        assert isinstance(answer, Constrained)
        return Reached(
            point=Point(lam=at.lam, gamma=max(answer.gamma, LOWEST * state.start.gamma)),
            weights=answer.weights[0],
            preconditioner=answer.preconditioner,
            kept={"ratio": np.array(answer.ratio)},
        )


@dataclass(frozen=True, kw_only=True)
class Grid(PointByPoint):
    """One lam: models from scratch until gamma is found at which C is C0 (secant in log gamma), then the settle.

    Each model tried is a rejected row.
    """

    guess: float
    """The first gamma."""
    near: ClassVar[float] = 0.15
    """|C / C0 - 1| within which a model is settled rather than trained again at another gamma."""

    def arrived(self, state: WalkState) -> str | None:
        return "lam_end" if state.last.step else None

    def done(self, state: WalkState) -> float:
        return float(state.last.step)

    def attempt(self, state: WalkState) -> Steps:
        start, C0, work = state.start, held_C(state), state.begin(Kind.STEP)
        tried = [(row.gamma, number(row.C)) for row in state.rows if row.step == work.key.step]
        gamma = next_gamma(tried, first=self.guess, C0=C0)
        reached = yield from self.reach(state, work, Point(lam=start.lam, gamma=gamma), {})
        replica = Replica(name="centre", point=reached.point, weights=reached.weights)
        read = work.measured((yield settle_reading(work, (replica,))))
        if abs(read.readings[0].C / C0 - 1.0) > self.near and len(tried) + 1 < TRAININGS:
            observed = Observed(tested=read.readings, C_target=state.first.C_target)
            return self.left_behind(state, work, reached.point, observed, reason="drift")
        reached, chart = yield from stencil(state.config, work, reached, {})
        return (yield from self.settled(state, work, reached, chart))

    def reach(self, state: WalkState, work: Work, at: Point, weights: Weights) -> Parts:
        epochs = state.config.equilibration.first_epochs
        replica, whole = Replica(name="centre", point=at, weights=None), Annealing(epochs=epochs, begin=0.0, end=epochs)
        trained = work.equilibrated((yield EquilibrateRequest(key=work.key, replicas=(replica,), annealing=whole)))
        require_trained(trained.outcome)
        return Reached(point=at, weights=trained.weights[0], preconditioner=trained.preconditioner)


class EnvelopeGrid(Grid):
    """The same at every third lam, the last one included, and nearer to C0 before the settle: models that owe nothing to a walk."""

    near = 0.05


@dataclass(frozen=True, kw_only=True)
class TrainOnce(Curve):
    """One model for all points, trained at step 1. At each lam gamma is found by reading C of what it becomes there; nothing else is
    trained, and nothing settled."""

    becomes: Callable[[Point, Weights | None], Replica]
    """What the one model, of these weights (None: new ones), is at a point: where the training of a conditioned model plugs in. A
    training of this replica is one of the whole model, and a reading one of what it becomes."""
    gammas: tuple[float, float]
    """Between which gamma is looked for: where the model was trained."""

    def attempt(self, state: WalkState) -> Steps:
        C0, work, at = held_C(state), state.begin(Kind.STEP), Point(lam=self.next_lam(state), gamma=state.last.gamma)
        one = unpack(state.carry, "kept") or (yield from self.trained(state, work, at))
        part = float(unpack(state.carry, "search").get("part", np.array(1.0)))
        tolerance, tried = state.config.asked.tolerance * C0, list[tuple[float, float]]()
        for _ in range(CONFIRMATIONS):
            found = yield from self.found(work, at, one, tried, C=part * C0, allowed=READ_PART * tolerance)
            read = work.measured((yield settle_reading(work, (found,))))
            C = number(read.readings[0].C)
            part = tried[-1][1] / C
            if abs(C - C0) <= CONFIRMED * tolerance or found.point.gamma in self.gammas:
                break
        reason = AT_THE_END if found.point.gamma in self.gammas else None
        commit = yield from self.reported(state, work, found, Observed(), reason=reason)
        carried = Carried(start=state.carried.start).stored()
        return dataclasses.replace(commit, carry={**carried, **pack(kept=one, search={"part": np.array(part)})})

    def found(
        self, work: Work, at: Point, one: Weights, tried: list[tuple[float, float]], *, C: float, allowed: float
    ) -> Generator[Request, Answer | None, Replica]:
        """What the one model is at the lam of `at` and the gamma at which a part of the images has this C. `tried` are gamma and what was
        read there, to which it adds; the first is that of `at`."""
        while True:
            gamma = float(np.clip(next_gamma(tried, first=at.gamma, C0=C), *self.gammas))
            replica = self.becomes(Point(lam=at.lam, gamma=gamma), one)
            if tried and gamma == tried[-1][0]:
                return replica
            read = work.measured((yield dataclasses.replace(settle_reading(work, (replica,)), part=True)))
            tried.append((gamma, number(read.readings[0].C)))
            if abs(tried[-1][1] - C) <= allowed or len(tried) >= READINGS:
                return replica

    def trained(self, state: WalkState, work: Work, at: Point) -> Generator[Request, Answer | None, Weights]:
        """The one model, by the schedule of models from scratch."""
        epochs = state.config.equilibration.first_epochs
        request = EquilibrateRequest(
            key=work.key,
            replicas=(self.becomes(at, None),),
            annealing=Annealing(epochs=epochs, begin=0.0, end=epochs),
        )
        answer = work.equilibrated((yield request))
        require_trained(answer.outcome)
        return answer.weights[0]


def box_of(config: RunConfig, start: Start) -> Box:
    """More than all lam of the curve, and GAMMA_RANGE."""
    low, high = (start.gamma * factor for factor in GAMMA_RANGE)
    return Box(lam=(start.lam / LAM_RANGE, config.asked.lam_end * LAM_RANGE), gamma=(low, high))


def over(box: Box) -> Callable[[Point, Weights | None], Replica]:
    """What a model that is conditioned over a box is at a point."""
    return lambda at, weights: Replica(name="settled", point=at, weights=weights, box=box)


def next_gamma(tried: Sequence[tuple[float, float]], *, first: float, C0: float) -> float:
    """The gamma to try next, from pairs of gamma and the loss found there: a secant in logarithms, within the bracket."""
    if not tried:
        return first
    points = sorted((abs(math.log(C / C0)), math.log(gamma), math.log(C / C0)) for gamma, C in tried)
    _, x, y = points[0]
    elasticity = 0.7
    if len(points) > 1 and points[1][1] != x:
        low, high = ELASTICITY
        elasticity = min(max(-(points[1][2] - y) / (points[1][1] - x), low), high)
    step = min(max(y / elasticity, -math.log(LARGEST_FACTOR)), math.log(LARGEST_FACTOR))
    above = [x for _, x, y in points if y > 0]  # here C is too high: gamma has to be larger
    below = [x for _, x, y in points if y <= 0]
    wanted = x + step
    if above and below and max(above) < min(below) and not max(above) < wanted < min(below):
        wanted = 0.5 * (max(above) + min(below))
    return math.exp(wanted)
