"""Whether what a walk held is worth holding: a start at chance, and validation that got worse meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from rayfe.results.frames import held_loss, numbers
from rayfe.surface.chance import what_to_raise

WORSE_ACCURACY = 0.005
"""Fall of validation accuracy that is said."""
WORSE = 2.0
"""Standard errors over validation examples by which validation C must have risen to be said."""


def start_columns(steps: pd.DataFrame) -> dict[str, float]:
    """What the start of a trajectory has learnt: the loss that is held, and what that is for guessing, after so many updates."""
    held = {"C0": float(held_loss(steps)[0]) if len(steps) else np.nan}
    return held | {name: numbers(steps, name)[0] if len(steps) else np.nan for name in ("label_entropy", "first_updates")}


def at_chance(line: Mapping[str, Any]) -> str:
    """Of a start that ended so: that there is nothing to hold, and what to do."""
    updates = None if np.isnan(line["first_updates"]) else int(line["first_updates"])
    guess = "" if np.isnan(line["label_entropy"]) else f", where guessing has {line['label_entropy']:.3g}"
    return (
        f"nothing to hold: C0 is {line['C0']:.3g} nats{guess}, and R {line['R_start']:.2g} nats; "
        f"{what_to_raise(gamma=line['gamma_start'], updates=updates)}; ended: at_chance"
    )


def worsened(line: Mapping[str, Any]) -> str:
    """That validation got worse while the loss of other images was held, with both numbers; empty where it did not, or is not known."""
    error = float(np.hypot(line["val_C_se_start"], line["val_C_se_end"]))
    risen = line["val_C_end"] - line["val_C_start"] > WORSE * error
    fallen = line["val_accuracy_start"] - line["val_accuracy_end"] > WORSE_ACCURACY
    if not (risen or fallen):
        return ""
    held = "training C" if np.isnan(line["control_C_end"]) else "C of the control split"
    C = " -> ".join(f"{line[f'val_C_{side}']:.3g}" for side in ("start", "end"))
    accuracy = " -> ".join(f"{100 * line[f'val_accuracy_{side}']:.1f}" for side in ("start", "end"))
    also = "" if np.isnan(line["val_accuracy_end"]) else f", accuracy {accuracy} %"
    return f"only {held} is held (validation C {C}{also}): "
