"""The lower envelope of models: each bounds F from above at all multipliers, F(lam, gamma) <= R + lam D + gamma C."""

from __future__ import annotations

import numpy as np

AT_ONCE = 256
"""Points of which the bounds of all models are in memory together."""


def lowest(lam: np.ndarray, gamma: np.ndarray, *, R: np.ndarray, D: np.ndarray, C: np.ndarray) -> np.ndarray:
    """The lowest bound of models (R, D, C), each (M,), at the multipliers lam and gamma, each (N,); (N,), nats.

    All models are of one data set, network and t. A model with a NaN bounds nothing; without any the bound is infinite.
    """
    found = np.full(len(lam), np.inf)
    for start in range(0, len(lam), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        bounds = R + lam[part, None] * D + gamma[part, None] * C
        found[part] = np.fmin.reduce(bounds, axis=1, initial=np.inf)
    return found
