"""Seeking a point of the surface: multipliers at which two of R, D and C have wanted values."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from rayfe.config import RunConfig
from rayfe.exceptions import WalkFailed
from rayfe.records import Commit, Held, Kind, Outcome, Point, Reading, Response
from rayfe.records.carried import Carried
from rayfe.records.columns import Observed, number, reading_in, response_in
from rayfe.records.work import Work
from rayfe.surface.equivalence import Miss, all_pass
from rayfe.surface.process import Conditions, held_jacobian
from rayfe.surface.step_control import Judgement, shortest_step
from rayfe.trajectory import history
from rayfe.trajectory.attainable import BY_DRAWS, require_attainable, told_by_draws
from rayfe.trajectory.chart import Goal
from rayfe.trajectory.course import Course
from rayfe.trajectory.draws import BOUND, Limit, Sets, needed, sets_of
from rayfe.trajectory.first_equilibrium import read_start, start_equilibrium
from rayfe.trajectory.step import Candidate, take_step
from rayfe.trajectory.walk_state import Steps, WalkState

GROWTH = 1.3
"""Largest growth of the radius from one step to the next."""
LARGEST_RADIUS = 0.5
"""Largest change of a log multiplier in one step."""
FARTHEST = 1e3
"""Factor by which a multiplier may leave the start's before the wanted point counts as unreachable."""
ALONE = {"R": Held(R=1.0), "D": Held(D=1.0), "C": Held(C=1.0)}


def scale_of(value: float) -> float:
    """What a miss of a wanted value is a part of: the value, or a nat where it is not positive, as D of a density may be."""
    return value if value > 0.0 else 1.0


