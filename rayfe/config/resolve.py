"""What a configuration needs before a job: the right job, paths that hold everywhere, packages; and its words on a command line."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from rayfe.config.asked import Asked, Baseline, Conditioned, FreeWalk, Seek, Transfer, Walk
from rayfe.config.checks import require
from rayfe.config.configure import CHOOSING, configure
from rayfe.config.fields import defaults_of, flat, unread
from rayfe.config.kinds import LossesWalk
from rayfe.config.places import absolute_path, location_of, place_of, usual_place
from rayfe.config.presets import OTHER_JOB, PRESETS
from rayfe.config.run import RunConfig
from rayfe.config.user_code import introduce, own_names
from rayfe.exceptions import UsageError, dashed

JOBS = {
    "isoc": "walks on data that stay: process iso-classification, iso-losses, iso-functional, fixed-gamma or your own, or seek",
    "transfer": "goes from ``data.name`` to ``path.target`` by process geodesic or constant-rate",
    "baseline": "trains from ``data.name`` to ``path.target`` by method finetune, scratch or joint",
    "conditioned": "trains one model for all lam and gamma at once by process conditioned",
}
"""What each job does."""
KINDS_OF: Mapping[str, tuple[type[Asked], ...]] = MappingProxyType(
    {
        "isoc": (Walk, FreeWalk, LossesWalk, Seek),
        "transfer": (Transfer,),
        "baseline": (Baseline,),
        "conditioned": (Conditioned,),
    }
)
"""What each job can be asked for."""


def check_job(job: str, config: RunConfig) -> None:
    """Refuse a configuration that is another job's."""
    fix = f"is not for jobs/{job}.py, which {JOBS[job]}"
    asked = config.asked
    name = "method" if isinstance(asked, Baseline) else "seek" if isinstance(asked, Seek) else "process"
    require(isinstance(asked, KINDS_OF[job]), name, getattr(asked, name), fix)
    require(job in ("isoc", "conditioned") or config.path.target is not None, "path.target", config.path.target, fix)


def split_preset(job: str, argv: list[str]) -> tuple[str, list[str]]:
    """The preset that leads `argv`, or the job's default, and the options after it."""
    if not argv or argv[0].startswith("-"):
        return next(iter(PRESETS[job])), argv
    check_preset(job, argv[0])
    return argv[0], argv[1:]


def check_preset(job: str, name: str) -> None:
    """Refuse a preset that the job does not have."""
    known = PRESETS[job]
    if name not in known:
        other = OTHER_JOB.get(name)
        require(other is None, "PRESET", name, f"belongs to another job, use jobs/{other}.py {name}")
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError("PRESET", name, f"unknown preset; {hint}Known: {', '.join(known)}")


def words_of(config: RunConfig, default: RunConfig) -> list[str]:
    """The words of the command line that makes `config` of the preset `default`."""
    fields = flat(config)
    idle = {one.name for one in unread(config) if one.value != one.usual}
    chosen = {name: fields[name] for name in CHOOSING if name in fields}
    usual = defaults_of(type(config.asked)) | flat(default) | {name: getattr(default.asked, name) for name in chosen}
    words: list[str] = []
    for name, value in fields.items():
        if name in idle or value in (usual[name], ()):  # nothing: the lam and gamma of a stored step
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
    out = usual_place(preset) if config.out is None else place_of(config.out)
    root = None if config.data.root is None else absolute_path("data.root", config.data.root)
    target = None if config.path.target is None else _data("path.target", config.path.target, own)
    places: dict[str, Any] = {
        "out": out,
        "data.root": root,
        "data.name": _data("data.name", config.data.name, own),
        "path.target": target,
    }
    config = configure(config, **{name: place for name, place in places.items() if place is not None})
    start = config.forked
    if start is None:
        return config
    return dataclasses.replace(config, start=dataclasses.replace(start, run=location_of(start.run, "start")).name)


def _data(field: str, name: str, own: Collection[str]) -> str:
    """A data set's name with the path of a file of the user's own made absolute."""
    file = name.startswith("npz:") and name != "npz:" and name not in own
    return "npz:" + absolute_path(field, name.removeprefix("npz:")) if file else name
