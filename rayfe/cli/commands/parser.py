"""Arguments of a command; an error is one line that names the argument and the fix."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Container, Mapping
from typing import Any, NoReturn

from rayfe.config.user_code import FIELDS, introduce, own_names
from rayfe.exceptions import dashed


class Refused(ValueError):
    """Bad input of a command, as one line for people."""


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations; raises `Refused` where argparse would print its usage and exit."""

    def __init__(self, name: str, description: str, *, after: str | None = None) -> None:
        form = argparse.RawDescriptionHelpFormatter if after else argparse.HelpFormatter
        prog = f"python -m rayfe {name}"
        super().__init__(prog=prog, description=description, epilog=after, formatter_class=form, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise Refused(f"{self.prog}: {message}; --help explains")

    def run(self) -> None:
        """Add the argument RUN."""
        self.add_argument("run", metavar="RUN", help="folder or URI of a run")

    def runs(self) -> None:
        """Add the argument RUN, one or more, as `runs`."""
        self.add_argument("runs", metavar="RUN", nargs="+", action=_Distinct, help="folder or URI of a run")

    def others(self) -> None:
        """Add the option --with, as `others`."""
        text = "runs of the same data and model, whose models bound F, too"
        self.add_argument("--with", dest="others", nargs="+", default=(), metavar="OTHER", help=text)

    def trust(self) -> None:
        """Add the option --trust (`trusted`)."""
        text = "import the classes of its author's own that the run names, also from the working directory: their code runs"
        self.add_argument("--trust", action="store_true", help=text)


class _Distinct(argparse.Action):
    """Takes several values, each once."""

    def __call__(
        self, parser: argparse.ArgumentParser, space: argparse.Namespace, given: Any, option: str | None = None
    ) -> None:
        places = [str(place).rstrip("/") for place in given]
        if twice := sorted({place for place in places if places.count(place) > 1}):
            parser.error(f"{self.metavar} {twice[0]}: is named twice; name each once")
        setattr(space, self.dest, given)


def trusted(run: Mapping[str, Any], *, trust: bool, fields: Container[str] = FIELDS) -> None:
    """Import code of the user's own that the `fields` of a run.json name, where that was asked for.

    Raises:
        Refused: it was not, and such code is needed.
        UsageError: it cannot be imported here.
    """
    names = {field: name for field, name in own_names(run["config"]).items() if field in fields}
    if trust:
        sys.path.insert(0, os.getcwd())
        introduce(names)
    for field, name in names.items() if not trust else ():
        raise Refused(f"{dashed(field)} {name}: is code that the run names; --trust imports it from here, and so runs it")


def wanted_columns(words: list[str]) -> dict[str, float]:
    """What an option --at asks for, COLUMN=NUMBER each.

    Raises:
        Refused: one of them is not of that form.
    """
    wanted = {}
    for word in words:
        name, _, value = word.partition("=")
        try:
            wanted[name] = float(value)
        except ValueError:
            raise Refused(f"--at {word}: write COLUMN=NUMBER, e.g. C=0.1") from None
    return wanted
