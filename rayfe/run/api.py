"""Walks and transfers from Python: a configuration made of arguments, and the same job as a command line's."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from rayfe.config import DataConfig, ModelConfig, RunConfig, configure, require
from rayfe.config.arguments import checked
from rayfe.config.places import usual_place
from rayfe.config.presets import PRESETS
from rayfe.config.resolve import absolute, check_job, check_preset, words_of
from rayfe.config.user_code import name_of
from rayfe.data.examples import Dataset
from rayfe.data.paths import load_path
from rayfe.exceptions import callers_level, in_python_words
from rayfe.run.job import Job, carry_out, console_of
from rayfe.run.starts import StartModel, started, state_dict_model, with_outputs
from rayfe.run.stored_run import Run
from rayfe.storage.manifest import digest_of, manifest_of
from rayfe.surface.process import Process
from rayfe.trajectory.driver import tries_again


@checked
def walk(
    preset: str | RunConfig | None = None,
    *,
    model: str | type[nn.Module] | ModelConfig | Mapping[str, Any] | None = None,
    data: str | Dataset | DataConfig | Mapping[str, Any] | None = None,
    lam: float | Sequence[float] | None = None,
    gamma: float | Sequence[float] | None = None,
    seed: int | Sequence[int] | None = None,
    process: str | type[Process] | None = None,
    start: str | Path | Mapping[str, Any] | None = None,
    steps: int | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Walk along the equilibrium surface at constant loss C of the task: what `python jobs/isoc.py` does, in this process.

    Whatever is not given is as `preset` has it: the name of one (mnist-quick without it), or a RunConfig.

    - `model`: mlp, resnet, `package.module:Class`, a ModelConfig, or a torch.nn.Module class that meets
      `rayfe.model.protocol.Representation`; it is checked before anything is trained.
    - `data`: a name such as `digits` or `mnist:0-4`, a DataConfig, or a data set made by `rayfe.dataset`.
    - `lam`, `gamma`, `seed`: where walks start; several values of each make one trajectory for each combination.
    - `process`: what is kept, by name, or a subclass of `rayfe.surface.process.Process`.
    - `start`: a stored model to start from instead of new weights, `RUN@STEP` or `RUN@TRAJECTORY:STEP`, read as it is at its own lam
      and gamma; or a state dict, which is trained at `lam` and `gamma` as new weights would be, or read as it is with
      `equilibration={"first_epochs": 0}`. The run keeps a copy.
    - `steps`: at most this many accepted steps after the start.
    - `out`: the run's folder or URI; without it `runs/PRESET-DIGEST`, where the digest is that of everything that defines
      the rows, so that an equal call finds its run and any other call makes a new one.
    - `quiet`: print nothing.
    - `settings`: every other field of `rayfe.config.RunConfig`, e.g. `tolerance=0.02` or
      `equilibration=EquilibrationConfig(epochs=5, batch=64)`, which stands for the whole part of that name.

    The backend is inline, without Ray, unless `backend="ray"` is given. The same call again continues a run that stopped,
    and so does the same command line. Ctrl-C (a notebook's stop) loses at most the step in flight. A trajectory that fails
    is warned of and named in `Run.failed`; its traceback goes to the log (`logging.basicConfig(level="INFO")`).

    A class that is defined in a notebook or script is remembered as `__main__:Class`. `Run.model` of the run that is returned
    knows it; later `rayfe.load_model(..., model=Class)` does. Ray's workers cannot import it: put it in a file of its own.
    Data that were given as arrays are kept in the run, as `data/NAME.npz`.

    Raises:
        UsageError: a ValueError; an argument that is wrong, before any work.
    """
    named = {"lam": lam, "gamma": gamma, "seed": seed, "process": process, "start": start, "steps": steps, "out": out}
    return _run("isoc", preset, model, {"data.name": data}, named, settings, quiet=quiet)


