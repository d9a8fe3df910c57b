"""Every error that users and callers see, and one-line messages of them."""

from __future__ import annotations

import ast
import errno
import re
import reprlib
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType


class UsageError(ValueError):
    """Bad input from a user: one line that names the field, the value and the fix.

    `name` is the field's flat name, such as `lam_end` or `equilibration.epochs`. A fix names fields and values in double backticks:
    ``settle=False`` is `--no-settle` on a command line and `settle=False` in Python, which `in_shell_words` and `str` write. A name in
    capitals is no option but a word of its own: PRESET, or a variable of the environment.
    """

    def __init__(self, name: str, value: object, fix: str) -> None:
        super().__init__(name, value, fix)  # all three, so that it survives pickling between processes
        self.name, self.value, self.fix = name, value, fix

    def __str__(self) -> str:
        return one_line(f"{_argument(self.name, self.value)}: {_named(self.fix, _argument)}")


class CorruptFile(RuntimeError):
    """A stored file is not what was written: `path` names it, `fault` says what is wrong."""

    def __init__(self, path: str, fault: str) -> None:
        super().__init__(path, fault)  # both, so that it survives pickling between processes
        self.path = path
        self.fault = fault

    def __str__(self) -> str:
        return one_line(f"{self.path}: {self.fault}")


class StorageError(OSError):
    """A place that cannot be read or written, or is none: `path` names it, `fix` says why and what to do."""

    def __init__(self, path: str, fix: str) -> None:
        super().__init__(f"{path}: {fix}")
        self.path, self.fix = path, fix

    def __reduce__(self) -> tuple[type[StorageError], tuple[str, ...]]:
        return type(self), (self.path, self.fix)


class StorageFull(StorageError):
    """There is no room for a file. What was there before stays whole, and the same command goes on when there is room."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "no space left; make room, then give the same command again")
        self.errno = errno.ENOSPC

    def __reduce__(self) -> tuple[type[StorageFull], tuple[str]]:
        return StorageFull, (self.path,)


class LeaseLost(RuntimeError):
    """Another driver has taken this run over, or its folder is not the one that the driver holds."""


class WalkFailed(RuntimeError):
    """The trajectory cannot go on, and not by a named stop. `text` names fields as a fix of UsageError does."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return in_python_words(self.text)


class FarFromWanted(UserWarning):
    """The stored step that is nearest to what was asked for is far from it."""


class RunBroken(RuntimeError):
    """What answers the requests died, such as Ray, or storage in the midst; what is stored stays, and the same job goes on."""


class NotExported(RuntimeError):
    """torch.export cannot take this model, or what it made computes something else."""


class NotDecoded(RuntimeError):
    """A coded stream cannot be decoded: it is damaged, of another model, or written where numbers come out otherwise."""


LONGEST, LONGEST_LINE = 200, 1000
"""Characters of a value in a message, and of a message: it may quote what somebody else wrote."""


def visible(text: str) -> str:
    """Text that somebody else may have written, as it may be shown: on one line, and without characters that move a terminal's cursor,
    turn its text round, or cannot be seen or written."""
    return text if text.isprintable() else "".join(map(_seen, " ".join(text.splitlines())))


def one_line(text: str) -> str:
    """The same of an error, not endless."""
    return visible(_cut(text, LONGEST_LINE))


def _seen(character: str) -> str:
    if character.isprintable():
        return character
    return chr(0x2400 + ord(character)) if character < " " else " " if character.isspace() else "�"


BRIEF = reprlib.Repr()
BRIEF.maxlevel, BRIEF.maxlist, BRIEF.maxtuple, BRIEF.maxdict, BRIEF.maxstring, BRIEF.maxother = 3, 12, 12, 12, LONGEST, LONGEST


def brief(value: object) -> str:
    """A value as Python writes it, as far as it fits into a message; of what has a shape, its kind and shape."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"{type(value).__name__} of shape {tuple(shape)}"
    if isinstance(value, int) and abs(value) >= 1 << 256:
        return f"<{type(value).__name__} of {value.bit_length()} bits>"
    try:
        text = BRIEF.repr(value)
    except Exception:  # what somebody's own class is written by may raise anything
        text = "\n"
    return f"<{type(value).__name__}>" if "\n" in text else _cut(text, LONGEST)


def _cut(text: str, most: int) -> str:
    """A text without its middle, where it is longer than `most` characters."""
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-most // 2 :]}"


def callers_level() -> int:
    """The `stacklevel` with which a warning names the line outside of this package that called."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"].partition(".")[0] == __name__.partition(".")[0]:
        level, frame = level + 1, frame.f_back
    return level


def dashed(name: str) -> str:
    return name.replace("_", "-")


Words = Callable[[str], str]
"""How a text with fields in double backticks is said: `in_shell_words`, or `in_python_words`."""


def in_shell_words(said: UsageError | str) -> str:
    """An error as one line, or a text with fields in double backticks, that names options as they are typed."""
    if isinstance(said, str):
        return _named(said, _option)
    return one_line(f"{_option(said.name, said.value)}: {_named(said.fix, _option)}")


def in_python_words(text: str) -> str:
    """A text with fields in double backticks that names them as arguments."""
    return _named(text, _argument)


def shown(value: object) -> str:
    """A value as it is typed on a command line."""
    if value is None or value == ():
        return "(nothing)"
    if isinstance(value, str) and value != value.strip() or value == "":
        return repr(value)
    if isinstance(value, tuple | list):
        return " ".join(map(shown, value))
    if isinstance(value, Mapping):
        return " ".join(f"{name}={shown(one)}" for name, one in value.items())
    text = f"{value:.12g}" if isinstance(value, float) else str(value)
    return _cut(text, LONGEST)


UNSAID = object()
"""The value of a field that is only named."""
DIRECT: Mapping[str, str] = MappingProxyType(
    {
        "PRESET": "preset",
        "RUN": "location",
        "data.name": "data",
        "path.target": "target",
        "model.name": "model",
        "with": "others",
    }
)
"""Arguments of Python's functions that have names of their own."""


def _named(text: str, word: Callable[[str, object], str]) -> str:
    """A text with the fields in double backticks as `word` says them."""

    def said(found: re.Match[str]) -> str:
        name, equals, value = found[1], found[2], found[3]
        return word(name, _literal(value) if equals else UNSAID)

    return re.sub(r"``([a-z][a-z_.]*)(=?)(.*?)``", said, text)


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def _option(name: str, value: object) -> str:
    """A field as on a command line: `--lam-end 2`, `--no-settle`."""
    group, dot, leaf = dashed(name).rpartition(".")
    if isinstance(value, bool):
        return f"--{group}{dot}{leaf if value else f'no-{leaf}'}"
    option = name if name.isupper() else f"--{group}{dot}{leaf}"
    return option if value is UNSAID else f"{option} {shown(value)}"


def _argument(name: str, value: object) -> str:
    """A field as an argument in Python: `lam_end=2.0`, `equilibration={"epochs": 2}`."""
    group, dot, leaf = DIRECT.get(name, name).partition(".")
    if not dot:
        return group if value is UNSAID else f"{group}={brief(value)}"
    return f'{group}={{"{leaf}": {"..." if value is UNSAID else brief(value)}}}'
