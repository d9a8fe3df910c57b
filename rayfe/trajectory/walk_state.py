"""A trajectory as it stands between two attempts: its rows, the model of the last accepted one, and all that follows from them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rayfe.config import RunConfig, Start
from rayfe.records import Answer, Commit, Kind, Leg, Outcome, Point, Request, Split, StepKey, StepRecord, Weights
from rayfe.records.carried import Carried
from rayfe.records.columns import Observed, response_in, step_record
from rayfe.records.weights import without
from rayfe.records.work import Work
from rayfe.surface.process import Process
from rayfe.surface.step_control import Judgement
from rayfe.trajectory import history
from rayfe.trajectory.constraint import Holding
from rayfe.trajectory.equilibration import LocalChart
from rayfe.trajectory.round_trip import Way, current_way

if TYPE_CHECKING:
    from rayfe.data.truth import Truth  # imports scipy.optimize: not to look at rows

Steps = Generator[Request, Answer | None, Commit]
"""Requests of one attempt, which is sent their answers and returns what it leaves behind."""


@dataclass(frozen=True, kw_only=True)
class WalkState:
    """What an attempt starts from. What follows from the fields is worked out once, when it is first asked for.

    `weights` are those of the last accepted row, before it those that the trajectory starts from (None: new ones), and `carry` is what
    that row left besides (`records.carried`, stored form). `truth` is the exact
    surface, where the data set knows it. Where only rows are told of, the last three are left out.
    """

    config: RunConfig
    start: Start
    rows: tuple[StepRecord, ...] = ()
    weights: Weights | None = None
    carry: Weights = field(default_factory=dict)
    truth: Truth | None = None

    def after(self, record: StepRecord, commit: Commit) -> WalkState:
        """The state when the row of `commit` is stored."""
        rows = (*self.rows, record)
        if not record.accepted:
            return dataclasses.replace(self, rows=rows)
        return dataclasses.replace(self, rows=rows, weights=commit.state, carry=commit.carry or {})

    # --- what the rows say --------------------------------------------------------------------------------------------

    @functools.cached_property
    def accepted(self) -> tuple[StepRecord, ...]:
        return tuple(row for row in self.rows if row.accepted)

    @property
    def first(self) -> StepRecord:
        """The row of the start."""
        return self.accepted[0]

    @property
    def last(self) -> StepRecord:
        """The last accepted row."""
        return self.accepted[-1]

    @property
    def here(self) -> Point:
        return self.last.point

    @property
    def seconds(self) -> float:
        return self.rows[-1].seconds if self.rows else 0.0

    @property
    def examples(self) -> float:
        return self.rows[-1].examples if self.rows else 0.0

    @functools.cached_property
    def way(self) -> Way:
        """Of a walk: the leg that it is on.

        Raises:
            UsageError: the process cannot be made.
        """
        return current_way(self.config, self.accepted)

    @property
    def leg(self) -> Leg:
        """The leg of the next attempt."""
        return self.way.leg if self.config.asked.both_ways and self.accepted else Leg.THERE

    @property
    def process(self) -> Process:
        """Of a walk: the process that leads along its leg."""
        return self.way.process

    # --- what the last step left --------------------------------------------------------------------------------------

    @functools.cached_property
    def carried(self) -> Carried:
        return Carried.of(self.carry)

    @functools.cached_property
    def holding(self) -> Holding:
        """Of a walk: what it holds."""
        assert self.carried.start is not None
        return Holding(config=self.config, process=self.process, start=self.first, kept=self.carried.start)

    @property
    def model(self) -> Weights:
        """The weights of the last accepted row."""
        assert self.weights is not None
        return self.weights

    @property
    def preconditioner(self) -> Weights | None:
        """What the last training left for the next one; after an attempt that diverged without how far its last iterate was ahead, which
        led over an edge."""
        left = self.carried.preconditioner or {}
        return (without(left, "ahead") if history.diverged(self.rows[-1]) else left) or None

    def chart(self, weights: Weights) -> LocalChart:
        """The model that the next training starts from, with the response and tangents that the last step left."""
        return LocalChart(
            weights=weights,
            tangents=self.carried.tangents,
            response=response_in(self.last),
            response_age=self.last.response_age or 0,
            preconditioner=self.preconditioner,
            rate=history.rate(self.rows),
        )

    # --- the attempt --------------------------------------------------------------------------------------------------

    def begin(self, kind: Kind) -> Work:
        """The next attempt, which is the first one or another one at the step after the last accepted one."""
        step = self.last.step + 1 if self.accepted else 0
        attempts = sum(row.step == step for row in self.rows)
        key = StepKey(trajectory=self.start.name, seed=self.start.seed, step=step, attempt=attempts)
        return Work(key, kind=kind, leg=self.leg)

    @property
    def judged(self) -> tuple[Split, ...]:
        """Splits on which a step's model is read at last."""
        target = () if self.config.path.target is None else (Split.TARGET,)
        return tuple(dict.fromkeys((Split.TRAIN, Split.VALIDATION, *target, self.config.held_on)))

    def left_behind(
        self,
        work: Work,
        point: Point,
        outcome: Outcome,
        judgement: Judgement,
        observed: Observed,
        *,
        weights: Weights | None = None,
        carried: Carried | None = None,
    ) -> Commit:
        """What the attempt `work` leaves behind at `point`; `weights` and `carried` only if it is accepted."""
        if self.truth is not None and judgement.accepted:
            observed = dataclasses.replace(observed, exact=self.truth.at(point.lam, point.gamma, observed.C_target))
        record = step_record(
            work.key,
            observed,
            kind=work.kind,
            leg=work.leg,
            process=self.process_name,
            point=point,
            outcome=outcome,
            accepted=judgement.accepted,
            reason=judgement.reason,
            next_step_length=judgement.next_length,
            examples=self.examples + work.examples,
        )
        if not judgement.accepted:
            return Commit(record=record, readings=work.readings, state=None, carry=None)
        carry = None if carried is None else carried.stored() or None
        return Commit(record=record, readings=work.readings, state=weights, carry=carry)

    def stop(self, point: Point, name: str, outcome: Outcome, observed: Observed | None = None) -> Commit:
        """What a trajectory leaves that ends by a named stop on its way to `point`: a row that says so."""
        work = self.begin(Kind.STOP)
        found = Judgement(accepted=False, reason=name, next_length=None)
        return self.left_behind(work, point, outcome, found, observed or Observed())

    @property
    def process_name(self) -> str:
        """What rows name as their process."""
        return self.config.method or ("seek" if self.config.asked.seek else self.config.process)
