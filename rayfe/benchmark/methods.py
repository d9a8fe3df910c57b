"""The alternatives themselves: what each does at one lam."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rayfe.benchmark.points import Parts, PointByPoint, Reached, require_equilibrated, settle_reading, stencil, wanted_C
from rayfe.benchmark.requests import Constrained, ConstrainRequest
from rayfe.config import RunConfig, Start
from rayfe.records import Annealing, EquilibrateRequest, Kind, Outcome, Point, Replica, Weights
from rayfe.records.columns import Observed, number
from rayfe.records.weights import unpack
from rayfe.records.work import Work
from rayfe.surface.step_control import Judgement
from rayfe.trajectory.walk_state import Steps, WalkState

RAISE = 0.1
"""By how much the authors' heuristic raises gamma at a time."""
RAISES = 30
"""At most so often at one lam."""
LOWEST = 0.02
"""Part of the start's gamma below which a multiplier does not go: its chart would have no width."""
NEAR = 0.15
"""|C / C0 - 1| within which a model from scratch is settled rather than trained again at another gamma."""
TRAININGS = 6
"""Models from scratch that the grid may train at one lam."""
ELASTICITY = (0.3, 2.0)
"""Bounds of -d log C / d log gamma in the search for gamma, and 0.7 where nothing is known."""
LARGEST_FACTOR = 3.0
HOLD = 0.4
"""Part of a constrained training from scratch after which gamma begins to move."""


class WarmGrid(PointByPoint):
    """Fine-tuning from the neighbour with gamma as it was: C goes where it goes, but for the settle of what is reported."""

    follows = False

    def _reach(self, state: WalkState, work: Work, at: Point, weights: Weights, preconditioner: Weights | None) -> Parts:
        return (yield from self._train(work, at, weights, preconditioner))


class Heuristic(PointByPoint):
    """lam along a line; gamma is raised by 0.1 and the model trained again until C <= C0 (the authors' public code)."""

    def lams(self, config: RunConfig, start: Start) -> np.ndarray:
        return np.linspace(start.lam, config.lam_end, len(super().lams(config, start)) + 1)[1:]

    def _reach(self, state: WalkState, work: Work, at: Point, weights: Weights, preconditioner: Weights | None) -> Parts:
        for attempt in range(RAISES + 1):
            point = Point(lam=at.lam, gamma=at.gamma + attempt * RAISE)
            reached = yield from self._train(work, point, weights, preconditioner)
            weights, preconditioner = reached.weights, reached.preconditioner
            replica = Replica(name="centre", point=point, weights=weights)
            read = work.measured((yield settle_reading(work, (replica,))))
            if read.readings[0].C <= wanted_C(state):
                break
        return reached


class ConstrainedPath(PointByPoint):
    """min R + lam D subject to C = C0 at each lam, from the model and the multiplier of the last one."""

    def _reach(self, state: WalkState, work: Work, at: Point, weights: Weights, preconditioner: Weights | None) -> Parts:
        ratio = unpack(state.carry, "kept").get("ratio", np.array(1.0))
        replica = Replica(name="centre", point=at, weights=weights)
        return (yield from self._constrain(state, work, replica, preconditioner, annealing=None, ratio=float(ratio)))

    def _constrain(
        self,
        state: WalkState,
        work: Work,
        replica: Replica,
        preconditioner: Weights | None,
        *,
        annealing: Annealing | None,
        ratio: float,
    ) -> Parts:
        assert self.settings.rule is not None
        request = ConstrainRequest(
            key=work.key,
            replicas=(replica,),
            preconditioner=preconditioner,
            annealing=annealing,
            rule=self.settings.rule,
            C=wanted_C(state),
            ratio=ratio,
            hold=0.0 if annealing is None else HOLD,
        )
        answer = work.equilibrated((yield request))
        require_equilibrated(answer.outcome)
        assert isinstance(answer, Constrained)
        gamma = max(answer.gamma, LOWEST * state.start.gamma)
        return Reached(
            point=Point(lam=replica.point.lam, gamma=gamma),
            weights=answer.weights[0],
            preconditioner=answer.preconditioner,
            kept={"ratio": np.array(answer.ratio)},
        )


class Grid(ConstrainedPath):
    """One lam: models from scratch until gamma is found at which C is C0 (secant in log gamma), then the settle.

    With a rule one training finds gamma as it goes. Each model tried is a rejected row.
    """

    def lams(self, config: RunConfig, start: Start) -> np.ndarray:
        return np.array([start.lam])

    def attempt(self, state: WalkState) -> Steps:
        C0, start = wanted_C(state), state.start
        tried = [(row.gamma, number(row.C)) for row in state.rows if row.step == 1]
        gamma = next_gamma(tried, first=start.gamma, C0=C0)
        work = state.begin(Kind.STEP)
        reached = yield from self._reach(state, work, Point(lam=start.lam, gamma=gamma), {}, None)
        replica = Replica(name="centre", point=reached.point, weights=reached.weights)
        read = work.measured((yield settle_reading(work, (replica,))))
        off = abs(read.readings[0].C / C0 - 1.0)
        if off > NEAR and len(tried) + 1 < TRAININGS and self.settings.rule is None:
            observed = Observed(tested=read.readings, C_target=state.first.C_target)
            again = Judgement(accepted=False, reason="drift", next_length=0.0)
            return self.of_method(state.left_behind(work, reached.point, Outcome.OK, again, observed))
        reached, chart = yield from stencil(state.config, work, reached, {})
        return (yield from self._settled(state, work, reached, chart))

    def _reach(self, state: WalkState, work: Work, at: Point, weights: Weights, preconditioner: Weights | None) -> Parts:
        epochs = state.config.equilibration.first_epochs
        whole = Annealing(epochs=epochs, begin=0.0, end=epochs)
        replica = Replica(name="centre", point=at, weights=None)
        if self.settings.rule is not None:
            return (yield from self._constrain(state, work, replica, None, annealing=whole, ratio=1.0))
        request = EquilibrateRequest(key=work.key, replicas=(replica,), annealing=whole)
        trained = work.equilibrated((yield request))
        require_equilibrated(trained.outcome)
        return Reached(point=at, weights=trained.weights[0], preconditioner=trained.preconditioner)


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
