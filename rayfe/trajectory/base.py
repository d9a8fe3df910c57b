"""A trajectory as an ask/tell machine: its rows so far, and an attempt at the next one. No torch, no Ray, no IO.

`attempt()` is a generator: it yields requests, is sent their answers, and returns what the attempted step leaves
behind. Whoever drives it (`driver`, a notebook, a test) decides where requests are answered.
"""

from __future__ import annotations

import abc
from collections.abc import Generator, Sequence
from typing import Any

from rayfe.config import RunConfig, Start
from rayfe.data.truth import Truth
from rayfe.records import (
    Answer,
    Commit,
    Outcome,
    Point,
    Request,
    Split,
    StepKey,
    StepRecord,
    Weights,
)
from rayfe.records.columns import Work, step_record
from rayfe.surface.step_control import STOPS, Verdict

Steps = Generator[Request, Answer | None, Commit]


class Trajectory(abc.ABC):
    """Attempted steps from one start.

    `rows` are the attempted steps so far; `state` and `carry` are the weights of the last accepted one and what
    it left for the next. Together they define everything that follows. `truth` is the exact surface, where the data set knows it.
    """

    def __init__(
        self,
        config: RunConfig,
        start: Start,
        rows: Sequence[StepRecord],
        *,
        state: Weights | None,
        carry: Weights,
        truth: Truth | None = None,
    ) -> None:
        self.start = start
        self._config = config
        self._rows = list(rows)
        self._state = state
        self._carry = carry
        self._truth = truth

    @property
    def rows(self) -> tuple[StepRecord, ...]:
        """All attempted steps so far."""
        return tuple(self._rows)

    @property
    def accepted(self) -> list[StepRecord]:
        return [row for row in self._rows if row.accepted]

    @property
    def seconds(self) -> float:
        return self._rows[-1].seconds if self._rows else 0.0

    @property
    def finished(self) -> str | None:
        """Why there is no further step: a named stop, the process's end, `steps` or `time`; None while there is one."""
        if not self._rows:
            return None
        if self._rows[-1].reason in STOPS:
            return self._rows[-1].reason
        if self.accepted and (end := self._end(self.accepted)):
            return end
        if len(self.accepted) > self._config.steps:
            return "steps"
        if self._config.time_budget is not None and self.seconds >= self._config.time_budget:
            return "time"
        return None

    @abc.abstractmethod
    def _end(self, accepted: Sequence[StepRecord]) -> str | None:
        """The name of the end that the last of the accepted steps arrived at; None before it."""

    @abc.abstractmethod
    def attempt(self) -> Steps:
        """Requests of the next attempted step; returns its Commit.

        Raises:
            WalkFailed: the first equilibrium diverged, or steps became too short (`surface.step_control.shortest_step`).
        """

    def committed(self, record: StepRecord, commit: Commit) -> None:
        """Take note that the step is stored."""
        self._rows.append(record)
        if record.accepted:
            self._state, self._carry = commit.state, commit.carry or {}

    @property
    def _here(self) -> Point:
        last = self.accepted[-1]
        return Point(lam=last.lam, gamma=last.gamma, t=last.t)

    # --- parts --------------------------------------------------------------------------------------------------------

    def _key(self, step: int) -> StepKey:
        """Names the next attempt at `step`."""
        attempts = sum(row.step == step for row in self._rows)
        return StepKey(trajectory=self.start.name, seed=self.start.seed, step=step, attempt=attempts)

    @property
    def _judged(self) -> tuple[Split, ...]:
        """Splits on which a step's model is read at last."""
        target = () if self._config.path.target is None else (Split.TARGET,)
        return tuple(dict.fromkeys((Split.TRAIN, Split.VALIDATION, *target, self._config.held_on)))

    def _commit(
        self,
        work: Work,
        point: Point,
        outcome: Outcome,
        verdict: Verdict,
        columns: dict[str, Any],
        *,
        accepted_state: Weights | None,
        carry: Weights | None,
    ) -> Commit:
        if self._truth is not None and verdict.accepted:
            columns = {**columns, **self._truth.columns(point.lam, point.gamma, columns.get("C_target"))}
        record = step_record(
            work.key,
            point=point,
            outcome=outcome,
            accepted=verdict.accepted,
            reason=verdict.reason,
            next_step_length=verdict.next_length,
            examples=self._examples + work.examples,
            **columns,
        )
        if not verdict.accepted:
            return Commit(record=record, readings=work.readings, state=None, carry=None)
        return Commit(record=record, readings=work.readings, state=accepted_state, carry=carry)

    @property
    def _examples(self) -> float:
        return self._rows[-1].examples if self._rows else 0.0
