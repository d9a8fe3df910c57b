"""How high a model is above others: every one bounds F everywhere, F(lam, gamma) <= R + lam D + gamma C."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rayfe.records import Point, Reading, StepRecord
from rayfe.records.columns import number
from rayfe.surface.envelope import lowest


def bound(model: StepRecord | Reading, point: Point) -> float:
    """J of a measured model at other multipliers, nats."""
    return number(model.R) + point.lam * number(model.D) + point.gamma * number(model.C)


def excess(rows: Sequence[StepRecord], train: Reading) -> float:
    """F of a reading above the envelope of the models of accepted `rows` at the same t, at its own multipliers, nats."""
    point, here = train.point, [row for row in rows if row.t == train.point.t]
    R, D, C = (np.array([getattr(row, name) for row in here], np.float64) for name in ("R", "D", "C"))
    return train.F - min(train.F, float(lowest(np.array([point.lam]), np.array([point.gamma]), R=R, D=D, C=C)[0]))
