"""From the words of a command line to a RunConfig; every error names the option, the value and the fix."""

from __future__ import annotations

import contextlib
import difflib
import io
import re

import tyro

from rayfe.config import RunConfig, flat
from rayfe.config.presets import PRESETS
from rayfe.config.resolve import check_job, check_packages, option_of
from rayfe.exceptions import UsageError, dashed


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
