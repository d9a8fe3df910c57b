"""The lower envelope of models: each bounds F from above at all multipliers, F(lam, gamma) <= R + lam D + gamma C (+ sigma S)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rayfe.records import Point, Reading, StepRecord
from rayfe.records.columns import number

AT_ONCE = 256
"""Points of which the bounds of all models are in memory together."""


def lowest(
    lam: np.ndarray,
    gamma: np.ndarray,
    sigma: np.ndarray | None = None,
    *,
    R: np.ndarray,
    D: np.ndarray,
    C: np.ndarray,
    S: np.ndarray | None = None,
) -> np.ndarray:
    """The lowest bound of models (R, D, C, S), each (M,), at the multipliers lam, gamma and sigma, each (N,); (N,), nats. Without random
    weights the last of both are left out. Of k losses C is (M, k) and gamma (N, k).

    All models are of one data set, network and t. A model with a NaN bounds nothing; without any the bound is infinite.
    """
    found, losses = np.full(len(lam), np.inf), 1 if gamma.ndim == 1 else gamma.shape[1]
    for start in range(0, len(lam), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        bounds = R + lam[part, None] * D
        for one, loss in zip(gamma[part].reshape(-1, losses).T, C.reshape(-1, losses).T, strict=True):
            bounds = bounds + one[:, None] * loss
        if sigma is not None and S is not None:
            bounds = bounds + sigma[part, None] * S
        found[part] = np.fmin.reduce(bounds, axis=1, initial=np.inf)
    return found


def bound(model: StepRecord | Reading, point: Point) -> float:
    """J of a measured model at other multipliers, nats."""
    J = number(model.R) + point.lam * number(model.D) + point.gamma * number(model.C)
    return J if model.S is None else J + point.sigma * model.S


def excess(rows: Sequence[StepRecord], train: Reading) -> float:
    """F of a reading above the envelope of the models of accepted `rows` at the same t, at its own multipliers, nats."""
    point, here = train.point, [row for row in rows if row.t == train.point.t]
    R, D, C = (
        np.array([getattr(row, name) for row in here], np.float64) for name in ("R", "D", "losses" if train.losses else "C")
    )
    S = np.array([row.S or 0.0 for row in here], np.float64)
    lam, sigma = (np.array([value]) for value in (point.lam, point.sigma))
    gamma = np.array([train.multipliers if train.losses else point.gamma])
    return train.F - min(train.F, float(lowest(lam, gamma, sigma, R=R, D=D, C=C, S=S)[0]))
