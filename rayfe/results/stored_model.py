"""Stored models, by step or by what is wanted of them (`rayfe.load_model`)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from rayfe.config import RunConfig, from_flat, require
from rayfe.config.arguments import checked
from rayfe.exceptions import UNSAID, CorruptFile, FarFromWanted, UsageError, callers_level
from rayfe.model.protocol import BUILT_IN, build, input_shape, with_parts
from rayfe.model.scaled import in_units
from rayfe.model.weights import check_fit, load_weights
from rayfe.records import Split, StepRecord
from rayfe.results.between import Between, find_between
from rayfe.results.recommended import none_because, recommended
from rayfe.results.walk_summary import NOT_C
from rayfe.storage.manifest import stored_config
from rayfe.storage.parquet import table_of
from rayfe.storage.store import Store
from rayfe.surface.envelope import bound

__all__ = ["find_model", "find_row", "find_step", "load_model", "model_of"]

ROUNDING = 1e-9
"""By which what a row says of a drift may differ from what its numbers give."""
WANTED = ("lam", "gamma", "t", "sigma", "R", "D", "C", "S", "F", "accuracy", "val_R", "val_D", "val_C", "val_accuracy")
"""Columns that `at` may name."""


@checked
def load_model(
    location: str | Path,
    trajectory: str | None = None,
    step: int | None = None,
    *,
    at: Mapping[str, float] | None = None,
    lam: float | None = None,
    model: type[nn.Module] | None = None,
) -> nn.Module:
    """The model of an accepted step, in evaluation mode on the CPU: step number `step`, or the one nearest to `at`; without either the
    recommended one, of all trajectories where none is named (`Run.step` has the rule). With `lam` that of a walk at this very lam, between
    its stored ones (`Between`).

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
        UsageError: a ValueError; the run has no such trajectory, accepted step or column, the process keeps such a column constant, two
            of `step`, `at` and `lam` are given, or one of them without `trajectory` where there are several; nothing is to be
            recommended; no stored steps surround `lam`; or the class is not to be found here.
        CorruptFile: the weights are not the ones that the step's row describes.
    """
    store = Store(location)
    run, config = stored_config(store)
    return in_units(model_of(store, run, find_model(store, config, trajectory, step, at, lam), cls=model), run)


@checked
def find_step(
    location: str | Path, trajectory: str | None = None, step: int | None = None, *, at: Mapping[str, float] | None = None
) -> StepRecord:
    """The row of the step that `load_model` takes for the same arguments: `find_step(...).step` is its number, `.C` its C.

    Raises as `load_model` does.
    """
    store = Store(location)
    store.read_config()  # says where there is no run
    return find_row(store, trajectory, step, at)


def model_of(
    store: Store, run: Mapping[str, Any], found: StepRecord | Between, *, cls: type[nn.Module] | None = None
) -> nn.Module:
    """The model of one accepted row, or between some, of the run whose run.json is `run`; `cls` stands in for the class that this names.

    Raises:
        FileNotFoundError: its weights are not kept any more.
        CorruptFile: the weights are not the ones that the row describes.
        UsageError: the run's model class cannot be imported or built here.
    """
    config = from_flat(run["config"]).model
    shape = input_shape(config, tuple(run["input_shape"]))
    weights = found.weights(store) if isinstance(found, Between) else store.state(found)
    try:
        if cls is None and config.name in BUILT_IN:
            with torch.device("meta"):  # takes no memory, whatever sizes run.json names
                empty = BUILT_IN[config.name](input_shape=shape, classes=run["classes"], config=config)
                check_fit(with_parts(empty, config, shape, run["classes"]), weights)
        model = build(config, input_shape=shape, classes=run["classes"], cls=cls)
        load_weights(model, weights)
    except UsageError as error:
        fix = f"{error.fix}; or hand the class over: load_model(..., model=Class), Run(..., model_class=Class)"
        raise UsageError(error.name, error.value, error.fix if cls else fix) from error
    except (ValueError, RuntimeError, TypeError) as error:
        row = found.rows[0] if isinstance(found, Between) else found
        raise CorruptFile(store.url(str(row.state)), f"is not of the model that run.json describes ({error})") from error
    return model.eval()


def find_model(
    store: Store,
    config: RunConfig,
    trajectory: str | None,
    step: int | None,
    at: Mapping[str, float] | None,
    lam: float | None,
) -> StepRecord | Between:
    """What `load_model` takes: a row (`find_row`), or where `lam` is given what is between some.

    Raises:
        UsageError: as `load_model` does.
    """
    if lam is None:
        return find_row(store, trajectory, step, at)
    require(step is None and at is None, "lam", lam, "give a step, ``at`` or ``lam``, and one of them only")
    require(math.isfinite(lam) and lam > 0.0, "lam", lam, "must be a positive number")
    found = find_between(store, config, _the_one(store, trajectory), lam)
    return next((row for row in found.rows if math.isclose(row.lam, lam)), found)


def find_row(store: Store, trajectory: str | None, step: int | None, at: Mapping[str, float] | None) -> StepRecord:
    """The accepted row of `step`; the one whose columns are nearest to `at` among those with stored weights; without either the recommended
    one (`recommended.RULE`), of all trajectories where none is named.

    Distances in several columns add up, each in units of the column's range along the trajectory. Of rows that are as near, such
    as those of several ways at one lam, it is the one whose F is lowest.

    Raises:
        UsageError: no such trajectory, step or column; both `step` and `at` were given, or one of them without a trajectory where there
            are several; there is nothing to recommend.
    """
    require(step is None or at is None, "step", step, "give a step or ``at``, and not both")
    if step is None and at is None:
        return _recommended(store, store.trajectories() if trajectory is None else [_the_one(store, trajectory)])
    trajectory = _the_one(store, trajectory)
    accepted = {row.step: row for row in store.rows(trajectory) if row.accepted}
    if step is None or at is not None:
        return _nearest(store, trajectory, list(accepted.values()), at or {})
    steps = ", ".join(map(str, sorted(accepted))) or "none so far"
    require(step in accepted, "step", step, f"{trajectory} in {store.url()} has no such accepted step, only {steps}")
    return accepted[step]


def _the_one(store: Store, trajectory: str | None) -> str:
    """The trajectory that is meant; None: that of a run that has one.

    Raises:
        UsageError: there is none such, or there are several.
    """
    names = store.trajectories()
    there = ", ".join(names) or "none so far"
    require(trajectory is None or trajectory in names, "trajectory", trajectory, f"{store.url()} has only {there}")
    require(trajectory is not None or len(names) == 1, "trajectory", UNSAID, f"say which one has the step: {there}")
    return names[0] if trajectory is None else trajectory


def _recommended(store: Store, names: Sequence[str]) -> StepRecord:
    records = [row for name in names for row in store.rows(name)]
    rows = table_of(records, StepRecord).to_pandas()
    found = recommended(rows)
    if found is None:
        raise UsageError("step", UNSAID, f"there is none to recommend, {none_because(rows)}; name one, or give ``at``")
    return records[int(rows.index.get_loc(found.name))]


def _nearest(store: Store, trajectory: str, accepted: list[StepRecord], at: Mapping[str, float]) -> StepRecord:
    unknown = [name for name in at if name not in WANTED]
    require(not unknown, "at", at, f"{', '.join(map(str, unknown))} cannot be asked for, only {', '.join(WANTED)}")
    sound = all(map(math.isfinite, at.values()))
    require(bool(at) and sound, "at", at, "give columns with finite numbers, such as lam=1.0")
    rows = [row for row in accepted if store.has_state(row)]
    require(bool(rows), "at", at, f"{trajectory} in {store.url()} has no stored weights")
    columns = {name: np.array([getattr(row, name) for row in rows], float) for name in WANTED}  # None becomes NaN
    _require_varying(at, rows, columns)
    distance, scales = np.zeros(len(rows)), {}
    for name, wanted in at.items():
        require(not np.isnan(columns[name]).all(), "at", at, f"{name} was not measured in {trajectory}")
        scales[name] = float(np.nanmax(columns[name]) - np.nanmin(columns[name])) or 1.0
        distance += np.where(np.isnan(columns[name]), np.inf, np.abs(columns[name] - wanted) / scales[name])
    best = _lowest(rows, [index for index, far in enumerate(distance.tolist()) if far == distance.min()])
    beside = [other for other in (best - 1, best + 1) if 0 <= other < len(rows)]
    apart = [sum(abs(columns[name][other] - columns[name][best]) / scales[name] for name in at) for other in beside]
    if distance[best] > max(apart, default=0.0):
        there, here = _in_words(at), _in_words({name: columns[name][best] for name in at})
        text = f"the step nearest to {there} is {rows[best].step}, with {here}: farther off than steps of {trajectory} are apart there"
        warnings.warn(text, FarFromWanted, stacklevel=callers_level())
    return rows[best]


def _lowest(rows: Sequence[StepRecord], near: Sequence[int]) -> int:
    """Of several models at one lam the one that is lowest there in F."""
    if len(near) == 1:
        return near[0]
    return min(near, key=lambda index: bound(rows[index], rows[near[0]].point))


def _in_words(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def _require_varying(at: Mapping[str, float], rows: Sequence[StepRecord], columns: Mapping[str, np.ndarray]) -> None:
    """Refuse columns that tell no steps apart, because the process keeps them.

    Raises:
        UsageError: there is one.
    """
    kept = {name: values[0] for name, values in columns.items() if _is_kept(name, rows, values)}
    *others, last = [name for name in ("t", "lam", "R", "D") if name not in kept]
    for name in (name for name in at if name in kept):
        why = f"{name} is {kept[name]:.4g} all along {rows[0].trajectory}, whose process {rows[0].process} keeps it"
        raise UsageError("at", at, f"{why}; name {', '.join(others)} or {last}")


def _is_kept(name: str, rows: Sequence[StepRecord], values: np.ndarray) -> bool:
    """Whether the process of these rows keeps the column `name`, of these values, where it was at the start."""
    settled = any(row.C_before_settle is not None for row in rows[1:])
    if name == "C" and settled and rows[-1].C_target is not None and rows[-1].held_on != Split.CONTROL:
        return rows[0].process not in NOT_C
    held = np.array([row.held_drift for row in rows], float)
    if len(rows) > 1 and name in ("R", "D", "C") and np.allclose(values / values[0] - 1.0, held, rtol=0.0, atol=ROUNDING):
        return True  # a functional that is one of the three
    return len(rows) > 1 and name in ("lam", "gamma", "t") and bool((values == values[0]).all())