@checked
def transfer(
    preset: str | RunConfig | None = None,
    *,
    data: str | Dataset | DataConfig | Mapping[str, Any] | None = None,
    target: str | Dataset | None = None,
    model: str | type[nn.Module] | ModelConfig | Mapping[str, Any] | None = None,
    lam: float | Sequence[float] | None = None,
    gamma: float | Sequence[float] | None = None,
    seed: int | Sequence[int] | None = None,
    process: str | None = None,
    start: str | Path | Mapping[str, Any] | None = None,
    steps: int | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Move a model from `data` to `target` at constant classification loss: what `python jobs/transfer.py` does, in this process.

    `preset` is fig5-quick without it. `path=PathConfig(kind="displacement", pairing="cost")` says along which path; everything
    else is as in `rayfe.walk`.

    Raises:
        UsageError: a ValueError; an argument that is wrong, before any work.
    """
    named = {"lam": lam, "gamma": gamma, "seed": seed, "process": process, "start": start, "steps": steps, "out": out}
    return _run("transfer", preset, model, {"data.name": data, "path.target": target}, named, settings, quiet=quiet)


@checked
def conditioned(
    preset: str | RunConfig | None = None,
    *,
    model: str | type[nn.Module] | ModelConfig | Mapping[str, Any] | None = None,
    data: str | Dataset | DataConfig | Mapping[str, Any] | None = None,
    lam: float | Sequence[float] | None = None,
    gamma: float | Sequence[float] | None = None,
    seed: int | Sequence[int] | None = None,
    steps: int | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Train one model for all lam and gamma between those given, and store an ordinary model of it for each pair of them: what
    `python jobs/conditioned.py` does, in this process.

    `preset` is mnist-quick without it; everything else is as in `rayfe.walk`. The same call with more lam and gamma inside the box
    stores more models, without training again.

    Raises:
        UsageError: a ValueError; an argument that is wrong, before any work.
    """
    named = {"lam": lam, "gamma": gamma, "seed": seed, "steps": steps, "out": out}
    return _run("conditioned", preset, model, {"data.name": data}, named, settings, quiet=quiet)


def _run(
    name: str,
    preset: str | RunConfig | None,
    model: str | type[nn.Module] | ModelConfig | Mapping[str, Any] | None,
    data: Mapping[str, str | Dataset | DataConfig | Mapping[str, Any] | None],
    named: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    quiet: bool,
) -> Run:
    fields = {"backend": "inline"} | dict(settings)
    fields |= {field: value for field, value in named.items() if value is not None}
    if isinstance(fields.get("process"), type):
        fields["process"] = name_of(fields["process"], "process")
    fields |= _model_fields(model)
    given = None
    if "start" in fields and not isinstance(fields["start"], str):
        given = state_dict_model(fields["start"])
        fields["start"] = given.told["from"]
    own: dict[str, Dataset] = {}
    for field, examples in data.items():
        fields |= _data_fields(field, examples, own)
    job = _job(name, preset, fields, own, given)
    failed = carry_out(job, console_of(quiet=quiet))
    for trajectory, reason in failed.items():
        advice = "; the same call tries again" if tries_again(reason) else ""
        warnings.warn(f"{trajectory} failed: {in_python_words(reason)}{advice}", RuntimeWarning, stacklevel=callers_level())
    assert job.config.out is not None
    return Run(
        job.config.out,
        failed={name: in_python_words(why) for name, why in failed.items()},
        model_class=model if isinstance(model, type) else None,
    )


def _job(
    name: str,
    preset: str | RunConfig | None,
    fields: Mapping[str, Any],
    own: Mapping[str, Dataset],
    given: StartModel | None = None,
) -> Job:
    """The job of these fields, on top of a preset, with the words of the command line that does the same."""
    first = [preset] if isinstance(preset, str) else []
    if first:
        check_preset(name, first[0])
    chosen = next(iter([*first, *PRESETS[name]]))
    default = PRESETS[name][chosen]()
    config = configure(preset if isinstance(preset, RunConfig) else default, **fields)
    check_job(name, config)
    arguments = words_of(config, default)
    config, start = started(absolute(config, chosen, own=own), given)
    if fields.get("out") is None:
        data = with_outputs(load_path(config, own), start)
        manifest = manifest_of(name, chosen, [], config, data, start=None if start is None else start.told)
        config = absolute(configure(config, out=usual_place(f"{chosen}-{digest_of(manifest)}")), chosen, own=own)
    return Job(
        name=name,
        preset=chosen,
        arguments=(*first, *arguments),
        config=config,
        again="the same call",
        words=in_python_words,
        start=start,
        own=own,
    )


def _model_fields(model: Any) -> dict[str, Any]:
    if model is None:
        return {}
    if isinstance(model, ModelConfig | Mapping):
        return {"model": model}
    return {"model.name": model if isinstance(model, str) else name_of(model, "model.name")}


def _data_fields(field: str, data: Any, own: dict[str, Dataset]) -> dict[str, Any]:
    """Fields that say which data; a data set that no file holds is put into `own`, under the name of its copy."""
    if data is None:
        return {}
    if isinstance(data, DataConfig | Mapping):
        return {"data": data}
    if isinstance(data, Dataset):
        name = f"npz:{data.name}.npz"
        fix = "is the name of the other data set, too; give one of them another: rayfe.dataset(..., name=...)"
        require(name not in own or own[name] is data, field, data.name, fix)
        own[name] = data
        return {field: name}
    return {field: data}
