"""Which model of a run to take, where nothing else is asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rayfe.results.frames import counted_steps, moves_data, numbers

RULE = "the lowest classification loss on validation images"
"""By what it is chosen among those that count."""


def recommended(rows: pd.DataFrame) -> pd.Series | None:
    """The accepted row of a run (columns of StepRecord) whose model to take; None where there is none.

    Of a walk the rows on the lowest envelope of F at their lam count, of a transfer those at t = 1, also the one before a last
    training. Of these it is the one with the lowest validation C; without validation C the last.
    """
    if rows.empty:
        return None
    moved = moves_data(rows)
    at_the_end = rows[moved & rows["accepted"].astype(bool) & (rows["t"] == 1.0)]
    found = pd.concat([counted_steps(rows[~moved]), at_the_end]) if moved.any() else counted_steps(rows)
    if found.empty:
        return None
    on_target, at_hand = numbers(found, "target_C"), numbers(found, "val_C")
    loss = np.where(np.isnan(on_target), at_hand, on_target)
    return found.iloc[int(np.nanargmin(loss)) if np.isfinite(loss).any() else -1]
