"""A job from its command line to its exit code: checks everything, then runs, draws and sums up (contracts C2 and C3)."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import tyro
from rich.console import Console

from rayfe import __version__
from rayfe.config import RunConfig, UsageError, flat, identity, require
from rayfe.data.datasets import Dataset, load
from rayfe.figures import draw_all
from rayfe.files import CorruptFile, Files
from rayfe.layout import CONFIG
from rayfe.presets import OTHER_JOB, PRESETS
from rayfe.progress import Progress
from rayfe.records import StepRecord
from rayfe.store import Store, load_readings, load_rows
from rayfe.summary import print_summary, summarize

DONE, FAILED, BAD_INPUT, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
SETS = ("lam", "gamma", "seed")
PLACES = ("out", "data.root")
"""Options that say where things are on this machine: run.json leaves them out."""


def main(job: str, argv: Sequence[str]) -> int:
    """Run `job` with the arguments `[PRESET] [--options]`; returns the exit code.

    0 done (named stops included), 1 a trajectory failed, 2 bad input, 130 Ctrl-C, 143 SIGTERM.
    """
    from rayfe.signals import Terminated

    argv = list(argv)
    try:
        preset, arguments = _preset(job, argv)
        config = _absolute(_parse(job, preset, arguments), preset)
        return _drive(job, preset, argv, config)
    except UsageError as error:
        print(_one_line(error), file=sys.stderr)
        return BAD_INPUT
    except (KeyboardInterrupt, Terminated) as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        print(f"{'interrupted' if interrupted else 'terminated'}; to go on: {_command(job, argv)}", file=sys.stderr)
        return INTERRUPTED if interrupted else TERMINATED
    except SystemExit as help_printed:
        if help_printed.code:
            raise
        return DONE


def _one_line(error: UsageError) -> str:
    name = error.name if error.name == "PRESET" else "--" + _dashed(error.name)
    given = f"{name} {error.value}".rstrip()
    return " ".join(f"{given}: {error.fix}".splitlines())


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _command(job: str, argv: Sequence[str]) -> str:
    script = sys.argv[0] if os.path.basename(sys.argv[0]) == f"{job}.py" else f"jobs/{job}.py"
    return shlex.join(["python", script, *argv])


# --- the command line -----------------------------------------------------------------------------------------------


def _preset(job: str, argv: list[str]) -> tuple[str, list[str]]:
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


def _parse(job: str, preset: str, arguments: list[str]) -> RunConfig:
    """The preset with the options of the command line; tyro's boxes of errors become one UsageError."""
    default = PRESETS[job][preset]()
    _check_options(arguments, default)
    first, *others = PRESETS[job]
    description = (
        f"python jobs/{job}.py [PRESET] [OPTIONS]. PRESET comes first: {first} (default), {', '.join(others)}. "
        f"Defaults below are those of {preset}. The same command again goes on where a run stopped."
    )
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(
                RunConfig,
                prog=f"jobs/{job}.py [PRESET]",
                description=description,
                default=default,
                args=arguments,
                config=(tyro.conf.AvoidSubcommands,),
            )
    except SystemExit as stopped:
        if not stopped.code:
            raise
        error = _usage_error(stopped) or _read_box(box.getvalue(), arguments)
    raise error


def _check_options(arguments: list[str], default: RunConfig) -> None:
    """Refuse unknown options by name; tyro's message names everything behind them, too."""
    known = ["--help"]
    for name, value in flat(default).items():
        group, dot, leaf = _dashed(name).rpartition(".")
        known += [f"--{group}{dot}{leaf}"] + ([f"--{group}{dot}no-{leaf}"] if isinstance(value, bool) else [])
    for option in (_option(word) for word in arguments):
        if option.startswith("--") and option not in known and not option.startswith("--tyro-"):
            leaves = {name.rpartition(".")[2]: name for name in known if "." in name}
            near = [leaves.get(option[2:])] if option[2:] in leaves else difflib.get_close_matches(option, known, n=1)
            fix = f"unknown option; {f'did you mean {near[0]}? ' if near else ''}--help lists all"
            raise UsageError(option[2:], "", fix)


def _option(word: str) -> str:
    return _dashed(word.partition("=")[0]) if word.startswith("--") else word


def _usage_error(stopped: BaseException) -> UsageError | None:
    """The error of a configuration's own check for which tyro stopped; tyro prints only its first argument."""
    cause: BaseException | None = stopped
    while cause is not None and not isinstance(cause, UsageError):
        cause = cause.__cause__ or cause.__context__
    return cause


