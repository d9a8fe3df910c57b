"""One training for a whole box of multipliers, and ordinary models of it wherever they are wanted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

import numpy as np

from rayfe.config import RunConfig
from rayfe.exceptions import WalkFailed
from rayfe.records import Annealing, Box, EquilibrateRequest, Kind, Outcome, Point, Reading, Replica, Weights
from rayfe.records.carried import Carried
from rayfe.records.columns import Observed, held_readings
from rayfe.records.work import Work
from rayfe.surface.step_control import Judgement
from rayfe.trajectory.course import Course
from rayfe.trajectory.draws import Sets
from rayfe.trajectory.measuring import judging_request
from rayfe.trajectory.walk_state import Steps, WalkState

PROCEED = Judgement(accepted=True, reason=None, next_length=0.0)
APART = 0.02
"""Distance in log lam or log gamma of the two readings of a difference."""
MISSED = 0.002
"""Part of a wanted value by which the model that is found may miss it."""
MULTIPLIERS = ("lam", "gamma")
ROUNDS = 12
"""Of a search at most, with three readings each."""


class ConditionedCourse(Course):
    """A conditioned model over the box that all lam and gamma span. A step reads the ordinary model into which it folds at the next
    pair of them; the first one trains it. What a step leaves for the next is the conditioned model."""

    def attempt(self, state: WalkState) -> Steps:
        return next_model(state) if state.accepted else first_model(state)

    def arrived(self, state: WalkState) -> str | None:
        return None if _left(state) else "box"

    def done(self, state: WalkState) -> float:
        return 1.0 - len(_left(state)) / len(points_of(state.config))


def points_of(config: RunConfig) -> tuple[Point, ...]:
    """The points of the run: all pairs of its lam and gamma, lam up and down in turn."""
    lams = sorted(config.lam)
    return tuple(
        Point(lam=lam, gamma=gamma)
        for i, gamma in enumerate(sorted(config.gamma))
        for lam in (reversed(lams) if i % 2 else lams)
    )


def first_model(state: WalkState) -> Steps:
    """Train the conditioned model, and read it at the first point.

    Raises:
        WalkFailed: the training diverged.
    """
    work, box, epochs = state.begin(Kind.START), state.config.box, state.config.start_epochs
    assert box is not None
    whole = Annealing(epochs=epochs, begin=0.0, end=epochs)
    replica = Replica(name="centre", point=box.centre, weights=None, box=box)
    trained = work.equilibrated((yield EquilibrateRequest(key=work.key, replicas=(replica,), annealing=whole)), first=True)
    if trained.outcome is not Outcome.OK:
        raise WalkFailed("the training diverged; lower ``equilibration.first_learning_rate``")
    return (yield from _read(state, work, trained.weights[0], Observed(first_updates=trained.readings[-1].update)))


def next_model(state: WalkState) -> Steps:
    """Read the conditioned model at the next point."""
    assert state.carried.conditioned is not None
    return (yield from _read(state, state.begin(Kind.STEP), state.carried.conditioned, Observed()))


def find_point(box: Box, wanted: Mapping[str, float], near: Point, read: Callable[[Point], Reading]) -> Reading | None:
    """What is read of the model of the box that has the wanted values of two of R, D, C, lam and gamma: a search from `near` by least
    squares of their logarithms. `read` gives the same for the same point. None: the search ends elsewhere, so the box has none there."""
    from scipy.optimize import least_squares  # not for those who only look at runs

    ends = {name: span for name, span in (("lam", box.lam), ("gamma", box.gamma)) if span[0] < span[1]}
    known: dict[Point, Reading] = {}

    def at(x: np.ndarray) -> Reading:
        point = dataclasses.replace(near, **dict(zip(ends, np.exp(x).tolist(), strict=True)))
        if point not in known:
            known[point] = read(point)
        return known[point]

    def misses(x: np.ndarray) -> np.ndarray:
        found = at(x)
        return np.array(
            [math.log(getattr(found.point if name in MULTIPLIERS else found, name) / wanted[name]) for name in wanted]
        )

    if not ends:
        return at(np.empty(0)) if np.abs(misses(np.empty(0))).max() <= MISSED else None
    low, high = np.log([*ends.values()]).T

    def slopes(x: np.ndarray) -> np.ndarray:
        here = misses(x)
        if np.abs(here).max() <= 0.5 * MISSED:
            return np.zeros((len(wanted), len(x)))  # ends the search
        steps = np.diag(np.where(x + APART <= high, APART, -APART))
        return np.transpose([(misses(x + step) - here) / step.sum() for step in steps])

    first = np.clip(np.log([getattr(near, name) for name in ends]), low, high)
    # dogbox: trf takes three times as many readings, and stops short of the ends of the box
    found = least_squares(misses, first, jac=slopes, bounds=(low, high), method="dogbox", max_nfev=ROUNDS)
    return at(found.x) if np.abs(misses(found.x)).max() <= MISSED else None


def _read(state: WalkState, work: Work, weights: Weights, observed: Observed) -> Steps:
    """What a step leaves behind: the model of the next point.

    Raises:
        WalkFailed: it has no finite F in evaluation mode.
    """
    point = _left(state)[0]
    replica = Replica(name="settled", point=point, weights=weights, box=state.config.box)
    tested = work.measured((yield judging_request(work, replica, state.judged, Sets())))
    if not math.isfinite(held_readings(tested.readings)["settled"].F):
        where = f"lam {point.lam:g}, gamma {point.gamma:g}"
        raise WalkFailed(f"the model at {where} has no finite F; lower ``equilibration.first_learning_rate``")
    observed = dataclasses.replace(observed, tested=tested.readings)
    carried = Carried(conditioned=weights)
    return state.left_behind(work, point, Outcome.OK, PROCEED, observed, weights=tested.weights[0], carried=carried)


def _left(state: WalkState) -> list[Point]:
    """The points that have no row yet."""
    known = {(row.lam, row.gamma) for row in state.accepted}
    return [point for point in points_of(state.config) if (point.lam, point.gamma) not in known]
