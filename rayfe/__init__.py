"""rayfe drives encoder/decoder/classifier models along the rate-distortion-classification equilibrium surface.

After Gao & Chaudhari, "A Free-Energy Principle for Representation Learning" (2020). `walk` and `transfer` do in Python what
the commands in jobs/ do; `Run`, `load_run` and `load_model` read what both leave.
"""

from __future__ import annotations

import sys

if sys.argv[:1] == ["-m"] and sys.orig_argv[sys.orig_argv.index("-m") + 1 :][:1] == [__name__]:
    # `python -m rayfe` puts the working directory first, where somebody else's run may lie: nothing is imported from there
    del sys.path[: 0 if sys.flags.safe_path else 1]

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rayfe.config import THREADING
from rayfe.config import VERSION as __version__

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from rayfe.data.from_arrays import dataset
    from rayfe.exceptions import UsageError
    from rayfe.records import StepRecord
    from rayfe.run.api import transfer, walk
    from rayfe.run.stored_run import Run

__all__ = [
    "Run",
    "UsageError",
    "__version__",
    "dataset",
    "envelope_excess",
    "error_bars",
    "find_step",
    "load_certificates",
    "load_model",
    "load_run",
    "transfer",
    "walk",
]

for _variable, _value in THREADING.items():  # here, before anything of rayfe imports torch, which reads it then
    os.environ.setdefault(_variable, _value)

_HOMES: Mapping[str, str] = MappingProxyType(
    {
        "Run": "rayfe.run.stored_run",
        "UsageError": "rayfe.config",
        "dataset": "rayfe.data.from_arrays",
        "transfer": "rayfe.run.api",
        "walk": "rayfe.run.api",
    }
)


def __getattr__(name: str) -> Any:
    """Imports what is asked for: torch and pandas take seconds, and nothing here needs both for `import rayfe`."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def load_run(location: str | Path) -> pd.DataFrame:
    """All attempted steps of a run, a row each, by trajectory, step and attempt.

    `location` is the run's folder or its URI; the columns are the fields of `rayfe.records.StepRecord`.

    Raises:
        FileNotFoundError: there is no run at `location`.
        CorruptFile: a trajectory's rows are damaged.
        StorageError: an OSError; the place may not be read, is away, or is none. It names the fix, here and wherever a place is read.
    """
    from rayfe.storage.store import load_rows

    return load_rows(location)


def error_bars(rows: pd.DataFrame) -> pd.DataFrame:
    """The noise of single steps in the rows of `load_run`, of training and of the draws: see `rayfe.results.error_bars.error_bars`."""
    from rayfe.results.error_bars import error_bars as bars

    return bars(rows)


def load_certificates(location: str | Path) -> pd.DataFrame:
    """All certificates of a run, a row for each certified model and method; the columns are the fields of
    `rayfe.records.CertificateRecord`.

    Raises:
        FileNotFoundError: there is no run at `location`.
        CorruptFile: certificates or rows cannot be read.
    """
    from rayfe.storage.store import load_certificates as load

    return load(location)


def envelope_excess(rows: pd.DataFrame, models: pd.DataFrame | None = None) -> pd.Series:
    """How far F of each accepted row is above the lowest that all `rows` and `models` reach at its multipliers, nats: see
    `rayfe.results.walk_summary.envelope_excess`. It is a lower bound of the distance from equilibrium, by the models that happen
    to be there; `Run.models` has those of certificates and of other runs, too. Column `excess` knows only the models of its
    trajectory that were there before its row."""
    from rayfe.results.walk_summary import envelope_excess as above

    return above(rows, models)


def load_model(
    location: str | Path,
    trajectory: str | None = None,
    step: int | None = None,
    *,
    at: Mapping[str, float] | None = None,
    model: type[nn.Module] | None = None,
) -> nn.Module:
    """The model of an accepted step, in evaluation mode on the CPU: step number `step`, or the one nearest to `at`; without either the
    recommended one, of all trajectories where none is named (`Run.step` has the rule).

    It has `encode(x) -> (mean, log_variance)`, `decode(z) -> x_hat` shaped like x, and `classify(z) -> logits`; x is
    float in [0, 1], (N, features) for an MLP and (N, *input_shape) for every other model. Where the data were rescaled
    (`rayfe.dataset(..., rescale=...)`), x and x_hat are in the units before. `at={"lam": 1.0}` or
    `at={"lam": 1.0, "t": 0.5}` names columns of the rows; of the accepted steps whose weights are stored it takes the one
    where these columns are nearest, each measured in units of its range along the trajectory (`find_step` says which). It warns
    (FarFromWanted) where that is farther off than steps are apart there.
    `model` is the class of the run's models, where the module that run.json names is not loaded: it is not imported because a run
    names it (docs/trust.md).

    Raises:
        FileNotFoundError: there is no run at `location`, or these weights are not kept any more (`--keep-states`).
        UsageError: a ValueError; the run has no such trajectory, accepted step or column, the process keeps such a column constant, both
            `step` and `at` are given, or one of them without `trajectory` where there are several; nothing is to be recommended; or
            the class is not to be found here.
        CorruptFile: the weights are not the ones that the step's row describes.
    """
    from rayfe.results.stored_model import load_model as load

    return load(location, trajectory, step, at=at, model=model)


def find_step(
    location: str | Path, trajectory: str | None = None, step: int | None = None, *, at: Mapping[str, float] | None = None
) -> StepRecord:
    """The row of the step that `load_model` takes for the same arguments: `find_step(...).step` is its number, `.C` its C.

    Raises as `load_model` does.
    """
    from rayfe.results.stored_model import find_step as find

    return find(location, trajectory, step, at=at)