def _read_box(box: str, arguments: list[str]) -> UsageError:
    """The error that tyro printed, as a UsageError."""
    lines = [line.strip(" │|╭╰─-") for line in box.splitlines()]
    text = " ".join(line for line in lines if line)
    if found := re.search(r"Error parsing --([\w.-]+):", text):
        kind = "a whole number" if re.search(r"\bINT\b", text) else "a number" if "FLOAT" in text else "a valid value"
        several = ", several with spaces between them" if "..." in text else ""
        return UsageError(found[1], _values(found[1], arguments), f"give {kind}{several}")
    if found := re.search(r"Missing value for argument '--([\w.-]+)'", text):
        return UsageError(found[1], "(nothing)", "give a value after it")
    if found := re.search(r"for argument '--([\w.-]+)'. Expected one of \((.*?)\)", text):
        choices = re.findall(r"[^\s,']+", found[2])
        return UsageError(found[1], _values(found[1], arguments), f"give {' or '.join(choices)}")
    if found := re.search(r"Unrecognized options: (.*?) For full", text):
        return UsageError(*_before(found[1].split(", ")[0], arguments), "not expected there; PRESET comes first")
    return UsageError("help", "", text)


def _values(name: str, arguments: list[str]) -> str:
    """What the command line gives to an option, as typed."""
    values: list[str] = []
    inside = False
    for word in arguments:
        if word.startswith("--"):
            inside = _option(word) == f"--{name}"
            values = ([word.partition("=")[2]] if "=" in word else []) if inside else values
        elif inside:
            values.append(word)
    return " ".join(values)


def _before(stray: str, arguments: list[str]) -> tuple[str, str]:
    """The option before a stray word, and the word; `PRESET` where there is none."""
    before = arguments[: arguments.index(stray)] if stray in arguments else []
    options = [_option(word)[2:] for word in before if word.startswith("--")]
    return (options[-1] if options else "PRESET"), stray


def _absolute(config: RunConfig, preset: str) -> RunConfig:
    """`config` with the paths of this machine made absolute: trials of Ray work in other folders."""
    out = f"runs/{preset}" if config.out is None else config.out
    require(bool(out.strip()), "out", repr(out), "give a folder or a URI")
    if "://" not in out:
        out = _path(out)
    root = None if config.data.root is None else _path(config.data.root)
    name = config.data.name
    if name.startswith("npz:") and name != "npz:":
        name = "npz:" + _path(name.removeprefix("npz:"))
    return dataclasses.replace(config, out=out, data=dataclasses.replace(config.data, root=root, name=name))


def _path(text: str) -> str:
    return str(Path(os.path.expanduser(text)).absolute())


# --- checks before any work -----------------------------------------------------------------------------------------


def _check(config: RunConfig, dataset: Dataset) -> None:
    """What can only be checked with the data at hand: the size of batches, and that the model can be built."""
    examples, batch = len(dataset.train.y), config.equilibration.batch
    require(batch <= examples, "equilibration.batch", batch, f"there are {examples} training examples, give at most that many")
    from rayfe.model.protocol import build, input_shape  # imports torch

    try:
        build(config.model, input_shape=input_shape(config.model, dataset.input_shape), classes=dataset.classes)
    except UsageError:
        raise
    except Exception as error:  # a model of the user's own may raise anything
        fix = f"cannot be built for examples of shape {dataset.input_shape} ({type(error).__name__}: {error})"
        raise UsageError("model.name", config.model.name, fix) from error


def _manifest(job: str, preset: str, argv: list[str], config: RunConfig, dataset: Dataset) -> dict[str, Any]:
    """The content of run.json: what was asked for, with nothing of this machine in it."""
    fields = {name: value for name, value in flat(config).items() if name not in PLACES}
    same = identity(config)
    fields["data.name"] = same["data.name"] = _portable(config.data.name)
    manifest = {
        "rayfe": __version__,
        "job": job,
        "preset": preset,
        "command": shlex.join(["python", f"jobs/{job}.py", *_without_places(argv)]),
        "config": fields,
        "identity": same,
        "input_shape": dataset.input_shape,
        "classes": dataset.classes,
        "class_names": dataset.class_names,
        "data_sha256": _fingerprint(dataset),
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in ("torch", "ray", "numpy")},
    }
    return json.loads(json.dumps(manifest))


def _portable(name: str) -> str:
    """A data set's name without the folder of a file of the user's own."""
    return "npz:" + os.path.basename(name.removeprefix("npz:")) if name.startswith("npz:") else name


def _without_places(argv: list[str]) -> list[str]:
    words: list[str] = []
    inside = False
    for word in argv:
        if word.startswith("--"):
            inside = _option(word)[2:] in PLACES
        if not inside:
            option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
            words.append(option + equals + _portable(value))
    return words


def _fingerprint(dataset: Dataset) -> str:
    """SHA-256 over the arrays of both splits."""
    digest = hashlib.sha256()
    for array in (dataset.train.x, dataset.train.y, dataset.validation.x, dataset.validation.y):
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).data)
    return digest.hexdigest()


