"""The lower envelope of a trajectory's models: every one bounds F everywhere, F(lam, gamma) <= R + lam D + gamma C."""

from __future__ import annotations

from collections.abc import Sequence

from rayfe.records import Point, Reading, StepRecord
from rayfe.rows import number


def bound(row: StepRecord, point: Point) -> float:
    """J of a row's model at other multipliers, nats."""
    return number(row.R) + point.lam * number(row.D) + point.gamma * number(row.C)


def excess(rows: Sequence[StepRecord], train: Reading) -> float:
    """F of a reading above the envelope of accepted rows at the same multipliers and the same t, nats."""
    bounds = [bound(row, train.point) for row in rows if row.t == train.point.t]
    return train.F - min([train.F, *bounds])


def better_start(rows: Sequence[StepRecord], point: Point, gain: float) -> StepRecord | None:
    """The accepted row whose model is lowest at `point`, if it is lower than the last one's by the part `gain` of F."""
    lowest = min((row for row in rows if row.t == point.t), key=lambda row: bound(row, point), default=rows[-1])
    last = bound(rows[-1], point)
    return lowest if bound(lowest, point) < last - gain * abs(last) else None
