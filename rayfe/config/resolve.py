"""What a configuration needs before a job: the right job, paths that hold everywhere, packages; and its words on a command line."""

from __future__ import annotations

import dataclasses
import difflib
import importlib.util
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from rayfe.config.checks import require
from rayfe.config.identity import flat
from rayfe.config.presets import OTHER_JOB, PRESETS
from rayfe.config.run import RunConfig
from rayfe.config.sections import TRANSFERS
from rayfe.config.user_code import introduce, own_names
from rayfe.exceptions import UsageError, dashed

JOBS = {
    "isoc": "walks on fixed data: --process iso-classification, iso-functional, fixed-gamma or your own, no --path.target and no --method",
    "transfer": "from --data.name to --path.target: --process geodesic or constant-rate, and no --method",
    "baseline": "from --data.name to --path.target by --method finetune, scratch or joint",
}
"""What each job is for."""


def check_job(job: str, config: RunConfig) -> None:
    """Refuse a configuration that is another job's."""
    fix = f"jobs/{job}.py does {JOBS[job]}"
    target = config.path.target is not None
    require(target == (job != "isoc"), "path.target", config.path.target or "(nothing)", fix)
    require((config.method is not None) == (job == "baseline"), "method", config.method or "(nothing)", fix)
    if job != "baseline":
        require((config.process not in TRANSFERS) == (job == "isoc"), "process", config.process, fix)
    last = config.path.last_epochs
    require(job != "isoc" or not last, "path.last_epochs", last, "is for jobs/transfer.py, leave it away")


def split_preset(job: str, argv: list[str]) -> tuple[str, list[str]]:
    """The preset that leads `argv`, or the job's default, and the options after it."""
    known = PRESETS[job]
    if not argv or argv[0].startswith("-"):
        return next(iter(known)), argv
    name = argv[0]
    if name not in known:
        other = OTHER_JOB.get(name)
        require(other is None, "PRESET", name, f"belongs to another job, use jobs/{other}.py {name}")
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError("PRESET", name, f"unknown preset; {hint}Known: {', '.join(known)}")
    return name, argv[1:]


def words_of(fields: Mapping[str, Any], default: RunConfig) -> list[str]:
    """Fields by dotted name, as `flat` gives them, in the words of a command line; without what is `default`'s already.

    `parse` makes the configuration of them, or says what is wrong with them.
    """
    words, usual = [], flat(default)
    for name, value in fields.items():
        if name in usual and type(value) is type(usual[name]) and value == usual[name]:
            continue
        group, dot, leaf = dashed(name).rpartition(".")
        if isinstance(value, bool):
            words.append(f"--{group}{dot}{leaf if value else f'no-{leaf}'}")
        else:
            several = isinstance(value, Iterable) and not isinstance(value, str)
            words += [f"--{group}{dot}{leaf}", *map(str, value if several else (value,))]  # type: ignore[arg-type]
    return words


def option_of(word: str) -> str:
    return dashed(word.partition("=")[0]) if word.startswith("--") else word


def absolute(config: RunConfig, preset: str, *, own: Collection[str] = ()) -> RunConfig:
    """`config` with the paths of this machine made absolute: trials of Ray work in other folders. What it names is imported.

    `own` are names of data that are no files.
    """
    introduce(own_names(flat(config)))
    out = f"runs/{preset}" if config.out is None else config.out
    require(bool(out.strip()), "out", repr(out), "give a folder or a URI")
    if "://" not in out:
        out = _path(out)
    root = None if config.data.root is None else _path(config.data.root)
    target = None if config.path.target is None else _data(config.path.target, own)
    data = dataclasses.replace(config.data, root=root, name=_data(config.data.name, own))
    path = dataclasses.replace(config.path, target=target)
    board = None if config.tensorboard is None else _path(config.tensorboard)
    known = config.known_runs and tuple(run if "://" in run else _path(run) for run in config.known_runs)
    return dataclasses.replace(config, out=out, data=data, path=path, tensorboard=board, known_runs=known)


def check_packages(config: RunConfig) -> None:
    """Refuse what needs a package that is missing, before any work."""
    for name, module in (("tensorboard", "tensorboardX"), ("mlflow", "mlflow")):
        value = getattr(config, name)
        missing = bool(value) and importlib.util.find_spec(module) is None
        require(not missing, name, value, f"its package is missing; pip install {module}")


def _data(name: str, own: Collection[str]) -> str:
    """A data set's name with the path of a file of the user's own made absolute."""
    file = name.startswith("npz:") and name != "npz:" and name not in own
    return "npz:" + _path(name.removeprefix("npz:")) if file else name


def _path(text: str) -> str:
    return str(Path(os.path.expanduser(text)).absolute())
