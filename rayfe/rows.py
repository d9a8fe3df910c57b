"""Readings, response and velocity -> the records that are stored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rayfe.records import Outcome, Point, Reading, ReadingRecord, Response, StepKey, StepRecord, Velocity


def step_record(
    key: StepKey,
    *,
    point: Point,
    outcome: Outcome,
    train: Reading | None = None,
    validation: Reading | None = None,
    response: Response | None = None,
    velocity: Velocity | None = None,
    **columns: Any,
) -> StepRecord:
    """A row from what was measured; `columns` are those that are stored as they come. `seconds` is the driver's."""
    if train is not None:
        columns |= {name: getattr(train, name) for name in ("R", "D", "C", "F", "accuracy", "R_se", "D_se", "C_se")}
    if validation is not None:
        columns |= {f"val_{name}": getattr(validation, name) for name in ("R", "D", "C", "accuracy", "C_se")}
    if response is not None:
        names = ("D_lam", "D_gamma", "C_lam", "C_gamma", "C_lam_se", "C_gamma_se", "hess_max_eig", "maxwell_gap")
        columns |= {name: getattr(response, name) for name in names}
    if velocity is not None:
        columns |= {"lam_dot": velocity.lam, "gamma_dot": velocity.gamma}
    return StepRecord(
        trajectory=key.trajectory,
        step=key.step,
        attempt=key.attempt,
        seed=key.seed,
        outcome=str(outcome),
        lam=point.lam,
        gamma=point.gamma,
        t=point.t,
        seconds=0.0,
        **columns,
    )


def reading_records(
    key: StepKey, readings: Iterable[Reading], *, first: bool, replica: str | None = None
) -> tuple[ReadingRecord, ...]:
    """Rows of readings; `replica` renames them."""
    return tuple(
        ReadingRecord(
            trajectory=key.trajectory,
            step=key.step,
            attempt=key.attempt,
            replica=replica or reading.replica,
            split=str(reading.split),
            update=reading.update,
            first=first,
            lam=reading.point.lam,
            gamma=reading.point.gamma,
            t=reading.point.t,
            R=reading.R,
            D=reading.D,
            C=reading.C,
            F=reading.F,
            accuracy=reading.accuracy,
            R_se=reading.R_se,
            D_se=reading.D_se,
            C_se=reading.C_se,
        )
        for reading in readings
    )
