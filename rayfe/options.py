"""From the words of a command line to a RunConfig; every error names the option, the value and the fix."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import importlib.util
import io
import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import tyro

from rayfe.config import TRANSFERS, RunConfig, UsageError, flat, require
from rayfe.presets import OTHER_JOB, PRESETS


def dashed(name: str) -> str:
    return name.replace("_", "-")


def one_line(error: UsageError) -> str:
    """The error as one line that names the option as it is typed."""
    name = error.name if error.name == "PRESET" else "--" + dashed(error.name)
    given = f"{name} {error.value}".rstrip()
    return " ".join(f"{given}: {error.fix}".splitlines())


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


def parse(job: str, preset: str, arguments: list[str]) -> RunConfig:
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
            config = tyro.cli(
                RunConfig,
                prog=f"jobs/{job}.py [PRESET]",
                description=description,
                default=default,
                args=arguments,
                config=(tyro.conf.AvoidSubcommands,),
            )
        check_job(job, config)
        check_packages(config)
        return config
    except SystemExit as stopped:
        if not stopped.code:
            raise
        error = _usage_error(stopped) or _read_box(box.getvalue(), arguments)
    raise error


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


def _check_options(arguments: list[str], default: RunConfig) -> None:
    """Refuse unknown options by name; tyro's message names everything behind them, too."""
    known = ["--help"]
    for name, value in flat(default).items():
        group, dot, leaf = dashed(name).rpartition(".")
        known += [f"--{group}{dot}{leaf}"] + ([f"--{group}{dot}no-{leaf}"] if isinstance(value, bool) else [])
    for option in (option_of(word) for word in arguments):
        if option.startswith("--") and option not in known and not option.startswith("--tyro-"):
            leaves = {name.rpartition(".")[2]: name for name in known if "." in name}
            near = [leaves.get(option[2:])] if option[2:] in leaves else difflib.get_close_matches(option, known, n=1)
            fix = f"unknown option; {f'did you mean {near[0]}? ' if near else ''}--help lists all"
            raise UsageError(option[2:], "", fix)


def option_of(word: str) -> str:
    return dashed(word.partition("=")[0]) if word.startswith("--") else word


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
            inside = option_of(word) == f"--{name}"
            values = ([word.partition("=")[2]] if "=" in word else []) if inside else values
        elif inside:
            values.append(word)
    return " ".join(values)


def _before(stray: str, arguments: list[str]) -> tuple[str, str]:
    """The option before a stray word, and the word; `PRESET` where there is none."""
    before = arguments[: arguments.index(stray)] if stray in arguments else []
    options = [option_of(word)[2:] for word in before if word.startswith("--")]
    return (options[-1] if options else "PRESET"), stray


def absolute(config: RunConfig, preset: str, *, own: Collection[str] = ()) -> RunConfig:
    """`config` with the paths of this machine made absolute: trials of Ray work in other folders.

    `own` are names of data that are no files.
    """
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