@dataclass(frozen=True, slots=True)
class Wanted(Conditions):
    """Two functionals with wanted values; both multipliers settle them."""

    values: tuple[tuple[str, float], ...]
    moved_by = ("gamma", "lam")

    @property
    def held(self) -> tuple[Held, ...]:
        return tuple(ALONE[name] for name, _ in self.values)

    def misses(self, reading: Reading) -> np.ndarray:
        """(2,): (value - wanted) / scale of each."""
        return np.array([getattr(reading, name) - value for name, value in self.values]) / self.scales

    @property
    def scales(self) -> np.ndarray:
        """(2,): what the misses are parts of."""
        return np.array([scale_of(value) for _, value in self.values])

    def towards(self, point: Point, response: Response, misses: np.ndarray, radius: float) -> Point | None:
        """Newton's step in logarithms of the multipliers, each at most `radius`; None where Hess F says nothing.

        With wanted D and C it is the one that maximises the concave F - lam D - gamma C; R enters by the first law.
        """
        jacobian = np.array(held_jacobian(self, point, response)) * np.array([point.gamma, point.lam]) / self.scales[:, None]
        if not np.isfinite(jacobian).all() or np.linalg.matrix_rank(jacobian, tol=1e-9) < 2:
            return None
        step = np.linalg.solve(jacobian, -misses)
        step *= min(1.0, radius / float(np.abs(step).max()))
        return dataclasses.replace(point, lam=point.lam * math.exp(step[1]), gamma=point.gamma * math.exp(step[0]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Sought(Goal):
    """The wanted values, each of which may be off by `tolerance` of its scale."""

    wanted: Wanted
    tolerance: float

    @property
    def conditions(self) -> Wanted:
        return self.wanted

    @property
    def limits(self) -> tuple[Limit, ...]:
        values = zip(self.wanted.held, self.wanted.values, strict=True)
        return tuple(Limit(held=held, allowed=self.tolerance * scale_of(value)) for held, (_, value) in values)

    def limits_at(self, start: Reading) -> tuple[Limit, ...]:
        """The same if the values of `start` were wanted: by how many parts of themselves the draws put R, D and C off is much the same
        everywhere, by how much is not."""
        return tuple(Limit(held=held, allowed=self.tolerance * scale_of(held.of(start))) for held in self.wanted.held)

    @property
    def most(self) -> Sets:
        """BOUND of those that make a difference: R needs no draws."""
        reads_C, reads_D = (any(getattr(held, name) for held in self.wanted.held) for name in ("C", "D"))
        return Sets(head=BOUND.head if reads_C else 1, decoder=BOUND.decoder if reads_D else 1)

    def targets(self, sets: Sets) -> tuple[float, ...]:
        """The same whatever the draws: a wanted value has no noise."""
        return tuple(value for _, value in self.wanted.values)

    def misses(self, reading: Reading) -> tuple[Miss, ...]:
        errors = [getattr(reading, f"{name}_se") / scale_of(value) for name, value in self.wanted.values]
        values = self.wanted.misses(reading).tolist()
        return tuple(
            Miss(value=value, error=error, tolerance=self.tolerance) for value, error in zip(values, errors, strict=True)
        )

    def worst(self, reading: Reading) -> Miss:
        """The larger miss of the two."""
        return max(self.misses(reading), key=lambda miss: abs(miss.value))


class SeekCourse(Course):
    """Newton's method on the surface, from one start, by equilibrated stencils and settles in both multipliers.

    Every step has a stencil of its own: with a carried response Newton's direction led away again.

    A step that does not come nearer is rejected, and the next one may move half as far, with twice the draws if those may be why; after a
    training that diverged it also has half the learning rate.
    """

    def attempt(self, state: WalkState) -> Steps:
        return next_step(state) if state.accepted else first_step(state)

    def arrived(self, state: WalkState) -> str | None:
        """`reached` if both wanted values surely are there within the tolerance."""
        return "reached" if all_pass(sought(state.config).misses(reading_in(state.last))) else None

    def done(self, state: WalkState) -> float:
        return 1.0 if self.arrived(state) else 0.0


def first_step(state: WalkState) -> Steps:
    """The start's own equilibrium."""
    config, goal = state.config, sought(state.config)
    work, point = state.begin(Kind.START), state.start.point
    started = yield from start_equilibrium(config, work, point, state.weights, moved_by=goal.wanted.moved_by)
    sets = needed(goal.limits_at(started.centre), started.centre, Sets())
    tested = yield from read_start(config, work, point, started, sets=sets, splits=state.judged)
    observed = _with_miss(tested.observed, goal.worst(tested.held))
    first = Judgement(accepted=True, reason=None, next_length=config.asked.step_length)
    carried = Carried(tangents=started.chart.tangents, preconditioner=started.chart.preconditioner)
    return state.left_behind(work, point, Outcome.OK, first, observed, weights=tested.state, carried=carried)


def next_step(state: WalkState) -> Steps:
    """A step towards the wanted point, or the stop that there is instead of it.

    Raises:
        WalkFailed: the draws do not tell whether a point is nearer.
    """
    last, config, goal = state.last, state.config, sought(state.config)
    if len(state.accepted) == 1:
        require_attainable(config, goal.limits_at(reading_in(last)), reading_in(last), sets_of(last))
    here, radius = last.point, state.rows[-1].next_step_length or config.asked.step_length
    aim = goal.wanted.towards(here, response_in(last), goal.wanted.misses(reading_in(last)), radius)
    if aim is None:
        return state.stop(here, "singular", Outcome.SINGULAR)
    away = max(abs(math.log(aim.lam / state.start.lam)), abs(math.log(aim.gamma / state.start.gamma)))
    too_short = radius < shortest_step(config.asked.step_length, config.asked.step_length_first)
    if too_short and (told := _told_by_draws(state, goal)):
        raise WalkFailed(f"step {last.step + 1}: {told}")
    if too_short or away > math.log(FARTHEST):
        return state.stop(aim, "unreachable", Outcome.OK)
    work = state.begin(Kind.STEP)
    found = yield from take_step(
        config,
        work,
        aim,
        state.chart(state.model),
        goal,
        sets=_draws_of(state, goal),
        refresh=True,
        moves=0,
        splits=state.judged,
        observed=Observed(step_length=radius),
    )
    return _judged(state, work, goal, found, radius)


def _judged(state: WalkState, work: Work, goal: Sought, found: Candidate, radius: float) -> Commit:
    """What a step of at most this `radius` leaves behind: accepted if it comes nearer, or arrives."""
    shorter = Judgement(accepted=False, reason=str(found.outcome).lower(), next_length=0.5 * radius)
    if found.train is None or found.chart is None:
        return state.left_behind(work, found.point, found.outcome, shorter, found.observed)
    worst = goal.worst(found.train)
    nearer = abs(worst.value) < abs(number(state.last.held_drift))
    judgement = Judgement(accepted=True, reason=None, next_length=min(LARGEST_RADIUS, GROWTH * radius))
    if not (nearer or all_pass(goal.misses(found.train))):
        judgement = dataclasses.replace(shorter, reason="not_nearer")
    carried = Carried(tangents=found.chart.tangents, preconditioner=found.chart.preconditioner)
    observed = _with_miss(found.observed, worst)
    return state.left_behind(work, found.point, found.outcome, judgement, observed, weights=found.state, carried=carried)


def _with_miss(observed: Observed, worst: Miss) -> Observed:
    """And the larger miss of the two, in parts of its scale, with its error from the draws."""
    return dataclasses.replace(observed, held_drift=worst.value, held_drift_se=worst.error)


def _told_by_draws(state: WalkState, goal: Sought) -> str | None:
    """What to do if the last attempt may have arrived."""
    row = state.rows[-1]
    misses = () if row.held_drift is None else goal.misses(reading_in(row))
    return told_by_draws(state.config, row, reading_in(state.first), goal.limits, misses)


def _draws_of(state: WalkState, goal: Sought) -> Sets:
    """Draws of the next attempt: as many as the last accepted row had, and twice as many after each rejection that they may explain."""
    sets = sets_of(state.last)
    for row in history.attempts(state.rows):
        if row.held_drift is None or row.held_drift_se is None:
            continue
        miss = Miss(value=row.held_drift, error=row.held_drift_se, tolerance=goal.tolerance)
        if row.reason in BY_DRAWS and miss.may_hold:
            sets = sets.doubled(goal.most)
    return sets


def sought(config: RunConfig) -> Sought:
    """What a configuration seeks."""
    return Sought(wanted=Wanted(config.asked.wanted), tolerance=config.asked.tolerance)
