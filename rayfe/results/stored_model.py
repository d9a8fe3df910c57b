"""Stored models, by step or by what is wanted of them (`rayfe.load_model`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from rayfe.config import ModelConfig
from rayfe.exceptions import UsageError
from rayfe.model.protocol import build, input_shape
from rayfe.model.scaled import in_units
from rayfe.model.weights import load_weights
from rayfe.records import Point, StepRecord
from rayfe.storage.store import Store
from rayfe.surface.envelope import bound

__all__ = ["find_row", "find_step", "load_model", "model_of"]

WANTED = ("lam", "gamma", "t", "R", "D", "C", "F", "accuracy", "val_R", "val_D", "val_C", "val_accuracy")
"""Columns that `at` may name."""


def load_model(
    location: str | Path,
    trajectory: str,
    step: int | None = None,
    *,
    at: Mapping[str, float] | None = None,
    model: type[nn.Module] | None = None,
) -> nn.Module:
    """The model of an accepted step, in evaluation mode on the CPU; documented at `rayfe.load_model`."""
    store = Store(location)
    run = store.read_config()
    return in_units(model_of(store, run, find_row(store, trajectory, step, at), cls=model), run)


def find_step(location: str | Path, trajectory: str, *, at: Mapping[str, float]) -> StepRecord:
    """The row whose model `load_model` takes; documented at `rayfe.find_step`."""
    store = Store(location)
    store.read_config()  # says where there is no run
    return find_row(store, trajectory, None, at)


def model_of(store: Store, run: Mapping[str, Any], row: StepRecord, *, cls: type[nn.Module] | None = None) -> nn.Module:
    """The model of one accepted row of the run whose run.json is `run`; `cls` stands in for the class that this names.

    Raises:
        FileNotFoundError: its weights are not kept any more.
        CorruptFile: the weights are not the ones that the row describes.
        UsageError: the run's model class cannot be imported or built here.
    """
    fields = {name.removeprefix("model."): value for name, value in run["config"].items() if name.startswith("model.")}
    config = ModelConfig(**fields)
    shape = input_shape(config, tuple(run["input_shape"]))
    try:
        model = build(config, input_shape=shape, classes=run["classes"], cls=cls)
    except UsageError as error:
        fix = f"{error.fix}; or hand the class over: load_model(..., model=Class)"
        raise UsageError(error.name, error.value, error.fix if cls else fix) from error
    load_weights(model, store.state(row))
    return model.eval()


def find_row(store: Store, trajectory: str, step: int | None, at: Mapping[str, float] | None) -> StepRecord:
    """The accepted row of `step`, or the one whose columns are nearest to `at` among those with stored weights.

    Distances in several columns add up, each in units of the column's range along the trajectory. Of rows that are as near, such
    as those of several ways at one lam, it is the one whose F is lowest.

    Raises:
        ValueError: no such trajectory, step or column, or neither or both of `step` and `at` were given.
    """
    names = store.trajectories()
    if trajectory not in names:
        raise ValueError(f"{store.url()} has no trajectory {trajectory!r}, only {', '.join(names) or 'none so far'}")
    if (step is None) == (at is None):
        raise ValueError('give a step, or at={"C": 0.1}, and not both')
    accepted = {row.step: row for row in store.rows(trajectory) if row.accepted}
    if at is not None:
        return _nearest(store, trajectory, list(accepted.values()), at)
    if step not in accepted:
        steps = ", ".join(map(str, sorted(accepted))) or "none so far"
        raise ValueError(f"{trajectory} in {store.url()} has no accepted step {step!r}, only {steps}")
    return accepted[step]


def _nearest(store: Store, trajectory: str, accepted: list[StepRecord], at: Mapping[str, float]) -> StepRecord:
    unknown = [name for name in at if name not in WANTED]
    if unknown or not at:
        raise ValueError(f"at={dict(at)}: {', '.join(unknown) or 'nothing'} cannot be asked for, only {', '.join(WANTED)}")
    rows = [row for row in accepted if store.has_state(row)]
    if not rows:
        raise ValueError(f"{trajectory} in {store.url()} has no stored weights")
    distance = np.zeros(len(rows))
    for name, wanted in at.items():
        column = np.array([getattr(row, name) for row in rows], float)  # None becomes NaN
        if np.isnan(column).all():
            raise ValueError(f"at={dict(at)}: {name} was not measured in {trajectory}")
        scale = float(np.nanmax(column) - np.nanmin(column)) or 1.0
        distance += np.where(np.isnan(column), np.inf, np.abs(column - wanted) / scale)
    nearest = [row for row, far in zip(rows, distance.tolist(), strict=True) if far == distance.min()]
    if len(nearest) == 1:
        return nearest[0]
    point = Point(lam=nearest[0].lam, gamma=nearest[0].gamma, t=nearest[0].t)
    return min(nearest, key=lambda row: bound(row, point))  # of several models at one lam the lowest counts
