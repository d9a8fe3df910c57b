"""Seeking a point of the surface: multipliers at which two of R, D and C have wanted values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rayfe.config import RunConfig
from rayfe.exceptions import WalkFailed
from rayfe.records import Commit, Held, Outcome, Point, Reading, Response, StepRecord
from rayfe.records.columns import Work, number, reading_in, response_in, step_record
from rayfe.records.weights import pack, unpack, without
from rayfe.surface.equivalence import Miss, all_pass
from rayfe.surface.process import Conditions, held_jacobian
from rayfe.surface.step_control import Verdict, shortest_step
from rayfe.trajectory import history
from rayfe.trajectory.attainable import BY_DRAWS, require_attainable, told_by_draws
from rayfe.trajectory.base import Steps, Trajectory
from rayfe.trajectory.chart import Goal, carried_tangents
from rayfe.trajectory.draws import BOUND, Limit, Sets, needed, sets_of
from rayfe.trajectory.first_equilibrium import read_start, start_equilibrium
from rayfe.trajectory.step import Candidate, Chart, take_step

GROWTH = 1.3
"""Largest growth of the radius from one step to the next."""
LARGEST_RADIUS = 0.5
"""Largest change of a log multiplier in one step."""
FARTHEST = 1e3
"""Factor by which a multiplier may leave the start's before the wanted point counts as unreachable."""


@dataclass(frozen=True, slots=True)
class Wanted(Conditions):
    """Two functionals with wanted values; both multipliers settle them."""

    values: tuple[tuple[str, float], ...]
    moved_by = ("gamma", "lam")

    @property
    def held(self) -> tuple[Held, ...]:
        return tuple(Held(**{name: 1.0}) for name, _ in self.values)

    def misses(self, reading: Reading) -> np.ndarray:
        """(2,): value / wanted - 1 of each."""
        return np.array([getattr(reading, name) / value - 1.0 for name, value in self.values])

    def towards(self, point: Point, response: Response, misses: np.ndarray, radius: float) -> Point | None:
        """Newton's step in logarithms of the multipliers, each at most `radius`; None where Hess F says nothing.

        With wanted D and C it is the one that maximises the concave F - lam D - gamma C; R enters by the first law.
        """
        scales = np.array([value for _, value in self.values])
        jacobian = np.array(held_jacobian(self, point, response)) * np.array([point.gamma, point.lam]) / scales[:, None]
        if not np.isfinite(jacobian).all() or np.linalg.matrix_rank(jacobian, tol=1e-9) < 2:
            return None
        step = np.linalg.solve(jacobian, -misses)
        step *= min(1.0, radius / float(np.abs(step).max()))
        return Point(lam=point.lam * math.exp(step[1]), gamma=point.gamma * math.exp(step[0]), t=point.t)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sought(Goal):
    """The wanted values, each of which may be off by `tolerance` of itself."""

    wanted: Wanted
    tolerance: float

    @property
    def conditions(self) -> Wanted:
        return self.wanted

    @property
    def limits(self) -> tuple[Limit, ...]:
        values = zip(self.wanted.held, self.wanted.values, strict=True)
        return tuple(Limit(held=held, allowed=self.tolerance * value) for held, (_, value) in values)

    def limits_at(self, start: Reading) -> tuple[Limit, ...]:
        """The same if the values of `start` were wanted: by how many parts of themselves the draws put R, D and C off is much the same
        everywhere, by how much is not."""
        return tuple(Limit(held=held, allowed=self.tolerance * held.of(start)) for held in self.wanted.held)

    @property
    def most(self) -> Sets:
        """BOUND of those that make a difference: R needs no draws."""
        reads_C, reads_D = (any(getattr(held, name) for held in self.wanted.held) for name in ("C", "D"))
        return Sets(head=BOUND.head if reads_C else 1, decoder=BOUND.decoder if reads_D else 1)

    def targets(self, sets: Sets) -> tuple[float, ...]:
        """The same whatever the draws: a wanted value has no noise."""
        return tuple(value for _, value in self.wanted.values)

    def misses(self, reading: Reading) -> tuple[Miss, ...]:
        errors = [getattr(reading, f"{name}_se") / value for name, value in self.wanted.values]
        values = self.wanted.misses(reading).tolist()
        return tuple(
            Miss(value=value, error=error, tolerance=self.tolerance) for value, error in zip(values, errors, strict=True)
        )


