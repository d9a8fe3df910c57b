"""The lower envelope of stored models: every one bounds F everywhere, F(lam, gamma) <= R + lam D + gamma C."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rayfe.records import Point, Reading, StepRecord, Weights
from rayfe.rows import number


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounding:
    """A stored model: its accepted row, how to get its weights, and the run that it is of (None: the trajectory's own)."""

    row: StepRecord
    weights: Callable[[], Weights]
    run: str | None = None


def bound(model: StepRecord | Reading, point: Point) -> float:
    """J of a measured model at other multipliers, nats."""
    return number(model.R) + point.lam * number(model.D) + point.gamma * number(model.C)


def excess(models: Sequence[Bounding], train: Reading) -> float:
    """F of a reading above the envelope of models at the same multipliers and the same t, nats."""
    bounds = [bound(model.row, train.point) for model in models if model.row.t == train.point.t]
    return train.F - min([train.F, *bounds])


def better_start(models: Sequence[Bounding], last: StepRecord, point: Point, gain: float) -> Bounding | None:
    """The model that is lowest at `point`, if it is lower than that of the row `last` by the part `gain` of F."""
    here = [model for model in models if model.row.t == point.t]
    if not here:
        return None
    lowest, value = min(here, key=lambda model: bound(model.row, point)), bound(last, point)
    return lowest if bound(lowest.row, point) < value - gain * abs(value) else None
