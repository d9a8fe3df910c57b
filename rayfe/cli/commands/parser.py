"""Arguments of a command; an error is one line that names the argument and the fix."""

from __future__ import annotations

import argparse
from typing import NoReturn


class Refused(ValueError):
    """Bad input of a command, as one line for people."""


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations; raises `Refused` where argparse would print its usage and exit."""

    def __init__(self, name: str, description: str) -> None:
        super().__init__(prog=f"python -m rayfe {name}", description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise Refused(f"{self.prog}: {message}; --help explains")

    def run(self) -> None:
        """Add the argument RUN."""
        self.add_argument("run", metavar="RUN", help="folder or URI of a run")

    def others(self) -> None:
        """Add the option --with, as `others`."""
        text = "runs of the same data and model, whose models bound F, too"
        self.add_argument("--with", dest="others", nargs="+", default=(), metavar="OTHER", help=text)


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
