"""The lower envelope of stored models: every one bounds F everywhere, F(lam, gamma) <= R + lam D + gamma C."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rayfe.records import Point, Reading, StepRecord, Weights
from rayfe.records.columns import number
from rayfe.surface.envelope import lowest


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
    point, here = train.point, [model.row for model in models if model.row.t == train.point.t]
    R, D, C = (np.array([getattr(row, name) for row in here], np.float64) for name in ("R", "D", "C"))
    return train.F - min(train.F, float(lowest(np.array([point.lam]), np.array([point.gamma]), R=R, D=D, C=C)[0]))


def better_start(models: Sequence[Bounding], last: StepRecord, point: Point, gain: float) -> Bounding | None:
    """The model that is lowest at `point`, if it is lower than that of the row `last` by the part `gain` of F."""
    here = [model for model in models if model.row.t == point.t]
    if not here:
        return None
    lowest, value = min(here, key=lambda model: bound(model.row, point)), bound(last, point)
    return lowest if bound(lowest.row, point) < value - gain * abs(value) else None
