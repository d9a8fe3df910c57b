"""What the rows of a walk or a seek so far say about its next attempt."""

from __future__ import annotations

from collections.abc import Sequence

from rayfe.config import RunConfig
from rayfe.records import Outcome, StepRecord

SLOWER = 0.5
"""Factor of the learning rate after a training that diverged."""


def diverged(row: StepRecord) -> bool:
    """Whether an attempt at a step, not at a renewal, ended in a numerical failure."""
    return not _renewal(row) and row.outcome in (str(Outcome.NOT_EQUILIBRATED), str(Outcome.NONFINITE))


def attempts(rows: Sequence[StepRecord]) -> list[StepRecord]:
    """Rejected attempts at the next step, renewals apart: they say nothing about its length."""
    step = _accepted(rows)[-1].step + 1
    return [row for row in rows if row.step == step and not _renewal(row)]


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
    given_up = {row.step - 1: accepted[row.step - 1] for row in rows if _renewal(row)}
    kept = {row.step: row.lam for row in _accepted(rows) if row.step_length == 0.0}
    return [lam for _, lam in sorted((given_up | kept).items())]


def last_training_is_due(rows: Sequence[StepRecord], config: RunConfig) -> bool:
    """Whether a transfer that has arrived trains once more where it is; it is tried once."""
    arrived = _accepted(rows)[-1]
    tried = arrived.step_length == 0.0 or rows[-1].step > arrived.step
    return config.moves_data and config.path.last_epochs > 0 and not tried


def _accepted(rows: Sequence[StepRecord]) -> list[StepRecord]:
    return [row for row in rows if row.accepted]


def _renewal(row: StepRecord) -> bool:
    """Whether it is a renewal that was not kept."""
    return row.reason == "renewal"
