"""What the rows of a trajectory so far say about its next attempt."""

from __future__ import annotations

from collections.abc import Sequence

from rayfe.config import RunConfig
from rayfe.records import Kind, Outcome, StepRecord
from rayfe.records.kinds import STATIONARY

SLOWER = 0.5
"""Factor of the learning rate after a training that diverged."""
RENEWALS = (Kind.RENEWAL, Kind.LEAP)


def diverged(row: StepRecord) -> bool:
    """Whether an attempt at a step, not at a renewal, ended in a numerical failure."""
    return row.kind not in STATIONARY and row.outcome in (str(Outcome.NOT_EQUILIBRATED), str(Outcome.NONFINITE))


def attempts(rows: Sequence[StepRecord]) -> list[StepRecord]:
    """Rejected attempts at the next step, renewals apart: they say nothing about its length."""
    step = _accepted(rows)[-1].step + 1
    return [row for row in rows if row.step == step and row.kind not in STATIONARY]


def rejections(rows: Sequence[StepRecord]) -> int:
    """Their number."""
    return len(attempts(rows))


def rate(rows: Sequence[StepRecord]) -> float:
    """Part of the learning rate for the next attempt: less after each training that diverged, and more again with each step, up
    to all of it."""
    part = 1.0
    for row in rows:
        part = part * SLOWER if diverged(row) else min(1.0, part / SLOWER) if row.accepted else part
    return part


def renewals(rows: Sequence[StepRecord]) -> list[float]:
    """Every lam at which a renewal was tried; of a leap that was given up the one that it began at."""
    accepted = {row.step: row.lam for row in _accepted(rows)}
    tried = [row for row in rows if row.kind in RENEWALS]
    given_up = {row.step - 1: accepted[row.step - 1] for row in tried if not row.accepted}
    kept = {row.step: row.lam for row in tried if row.accepted}
    return [lam for _, lam in sorted((given_up | kept).items())]


def last_training_is_due(rows: Sequence[StepRecord], config: RunConfig) -> bool:
    """Whether a transfer that has arrived trains once more where it is; it is tried once."""
    return config.moves_data and config.path.last_epochs > 0 and all(row.kind != Kind.LAST_TRAINING for row in rows)


def _accepted(rows: Sequence[StepRecord]) -> list[StepRecord]:
    return [row for row in rows if row.accepted]