class Seek(Trajectory):
    """Newton's method on the surface, from one start, by equilibrated stencils and settles in both multipliers.

    Every step has a stencil of its own: with a carried response Newton's direction led away again.

    A step that does not come nearer is rejected, and the next one may move half as far, with twice the draws if those may be why; after a
    training that diverged it also has half the learning rate.
    """

    @property
    def _goal(self) -> Sought:
        return sought(self._config)

    @property
    def _wanted(self) -> Wanted:
        return self._goal.wanted

    @property
    def _paper(self) -> RunConfig:
        """Both multipliers move, so the stencil has neighbours in both."""
        return dataclasses.replace(self._config, stencil="paper")

    def _end(self, accepted: Sequence[StepRecord]) -> str | None:
        return reached(self._config, accepted[-1])

    def attempt(self) -> Steps:
        return self._next_step() if self.accepted else self._first_step()

    def _first_step(self) -> Steps:
        work, point = Work(self._key(0)), Point(lam=self.start.lam, gamma=self.start.gamma)
        started = yield from start_equilibrium(self._paper, work, point, moved_by=self._wanted.moved_by)
        sets = needed(self._goal.limits_at(started.centre), started.centre, Sets())
        tested = yield from read_start(self._paper, work, point, started, sets=sets, splits=self._judged)
        columns = started.columns | tested.columns | {"process": "seek"} | self._miss_columns(tested.held)
        verdict = Verdict(accepted=True, reason=None, next_length=self._config.step_length)
        carry = pack(**started.chart.tangents, preconditioner=started.chart.preconditioner)
        return self._commit(work, point, Outcome.OK, verdict, columns, accepted_state=tested.state, carry=carry)

    def _next_step(self) -> Steps:
        last, config = self.accepted[-1], self._config
        if len(self.accepted) == 1:
            require_attainable(config, self._goal.limits_at(reading_in(last)), reading_in(last), sets_of(last))
        work, here = Work(self._key(last.step + 1)), Point(lam=last.lam, gamma=last.gamma)
        radius = self._rows[-1].next_step_length or config.step_length
        aim = self._wanted.towards(here, response_in(last), self._wanted.misses(reading_in(last)), radius)
        if aim is None:
            return self._stop(work, here, "singular", Outcome.SINGULAR)
        away = max(abs(math.log(aim.lam / self.start.lam)), abs(math.log(aim.gamma / self.start.gamma)))
        too_short = radius < shortest_step(config.step_length, config.step_length_first)
        if too_short and (told := self._told_by_draws()):
            raise WalkFailed(f"step {work.key.step}: {told}")
        if too_short or away > math.log(FARTHEST):
            return self._stop(work, aim, "unreachable", Outcome.OK)
        assert self._state is not None
        left = unpack(self._carry, "preconditioner")
        if history.diverged(self._rows[-1]):
            left = without(left, "ahead")
        chart = Chart(
            weights=self._state,
            tangents=carried_tangents(self._carry),
            response=response_in(last),
            response_age=last.response_age or 0,
            preconditioner=left or None,
            rate=history.rate(self._rows),
        )
        sets, splits = self._sets(), self._judged
        found = yield from take_step(self._paper, work, aim, chart, self._goal, sets=sets, refresh=True, moves=0, splits=splits)
        return self._judged_commit(work, found, radius)

    def _judged_commit(self, work: Work, found: Candidate, radius: float) -> Commit:
        last = self.accepted[-1]
        columns = found.columns | {"process": "seek", "step_length": radius}
        shorter = Verdict(accepted=False, reason=str(found.outcome).lower(), next_length=0.5 * radius)
        if found.train is None or found.chart is None:
            return self._commit(work, found.point, found.outcome, shorter, columns, accepted_state=None, carry=None)
        columns |= self._miss_columns(found.train)
        there = all_pass(self._goal.misses(found.train))
        nearer = abs(columns["held_drift"]) < abs(number(last.held_drift))
        longer = min(LARGEST_RADIUS, GROWTH * radius)
        verdict = Verdict(accepted=True, reason=None, next_length=longer)
        if not (nearer or there):
            verdict = dataclasses.replace(shorter, reason="not_nearer")
        carry = pack(**found.chart.tangents, preconditioner=found.chart.preconditioner)
        return self._commit(work, found.point, found.outcome, verdict, columns, accepted_state=found.state, carry=carry)

    def _miss_columns(self, train: Reading) -> dict[str, Any]:
        """The larger miss of the two, relative to what is wanted, and its error from the draws."""
        worst = max(self._goal.misses(train), key=lambda miss: abs(miss.value))
        return {"held_drift": worst.value, "held_drift_se": worst.error}

    def _miss_in(self, row: StepRecord) -> Miss | None:
        """The larger miss, as a row has it; None where it was not read."""
        if row.held_drift is None or row.held_drift_se is None:
            return None
        return Miss(value=row.held_drift, error=row.held_drift_se, tolerance=self._config.tolerance)

    def _told_by_draws(self) -> str | None:
        """What to do if the last attempt may have arrived."""
        row = self._rows[-1]
        misses = () if row.held_drift is None else self._goal.misses(reading_in(row))
        return told_by_draws(self._config, row, self._wanted.held, misses)

    def _sets(self) -> Sets:
        """Draws of the next attempt: as many as the last accepted row had, and twice as many after each rejection that they may
        explain."""
        sets = sets_of(self.accepted[-1])
        for row in history.attempts(self._rows):
            miss = self._miss_in(row)
            if row.reason in BY_DRAWS and miss is not None and miss.may_hold:
                sets = sets.doubled(self._goal.most)
        return sets

    def _stop(self, work: Work, point: Point, name: str, outcome: Outcome) -> Commit:
        record = step_record(
            work.key,
            point=point,
            process="seek",
            accepted=False,
            outcome=outcome,
            reason=name,
            examples=self._examples,
        )
        return Commit(record=record, readings=(), state=None, carry=None)


def reached(config: RunConfig, row: StepRecord) -> str | None:
    """ "reached" if both wanted values surely are there within the tolerance, None before it."""
    return "reached" if all_pass(sought(config).misses(reading_in(row))) else None


def sought(config: RunConfig) -> Sought:
    """What a configuration seeks."""
    return Sought(wanted=Wanted(config.wanted), tolerance=config.tolerance)
