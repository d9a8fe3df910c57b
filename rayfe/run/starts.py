"""The model that a run starts from, where its weights are not new: a stored step of another run, or a state dict."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rayfe.config import RunConfig, require
from rayfe.config.start import HOW, STATE_DICT, StoredStep, portable
from rayfe.data.paths import PathData, by_outputs
from rayfe.exceptions import CorruptFile, UsageError
from rayfe.records import StepRecord, Weights
from rayfe.records.weights import digest_of
from rayfe.storage.errors import as_bad_input
from rayfe.storage.store import Store

SIZES = ("name", "latent", "classifier_hidden", "hidden", "dropout", "width", "marginal", "likelihood", "posterior")
"""Fields of a model by which weights may not fit, first those that every model has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StartModel:
    """Weights that a run starts from, and what run.json says of them."""

    weights: Weights | None
    """None: they are lost; trajectories that have their first step go on without."""
    told: Mapping[str, Any]
    """`start` in run.json. `from`: its name; `sha256`: digest of the weights (`records.weights.digest_of`). Of a stored step also its
    run's folder name, `trajectory`, `step`, `lam`, `gamma`, `t`, with random weights `sigma`, and `examples`: training examples that it
    had cost, those of the run that its own run started from included; null where nobody knows."""
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """`model.*` fields of the configuration that it was trained with; empty where nobody knows."""
    outputs: tuple[str, ...] = ()
    """What its classifier's outputs are called; empty: those of the data at hand."""
    input_shape: tuple[int, ...] = ()


def started(config: RunConfig, given: StartModel | None = None) -> tuple[RunConfig, StartModel | None]:
    """The configuration with the lam and gamma of the stored step that it starts from, and the model; None: new weights.

    `given` is a state dict's. A run that is there and has the start of this name goes on from its own copy where the original is away.

    Raises:
        UsageError: there is no such model, or lam or gamma are named and are not those of the step.
    """
    if config.start is None:
        return config, None
    step = config.forked
    with as_bad_input("out", config.out):
        kept = None if config.out is None else _kept(Store(config.out), config.start)
    with as_bad_input("start", config.start):
        found = (given or kept) if step is None else _stored(step, config.start, kept)
    fix = f"is what a run that was started in Python has; give ``out`` of that run, or {HOW}"
    require(found is not None, "start", config.start, fix)
    assert found is not None
    if step is not None:
        for name in ("lam", "gamma"):
            values, here = getattr(config, name), found.told[name]
            fix = f"comes from the step that ``start`` names, whose {name} is {here:.15g}; leave it away"
            require(values in ((), (here,)), name, values, fix)
        here = found.told.get("sigma", 0.0)
        fix = f"must be that of the step that ``start`` names; give ``sigma={float(here)!r}``"
        # A command line shows 12 digits, and what it says to give must do.
        require(math.isclose(config.sigma, here, rel_tol=1e-9), "sigma", config.sigma, fix)
        config = dataclasses.replace(config, lam=(found.told["lam"],), gamma=(found.told["gamma"],), sigma=here)
    return config, found


def with_outputs(data: PathData, start: StartModel | None) -> PathData:
    """The data with labels numbered as the start's classifier numbers them.

    Raises:
        UsageError: it has no outputs for these classes.
    """
    return data if start is None or not start.outputs else by_outputs(data, start.outputs, start.told["from"])


def check_fits(config: RunConfig, data: PathData, start: StartModel) -> None:
    """Refuse a start that is no model of this configuration on these data, by shapes and values.

    Raises:
        UsageError: they do not agree.
    """
    from rayfe.model.protocol import build, input_shape
    from rayfe.model.weights import weights_of

    name = start.told["from"]
    shapes = start.input_shape or data.input_shape, data.input_shape
    fix = f"was trained on examples of shape {shapes[0]}, the data have {shapes[1]}; both must be the same"
    require(shapes[0] == shapes[1], "start", name, fix)
    ours = {field: getattr(config.model, field) for field in SIZES}
    other = [field for field in SIZES if start.model.get(f"model.{field}", ours[field]) != ours[field]]
    wanted = weights_of(build(config.model, input_shape=input_shape(config.model, data.input_shape), classes=data.classes))
    fault = "" if start.weights is None else _fault(wanted, start.weights)
    if "name" in other or (fault and other):
        field = f"model.{other[0]}"
        fix = f"the model of ``start`` has {start.model[field]}; give ``{field}={start.model[field]}``"
        raise UsageError(field, ours[other[0]], fix)
    require(not fault, "start", name, f"{fault}; it must be a model of ``model.name={config.model.name}`` with the same sizes")


