"""Dimensions of z along a walk: nats of each, where they come in or go out, and the lam from which each carries a signal."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rayfe.records.columns import ACTIVE
from rayfe.results.frames import accepted_steps, numbers

FITTED = (0.05, 0.5)
"""Nats between which a dimension's rate says where it began: less is blurred by training, more is far away."""


def rates_of(steps: pd.DataFrame) -> np.ndarray:
    """Nats of each dimension of z of the accepted rows of one trajectory, (rows, dimensions); NaN where they were not read."""
    read = [row for row in steps["R_dims"] if row is not None] if "R_dims" in steps else []
    if not read:
        return np.full((len(steps), 0), np.nan)
    return np.array([np.full(len(read[0]), np.nan) if row is None else np.asarray(row, float) for row in steps["R_dims"]])


def dimension_events(rows: pd.DataFrame) -> pd.DataFrame:
    """Where a dimension of z came in or went out: a line for each time that it passed ACTIVE nats between two accepted rows.

    Columns: trajectory, step (of the row after it), dimension (from 0), event (in or out), lam and t. These are where the
    dimension had ACTIVE nats if its rate is linear in log lam, and in t, between the rows.
    """
    found = []
    for name, walk in rows.groupby("trajectory", sort=True) if len(rows) else ():
        steps = accepted_steps(walk)
        rates, lam, t = rates_of(steps), np.log(numbers(steps, "lam")), numbers(steps, "t")
        for before, dimension in zip(*np.nonzero((rates[:-1] > ACTIVE) != (rates[1:] > ACTIVE)), strict=True):
            first, last = rates[before, dimension], rates[before + 1, dimension]
            if not np.isfinite(first + last):
                continue
            part = (ACTIVE - first) / (last - first)
            found.append(
                {
                    "trajectory": name,
                    "step": int(steps["step"].iloc[before + 1]),
                    "dimension": int(dimension),
                    "event": "in" if last > first else "out",
                    "lam": float(np.exp(lam[before] + part * (lam[before + 1] - lam[before]))),
                    "t": float(t[before] + part * (t[before + 1] - t[before])),
                }
            )
    return pd.DataFrame(found, columns=["trajectory", "step", "dimension", "event", "lam", "t"])


def thresholds(steps: pd.DataFrame) -> pd.DataFrame:
    """lam_i of R_i = log(lam / lam_i) / 2, fitted to the accepted rows of one trajectory, whose dimension i had FITTED nats.

    Without labels this is reverse water-filling, lam_i = 1 / (2 s_i) for an eigenvalue s_i of the covariance. Columns: dimension,
    lam, rows (used by the fit) and scatter (standard deviation of log lam_i over them); in order of lam.
    """
    rates, lam = rates_of(steps), numbers(steps, "lam")
    found = []
    for dimension in range(rates.shape[1]):
        used = (rates[:, dimension] > FITTED[0]) & (rates[:, dimension] < FITTED[1])
        if used.any():
            begins = np.log(lam[used]) - 2.0 * rates[used, dimension]
            fit = {"lam": float(np.exp(begins.mean())), "rows": int(used.sum()), "scatter": float(begins.std())}
            found.append({"dimension": dimension} | fit)
    return pd.DataFrame(found, columns=["dimension", "lam", "rows", "scatter"]).sort_values("lam", ignore_index=True)
