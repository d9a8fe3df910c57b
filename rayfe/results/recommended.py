"""Which stored model to take: the recommended row, and the rule that chooses it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rayfe.records import Kind
from rayfe.results.frames import counted_steps, moves_data, numbers

RULE = (
    "Of the accepted steps that count, the one with the lowest loss of the task, C, on validation examples. Of a walk those count that are "
    "lowest in F at their lam, of a transfer those at t = 1, of a seek the one that came nearest."
)
"""By what `recommended` chooses. What a walk holds, all its accepted steps hold within the tolerance, unless it does not settle."""
CAVEAT = (
    "The choice was made by these examples, so on new ones its loss is likely to be a little higher. Steps whose loss is "
    "within its standard error (val_C_se) may be as good: look at their other numbers, too."
)
"""What the rule does not promise, said beside the validation loss."""


def recommended(rows: pd.DataFrame) -> pd.Series | None:
    """The row whose model to take by `RULE`, of all trajectories in `rows` (columns of StepRecord); None where there is none.

    A last training that made validation worse is not it: the step before it counts, too. A start at chance has nothing to offer, and at
    gamma = 0 nothing has trained a classifier.
    """
    counted = _counted(rows)
    worth = counted[(counted["gamma"] > 0.0) & counted["val_C"].notna()]
    return None if worth.empty else worth.iloc[int(np.argmin(numbers(worth, "val_C")))]


def choice(row: pd.Series) -> str:
    """The recommended row in words."""
    error = "" if pd.isna(row["val_C_se"]) else f" ± {row['val_C_se']:.2g}"
    loss = f"the lowest validation C of the steps that count, {row['val_C']:.4g}{error}"
    return f"step {row['step']} of {row['trajectory']}, with {loss}"


def none_because(rows: pd.DataFrame) -> str:
    """Why `recommended` finds nothing in these rows."""
    accepted = rows[rows["accepted"].astype(bool)]
    if accepted.empty:
        return "no step is accepted so far"
    if (furthest := numbers(accepted, "t").max()) < 1.0 and moves_data(rows).any():
        return f"no transfer has arrived at t = 1, the furthest is at t = {furthest:.3g}"
    if accepted["val_C"].isna().all():
        return "no loss on validation examples was read"
    return "no model has learnt to classify"


def _counted(rows: pd.DataFrame) -> pd.DataFrame:
    """The accepted rows that count, of trajectories that have learnt anything."""
    accepted = rows[rows["accepted"].astype(bool)]
    lost = rows.loc[(rows["kind"] == Kind.STOP) & (rows["reason"] == "at_chance"), "trajectory"]
    moves, sought = moves_data(rows)[accepted.index], accepted["process"] == "seek"
    last = accepted["step"] == accepted.groupby("trajectory")["step"].transform("max")
    lowest = accepted.index.isin(counted_steps(accepted[~moves & ~sought]).index)
    return accepted[(lowest | (moves & (accepted["t"] == 1.0)) | (sought & last)) & ~accepted["trajectory"].isin(lost)]