def state_dict_model(weights: Mapping[Any, Any]) -> StartModel:
    """A state dict's floating-point tensors as a start; integers, such as counters, are left out.

    Raises:
        UsageError: start; it holds something else.
    """
    fix = "give the state dict of a model, model.state_dict()"
    require(len(weights) > 0, "start", weights, fix)
    arrays = {}
    for name, value in weights.items():
        array = _array(value)
        what = f"{name} is a {type(value).__name__}, not a tensor of numbers; {fix}"
        require(isinstance(name, str) and array is not None, "start", "a state dict", what)
        assert array is not None
        if array.dtype.kind == "f":
            arrays[name] = np.ascontiguousarray(array, np.float32).reshape(array.shape)
    sha256 = digest_of(arrays)
    return StartModel(weights=arrays, told={"from": f"{STATE_DICT}{sha256[:16]}", "sha256": sha256, "examples": None})


def _array(value: Any) -> np.ndarray | None:
    """A tensor or an array of numbers as an array; None: it is neither."""
    import torch

    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.is_floating_point() else value).numpy()
    return value if isinstance(value, np.ndarray) and value.dtype.kind in "fiub" else None


def _fault(wanted: Weights, found: Weights) -> str:
    """Why weights are not those of a model whose weights are like `wanted`; empty: they are."""
    missing, more = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or more:
        return "; ".join(
            f"{what} {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
            for what, names in (("has no", missing), ("has unknown", more))
            if names
        )
    for name, value in wanted.items():
        if found[name].shape != value.shape:
            return f"{name} has shape {found[name].shape}, the model's is {value.shape}"
        if not np.isfinite(found[name]).all():
            return f"{name} holds numbers that are not finite"
    return ""


def _kept(store: Store, name: str) -> StartModel | None:
    """The start that the run in `store` keeps a copy of, if it has this name."""
    with contextlib.suppress(FileNotFoundError, CorruptFile, KeyError, TypeError):
        run = store.read_config()
        if run["start"]["from"] == portable(name):
            return StartModel(weights=_weights(store), told=run["start"], **_described(run))
    return None


def _weights(store: Store) -> Weights | None:
    try:
        return store.inputs.read_start()
    except (FileNotFoundError, CorruptFile):
        return None  # `Inputs.keep_start` says so


def _described(run: Mapping[str, Any]) -> dict[str, Any]:
    """What a run.json says of the models of its run."""
    model = {field: value for field, value in run["config"].items() if field.startswith("model.")}
    names, shape = run.get("class_names", ()), run["input_shape"]
    return {"model": model, "outputs": tuple(names), "input_shape": tuple(shape)}


def _stored(step: StoredStep, name: str, kept: StartModel | None) -> StartModel:
    """The model of a stored step, or its copy where its run is away or damaged."""
    store = Store(step.run)
    try:
        run = store.read_config()
        described = _described(run)
    except FileNotFoundError:
        if kept is not None:
            return kept
        raise UsageError("start", name, f"there is no run {step.run}; {HOW}, or in Python a state dict") from None
    except (CorruptFile, OSError, KeyError, TypeError) as error:
        raise UsageError("start", name, f"the run.json of {step.run} cannot be read ({error}); {HOW} of another run") from error
    if step.step is None and kept is not None:  # the row that it was recommended when the run began
        step = dataclasses.replace(step, trajectory=kept.told["trajectory"], step=kept.told["step"])
    row = _row(store, step, name)
    try:
        weights = store.state(row)
    except (FileNotFoundError, CorruptFile) as error:
        if kept is not None:
            return kept
        raise UsageError("start", name, f"{error}; give another step") from error
    before = run.get("start") or {"examples": 0.0}
    cost = None if before.get("examples") is None else before["examples"] + row.examples
    told = {"from": portable(name), "sha256": digest_of(weights), "trajectory": row.trajectory, "step": row.step}
    told |= {"lam": row.lam, "gamma": row.gamma, "t": row.t, "examples": cost}
    told |= {} if row.sigma is None else {"sigma": row.sigma}
    return StartModel(weights=weights, told=told, **described)


def _row(store: Store, step: StoredStep, name: str) -> StepRecord:
    """The accepted row that a name means."""
    if step.step is None:
        return _recommended(store, name)
    names = store.trajectories()
    several = f"has {len(names)} trajectories; give {step.run}@TRAJECTORY:{step.step} with one of {', '.join(names[:5])}"
    require(step.trajectory is not None or len(names) == 1, "start", name, several)
    trajectory = names[0] if step.trajectory is None else step.trajectory
    require(trajectory in names, "start", name, f"there is no trajectory {trajectory}; the run has {', '.join(names[:5])}")
    rows = {row.step: row for row in store.rows(trajectory) if row.accepted}
    require(step.step in rows, "start", name, f"step {step.step} is not there; accepted are {_ranges(sorted(rows))}")
    return rows[step.step]


def _recommended(store: Store, name: str) -> StepRecord:
    """The row that a run recommends."""
    from rayfe.results.stored_model import find_row  # imports torch

    try:
        return find_row(store, None, None, None)
    except UsageError as error:
        raise UsageError("start", name, f"has no step to recommend; {HOW}") from error


def _ranges(steps: Sequence[int]) -> str:
    return f"{steps[0]} to {steps[-1]}" if steps else "none so far"
