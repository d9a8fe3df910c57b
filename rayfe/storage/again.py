"""How a stored run goes on: the one place that says so, for its page, its card and the commands."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rayfe.config import RunConfig, configure, flat
from rayfe.config.presets import PRESETS
from rayfe.config.resolve import words_of
from rayfe.config.user_code import NOTEBOOK, own_names
from rayfe.exceptions import DIRECT
from rayfe.storage.store import Store

RUN = "RUN"
"""Stands for the place of a run, in what others may be shown: a place belongs to a machine."""
CALLS = {"isoc": "walk", "transfer": "transfer"}
"""What in Python does what a job does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Again:
    """How a run goes on, or how another one like it is made."""

    command: str
    """What is typed in the folder of the repository; a call of Python where the run has classes that are in no module."""
    needs: tuple[str, ...]
    """What must be at hand for it besides the run."""


def again(store: Store, run: Mapping[str, Any], config: RunConfig, place: str = RUN) -> Again:
    """How the run at `store` goes on; one whose trajectories have ended is drawn again.

    `run` is its run.json, `config` what that asks for, and `place` how its own place is written.
    """
    return like(store, run, configure(config, out=place), place)


def like(store: Store, run: Mapping[str, Any], config: RunConfig, place: str = RUN) -> Again:
    """How a run of this configuration is made, with the preset, data and code of the run at `store`.

    Data that were given as arrays are taken from that run's copy.
    """
    job = str(run.get("job"))
    if job not in PRESETS:  # not of ours
        return Again(command=str(run.get("command", "")), needs=())
    known = PRESETS[job]
    preset = run["preset"] if run["preset"] in known else next(iter(known))
    data, needs = _data(store, config, place)
    code = own_names(flat(config))
    config = configure(
        config, replicas_per_evaluator="auto", trajectories_per_evaluator="auto", **{"equilibration.compile": "auto"}, **data
    )  # auto: as the run began
    if job in CALLS and any(name.startswith(NOTEBOOK) for name in code.values()):
        needs += [name.removeprefix(NOTEBOOK) + ", defined as it was" for name in code.values()]
        return Again(command=_call(job, preset, config, code), needs=tuple(needs))
    needs += [f"module {name.partition(':')[0]}" for name in code.values()]
    words = ["python", f"jobs/{job}.py", preset, *words_of(config, known[preset]())]
    return Again(command=shlex.join(words), needs=tuple(dict.fromkeys(needs)))


def _data(store: Store, config: RunConfig, place: str) -> tuple[dict[str, str], list[str]]:
    """Names of data where they can be found now, and files that must be brought."""
    names, needs = {}, []
    for field, name in {"data.name": config.data.name, "path.target": config.path.target}.items():
        if name is None or not name.startswith("npz:"):
            continue
        file = name.removeprefix("npz:")
        kept = store.has_data(file.removesuffix(".npz"))
        if kept and store.data_folder() is not None:
            names[field] = f"npz:{place}/data/{file}"
        else:
            needs.append(f"{file} in the working directory" + (f", a copy of {place}/data/{file}" if kept else ""))
    return names, needs


def _call(job: str, preset: str, config: RunConfig, code: Mapping[str, str]) -> str:
    """The call of Python."""
    default = flat(configure(PRESETS[job][preset](), backend="inline"))
    changed = {name: value for name, value in flat(config).items() if name not in default or default[name] != value}
    given = {DIRECT.get(name, name): repr(value) for name, value in changed.items()}
    given |= {
        DIRECT.get(field, field): name.removeprefix(NOTEBOOK) for field, name in code.items() if name.startswith(NOTEBOOK)
    }
    plain = [f"{name}={value}" for name, value in given.items() if "." not in name]
    dotted = [f"{name!r}: {value}" for name, value in given.items() if "." in name]
    arguments = [repr(preset), *plain, *([f"**{{{', '.join(dotted)}}}"] if dotted else [])]
    return f"rayfe.{CALLS[job]}({', '.join(arguments)})"
