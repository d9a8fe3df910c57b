"""Arguments of a command; an error is one line that names the argument and the fix."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Annotated, Any, NoReturn, TypeVar, get_args, get_origin

from rayfe.cli.options import TWICE, value_of
from rayfe.config.checks import NUMBER, at_least, bare, check, hints_of_class, notes_of, number_in
from rayfe.config.fields import field_docs
from rayfe.config.user_code import FIELDS, introduce, own_names
from rayfe.config.values import accepted
from rayfe.exceptions import UsageError, dashed, in_shell_words, shown


class Refused(ValueError):
    """Bad input of a command, as one line for people."""


Fields = TypeVar("Fields")


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations, whose types are those of a configuration's fields (`typed`); raises `Refused` where argparse
    would print its usage and exit."""

    def __init__(self, name: str, description: str | None, *, after: str | None = None) -> None:
        form = argparse.RawDescriptionHelpFormatter if after else argparse.HelpFormatter
        super().__init__(
            prog=name, description=description, epilog=after, formatter_class=form, allow_abbrev=False, exit_on_error=False
        )
        self.register("type", None, typed(str))

    def parse_args(self, arguments: Sequence[str]) -> argparse.Namespace:  # type: ignore[override]
        """The arguments; each option is given once.

        Raises:
            Refused: there is no such argument, or its value is none that it takes.
        """
        words, seen = [], set()
        for word in arguments:
            option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
            option = dashed(option)
            if option in seen:
                raise Refused(f"{option}: {TWICE}")
            seen |= {option} - {""}
            words.append(option + equals + value)
        try:
            chosen, rest = self.parse_known_args(words)
        except argparse.ArgumentError as error:
            raise Refused(f"{error.argument_name}{'' if error.message[:1] == ' ' else ': '}{error.message}") from error
        if rest:
            self.error(f"unrecognized arguments: {' '.join(word or repr(word) for word in rest)}")
        return chosen

    def error(self, message: str) -> NoReturn:
        raise Refused(f"{self.prog}: {message}; --help explains")

    def fields(self, cls: type[Fields], arguments: Sequence[str]) -> Fields:
        """A dataclass whose fields are the options, each with its default and the text below it as help.

        Raises:
            Refused, UsageError: a field does not take what is given for it.
        """
        hints, docs = hints_of_class(cls), field_docs(cls)  # type: ignore[arg-type]
        for item in dataclasses.fields(cls):  # type: ignore[arg-type]
            kind = bare(hints[item.name])
            how: dict[str, Any] = {"type": typed(hints[item.name])}
            if kind is bool:
                how = {"action": argparse.BooleanOptionalAction}
            elif get_origin(kind) is tuple:
                of = (get_args(kind)[0], *notes_of(hints[item.name]))
                how = {"type": typed(Annotated[of] if len(of) > 1 else of[0]), "nargs": "+", "action": Distinct}
            self.add_argument(f"--{dashed(item.name)}", default=item.default, help=docs[item.name].replace("%", "%%"), **how)
        chosen = vars(self.parse_args(arguments))
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in chosen.items()})

    def run(self) -> None:
        """Add the argument RUN."""
        self.add_argument("run", metavar="RUN", help="folder or URI of a run")

    def runs(self) -> None:
        """Add the argument RUN, one or more, as `runs`."""
        self.add_argument("runs", metavar="RUN", nargs="+", action=Distinct, help="folder or URI of a run")

    def others(self) -> None:
        """Add the option --with, as `others`."""
        text = "runs of the same data and model, whose models bound F, too"
        self.add_argument("--with", dest="others", nargs="+", action=Distinct, default=(), metavar="OTHER", help=text)

    def steps(self, text: str, *, several: bool = False) -> argparse._MutuallyExclusiveGroup:
        """Add the options --step, as a number or several, and --at, as numbers by column: one of the two, or of what is added to
        the group, may be given."""
        either = self.add_mutually_exclusive_group()
        more: dict[str, Any] = {"nargs": "+", "action": Distinct} if several else {}
        either.add_argument("--step", type=typed(Annotated[int, at_least(0)]), metavar="N", help=text, **more)
        text = "instead of --step: the nearest step, e.g. --at lam=1.0"
        either.add_argument("--at", nargs="+", type=column_value, action=_ByColumn, metavar="COLUMN=VALUE", help=text)
        return either

    def trust(self) -> None:
        """Add the option --trust (`trusted`)."""
        text = "import the classes of its author's own that the run names, also from the working directory: their code runs"
        self.add_argument("--trust", action="store_true", help=text)


def typed(hint: Any) -> Callable[[str], Any]:
    """What reads a word as a value of a type, as options of jobs are read."""

    def read(word: str) -> Any:
        try:
            value = accepted("", value_of(word, hint), bare(hint))
            check("", value, hint)
        except UsageError as error:
            raise argparse.ArgumentTypeError(f" {shown(word)}: {in_shell_words(error.fix)}") from error
        return value

    return read


class Distinct(argparse.Action):
    """Takes several values, each once."""

    def __call__(
        self, parser: argparse.ArgumentParser, space: argparse.Namespace, given: Any, option: str | None = None
    ) -> None:
        places = [str(place).rstrip("/") for place in given]
        if twice := sorted({place for place in places if places.count(place) > 1}):
            raise argparse.ArgumentError(self, f" {twice[0]}: is named twice; name each once")
        setattr(space, self.dest, given)


class _ByColumn(Distinct):
    """Pairs of a column and a number as a mapping, each column once."""

    def __call__(
        self, parser: argparse.ArgumentParser, space: argparse.Namespace, given: Any, option: str | None = None
    ) -> None:
        super().__call__(parser, space, [name for name, _ in given], option)
        setattr(space, self.dest, dict(given))


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


def column_value(word: str) -> tuple[str, float]:
    """A column and its number, of COLUMN=NUMBER."""
    name, _, text = word.partition("=")
    value = number_in(text, float)
    if not name or value is None or NUMBER.fault(value) is not None:
        raise argparse.ArgumentTypeError(f" {shown(word)}: write COLUMN=NUMBER, e.g. C=0.1")
    return name, value
