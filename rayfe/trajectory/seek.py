"""Seeking a point of the surface: multipliers at which two of R, D and C have wanted values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rayfe.config import RunConfig
from rayfe.records import Commit, Held, Outcome, Point, Reading, Response, StepRecord
from rayfe.rows import Work, number, reading_in, response_in, step_record
from rayfe.surface.process import Conditions, held_jacobian
from rayfe.surface.stepper import Verdict
from rayfe.trajectory import history
from rayfe.trajectory.base import Steps, Trajectory
from rayfe.trajectory.chart import Aims, carried_tangents
from rayfe.trajectory.start import start_equilibrium
from rayfe.trajectory.step import Candidate, Chart, take_step
from rayfe.weights import pack, unpack, without

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

    @property
    def aims(self) -> Aims:
        targets = tuple(value for _, value in self.values)
        return Aims(process=self, targets=targets, scales=targets)

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


class Seek(Trajectory):
    """Newton's method on the surface, from one start, by equilibrated stencils and settles in both multipliers.

    Every step has a stencil of its own: with a carried response Newton's direction led away again.

    A step that does not come nearer is rejected, and the next one may move half as far; after a training that diverged it also has half
    the learning rate.
    """

    @property
    def _wanted(self) -> Wanted:
        return Wanted(self._config.wanted)

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
        started = yield from start_equilibrium(self._paper, work, point, moved_by=self._wanted.moved_by, splits=self._judged)
        columns = started.columns | {"process": "seek"} | self._miss_columns(started.held)
        verdict = Verdict(accepted=True, reason=None, next_length=self._config.step_length)
        carry = pack(**started.chart.tangents, preconditioner=started.chart.preconditioner)
        return self._commit(work, point, Outcome.OK, verdict, columns, accepted_state=started.state, carry=carry)

    def _next_step(self) -> Steps:
        last, config = self.accepted[-1], self._config
        work, here = Work(self._key(last.step + 1)), Point(lam=last.lam, gamma=last.gamma)
        radius = self._rows[-1].next_step_length or config.step_length
        aim = self._wanted.towards(here, response_in(last), self._wanted.misses(reading_in(last)), radius)
        if aim is None:
            return self._stop(work, here, "singular", Outcome.SINGULAR)
        away = max(abs(math.log(aim.lam / self.start.lam)), abs(math.log(aim.gamma / self.start.gamma)))
        if radius < config.step_length_min or away > math.log(FARTHEST):
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
        aims, splits = self._wanted.aims, self._judged
        found = yield from take_step(self._paper, work, aim, chart, aims, refresh=True, moves=0, splits=splits)
        return self._judged_commit(work, found, radius)

    def _judged_commit(self, work: Work, found: Candidate, radius: float) -> Commit:
        last, growth = self.accepted[-1], self._config.step_growth
        columns = found.columns | {"process": "seek", "step_length": radius}
        shorter = Verdict(accepted=False, reason=str(found.outcome).lower(), next_length=0.5 * radius)
        if found.train is None or found.chart is None:
            return self._commit(work, found.point, found.outcome, shorter, columns, accepted_state=None, carry=None)
        columns |= self._miss_columns(found.train)
        nearer = abs(columns["held_drift"]) < abs(number(last.held_drift))
        longer = min(LARGEST_RADIUS, growth * radius)
        verdict = Verdict(accepted=True, reason=None, next_length=longer)
        if not nearer and reached_by(self._config, columns["held_drift"]) is None:
            verdict = dataclasses.replace(shorter, reason="not_nearer")
        carry = pack(**found.chart.tangents, preconditioner=found.chart.preconditioner)
        return self._commit(work, found.point, found.outcome, verdict, columns, accepted_state=found.state, carry=carry)

    def _miss_columns(self, train: Reading) -> dict[str, Any]:
        """The larger miss of the two, relative to what is wanted, and its error from the draws."""
        misses = self._wanted.misses(train)
        worst = int(np.abs(misses).argmax())
        name, value = self._wanted.values[worst]
        return {"held_drift": float(misses[worst]), "held_drift_se": getattr(train, f"{name}_se") / value}

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
    """ "reached" if both wanted values are there within the tolerance, None before it."""
    return reached_by(config, number(row.held_drift))


def reached_by(config: RunConfig, miss: float) -> str | None:
    return "reached" if abs(miss) <= config.tolerance else None
