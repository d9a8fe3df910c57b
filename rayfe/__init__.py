"""rayfe drives encoder/decoder/classifier models along the rate-distortion-classification equilibrium surface.

After Gao & Chaudhari, "A Free-Energy Principle for Representation Learning" (2020). Runs are made by the commands in
jobs/; `load_run` and `load_model` read what they left.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

__version__ = "0.1.0"
__all__ = ["__version__", "error_bars", "load_model", "load_run"]


def load_run(location: str | Path) -> pd.DataFrame:
    """All attempted steps of a run, a row each, by trajectory, step and attempt.

    `location` is the run's folder or its URI; the columns are the fields of `rayfe.records.StepRecord`.

    Raises:
        FileNotFoundError: there is no run at `location`.
        CorruptFile: a trajectory's rows cannot be read.
    """
    from rayfe.store import load_rows

    return load_rows(location)


def error_bars(rows: pd.DataFrame) -> pd.DataFrame:
    """Standard errors of the rows of `load_run`, the noise of training included: see `rayfe.errors.error_bars`."""
    from rayfe.errors import error_bars as bars

    return bars(rows)


def load_model(
    location: str | Path, trajectory: str, step: int | None = None, *, at: Mapping[str, float] | None = None
) -> nn.Module:
    """The model of an accepted step, in evaluation mode on the CPU: step number `step`, or the one nearest to `at`.

    It has `encode(x) -> (mean, log_variance)`, `decode(z) -> x_hat` shaped like x, and `classify(z) -> logits`; x is
    float in [0, 1], (N, features) for an MLP and (N, *input_shape) for every other model. `at={"C": 0.1}` or
    `at={"lam": 1.0, "t": 0.5}` names columns of the rows; of the accepted steps whose weights are stored it takes the one
    where these columns are nearest, each measured in units of its range along the trajectory.

    Raises:
        FileNotFoundError: there is no run at `location`, or these weights are not kept any more (`--keep-states`).
        ValueError: the run has no such trajectory, accepted step or column, or not exactly one of `step` and `at` is given.
        CorruptFile: the weights are not the ones that the step's row describes.
    """
    from rayfe.stored_model import load_model as load  # torch and pandas take seconds to import: not for `import rayfe`

    return load(location, trajectory, step, at=at)