def _stored(store: Store, manifest: Mapping[str, Any], config: RunConfig) -> dict[str, Any] | None:
    """run.json of the run that is there, None if there is none.

    Raises:
        UsageError: its rows would not be those of this configuration.
    """
    if not store.exists():
        require(not store.trajectories(), "out", store.url(), f"has steps but no {CONFIG}; use another --out")
        return None
    try:
        stored = store.read_config()
        before, job, sha256 = dict(stored["identity"]), stored["job"], stored["data_sha256"]
        _ = {name: stored["config"][name] for name in (*SETS, "steps")}
    except (CorruptFile, KeyError, TypeError, ValueError) as error:
        raise UsageError("out", store.url(), f"its {CONFIG} cannot be read ({error}); use another --out") from error
    require(job == manifest["job"], "out", store.url(), f"holds a run of jobs/{job}.py; use another --out")
    for name, value in manifest["identity"].items():
        if name not in before or before[name] != value:
            _refuse_change(name, value, before.get(name))
    other_data = "its examples are not those of the stored run; use another --out, or the data of that run"
    require(sha256 == manifest["data_sha256"], "data.name", config.data.name, other_data)
    return stored


def _refuse_change(name: str, value: object, before: object) -> NoReturn:
    option = f"--{_dashed(name)} {before}"
    if isinstance(before, bool):
        group, dot, leaf = _dashed(name).rpartition(".")
        option = f"--{group}{dot}{'' if before else 'no-'}{leaf}"
    raise UsageError(name, value, f"the stored run has {before}; use another --out, or give {option}")


def _grown(manifest: dict[str, Any], stored: Mapping[str, Any] | None) -> dict[str, Any]:
    """The manifest with the starts and steps of both."""
    if stored is None:
        return manifest
    before, now = stored["config"], manifest["config"]
    union = {name: list(dict.fromkeys([*before[name], *now[name]])) for name in SETS}
    return manifest | {"config": now | union | {"steps": max(before["steps"], now["steps"])}}


# --- the run --------------------------------------------------------------------------------------------------------


def _drive(job: str, preset: str, argv: list[str], config: RunConfig) -> int:
    assert config.out is not None
    store = Store(config.out, keep_states=config.keep_states)
    store.writable()
    dataset = load(config.data)
    _check(config, dataset)
    manifest = _manifest(job, preset, argv, config, dataset)
    _stored(store, manifest, config)
    undo = _undo(config.out)
    with store.lock():
        stored = _stored(store, manifest, config)  # again: another process may have made it since
        store.create(_grown(manifest, stored))
        print(f"run {_shown(store.url())}; if interrupted, go on with the same command: {_command(job, argv)}", flush=True)
        try:
            failed = _run(config, dataset, store)
        except UsageError:  # only a backend knows what its machine can hold
            if stored is None and not store.trajectories():
                undo()
            raise
        _report(config, store)
    for name, reason in failed.items():
        print(f"failed: {name}: {' '.join(reason.splitlines())}; the same command tries again", file=sys.stderr)
    return FAILED if failed else DONE


def _run(config: RunConfig, dataset: Dataset, store: Store) -> dict[str, str]:
    from rayfe.runner import run  # imports torch and Ray: not for --help
    from rayfe.signals import handle_sigterm

    rows = {name: _readable_rows(store, name) for name in config.trajectories()}
    with handle_sigterm(), Progress(config, rows) as progress:
        return run(config, dataset, store, progress)


def _readable_rows(store: Store, name: str) -> list[StepRecord]:
    try:
        return store.rows(name)
    except CorruptFile:
        return []  # the runner repairs it


def _undo(out: str) -> Callable[[], None]:
    """What takes a run folder that is made from now on away again, if nothing was stored in it."""
    folder = Path(out)
    missing = [path for path in (folder, *folder.parents) if not path.exists()] if "://" not in out else []

    def undo() -> None:
        for name in (CONFIG, ".lock"):
            Files(out).remove(name)
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()

    return undo


def _report(config: RunConfig, store: Store) -> None:
    """Draw the figures and print the summary and where everything is."""
    rows = load_rows(store.url())
    figures = draw_all(rows, load_readings(store.url()), tolerance=config.tolerance)
    paths = [store.write_figure(name, data) for name, data in figures.items()]
    console = Console()
    print_summary(summarize(rows, config.tolerance), console if console.is_terminal else Console(width=100))
    for text in (f"rows: {_shown(store.url('steps'))}", *(f"figure: {_shown(store.url(path))}" for path in paths)):
        print(text, flush=True)


def _shown(place: str) -> str:
    """A local path relative to the working directory where it lies below it."""
    path = Path(place)
    return str(path.relative_to(Path.cwd())) if "://" not in place and path.is_relative_to(Path.cwd()) else place
