"""A command of `python -m rayfe` from its command line to its exit code; `rayfe.cli.commands` has a module per command."""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections.abc import Callable
from typing import TextIO

from rayfe.cli.commands import COMMANDS
from rayfe.cli.commands.parser import Refused
from rayfe.cli.pipes import closed_pipe_is_fine
from rayfe.config import VERSION
from rayfe.exceptions import (
    CorruptFile,
    FarFromWanted,
    LeaseLost,
    RunBroken,
    StorageError,
    StorageFull,
    UsageError,
    in_shell_words,
    one_line,
    visible,
)

log = logging.getLogger(__name__)

USAGE = f"usage: python -m rayfe {'|'.join(COMMANDS)} ...; --help explains"
FAILED, BAD_INPUT = 1, 2
WITH_OUT = ("check", "doctor")
"""Commands that take the place of a run as --out; the others call it RUN."""


def main(argv: list[str]) -> int:
    """Exit code of `python -m rayfe ARGV`: the command's own, or 1 or 2 with one line on stderr."""
    return exit_code(lambda: _carried_out(argv), of_run=argv[:1] not in [[name] for name in WITH_OUT])


def exit_code(command: Callable[[], int], *, of_run: bool = True) -> int:
    """That of `command`, or 1 or 2 with one line on stderr; `of_run`: it takes the place of a run as RUN."""
    try:
        with closed_pipe_is_fine():
            return command()
    except (StorageFull, LeaseLost, RunBroken) as error:
        print(f"failed: {_one_line(error, of_run=of_run)}", file=sys.stderr)
        return FAILED
    except (FileNotFoundError, CorruptFile, StorageError, UsageError, Refused) as error:
        print(_one_line(error, of_run=of_run), file=sys.stderr)
        return BAD_INPUT
    return 0  # nobody reads the output


def _carried_out(argv: list[str]) -> int:
    if argv[:1] in (["-h"], ["--help"]):
        print("usage: python -m rayfe COMMAND ..., or rayfe COMMAND ...\n")
        for name, purpose in COMMANDS.items():
            print(f"  {name:8} {purpose}")
        print("\n`python -m rayfe COMMAND --help` explains its options; `rayfe --version` says which version this is.")
        return 0
    if argv[:1] == ["--version"]:
        print(f"rayfe {VERSION}")
        return 0
    if not argv or argv[0] not in COMMANDS:
        raise Refused(f"{argv[0]}: unknown command; {USAGE}" if argv else USAGE)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show
            return importlib.import_module(f"rayfe.cli.commands.{argv[0]}").main(argv[1:])
    except SystemExit as help_printed:
        if help_printed.code:
            raise
        return 0


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning for people is one line; those of libraries are for who looks after the code, and go to the log."""
    if issubclass(category, FarFromWanted):
        print(f"warning: {visible(str(message))}", file=sys.stderr)
    else:
        log.info("%s", warnings.formatwarning(message, category, filename, lineno))


def _one_line(error: Exception, *, of_run: bool) -> str:
    if isinstance(error, UsageError) and error.name == "out" and of_run:
        error = UsageError("RUN", error.value, error.fix.replace("``out``", "RUN"))
    return in_shell_words(error) if isinstance(error, UsageError) else one_line(str(error))
