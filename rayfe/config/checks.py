"""Bad input: one line that names the field, the value and the fix. Types say which values a field takes, and when it is read."""

from __future__ import annotations

import dataclasses
import functools
import re
import unicodedata
from collections.abc import Hashable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

from rayfe.config.values import accepted
from rayfe.exceptions import UsageError

LARGEST = 1e30
"""Of any number: its square is near the end of what float32 holds."""
MOST = 2**31 - 1
"""Of what is counted."""
LONGEST = 4096
"""Characters of a text, as many as a path may have."""
OWN = ":"
"""Stands for any name of code of the user's own, package.module:Class."""


def require(condition: bool, name: str, value: object, fix: str) -> None:
    """Raise UsageError(name, value, fix) unless `condition` holds."""
    if not condition:
        raise UsageError(name, value, fix)


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """Which numbers a field takes, beside its type: Annotated[float, Range(...)]; of a tuple, each of its values."""

    least: float = -LARGEST
    most: float = LARGEST
    inner: bool = False
    """Whether the two ends are left out."""
    text: str = ""
    """What it must be, for people; without it, and of numbers beyond any use, the end that was passed is named."""

    def fault(self, value: float) -> str | None:
        """What a number must be that is none of these; None: it is one."""
        low, high = (value > self.least, value < self.most) if self.inner else (value >= self.least, value <= self.most)
        if low and high:
            return None
        if self.text and not (low and self.most in (LARGEST, MOST)):
            return self.text
        over, under = ("below", "above") if self.inner else ("at most", "at least")
        return f"must be {over} {self.most:.15g}" if low else f"must be {under} {self.least:.15g}"


NUMBER = Range(text="must be a number")
POSITIVE = Range(least=1 / LARGEST, text="must be a positive number, at least 1e-30")
NOT_NEGATIVE = Range(least=0.0, text="must be at least 0")
FRACTION = Range(least=0.0, most=1.0, inner=True, text="must lie between 0 and 1")
SHARE = Range(least=0.0, most=1.0, text="must be at least 0 and at most 1")
EPOCHS = Range(least=0.0, most=1e6, text="must be a number of epochs, 0 to 1000000")
SOME_EPOCHS = Range(least=0.0, most=1e6, inner=True, text="must be a positive number of epochs, below 1000000")
WHOLE = Range(least=-(2**63), most=2**63 - 1)


def at_least(least: int, most: int = MOST) -> Range:
    """Whole numbers from `least` on."""
    return Range(least=least, most=most)


class With:
    """What a field needs to have an effect, beside its type: that the field `name` has one of these values; without any: a true one."""

    def __init__(self, name: str, *values: Any) -> None:
        self.name, self.values = name, values

    def holds(self, value: object) -> bool:
        """Whether `value`, which that field has, is one of them."""
        if not self.values:
            return bool(value)
        return value in self.values or (OWN in self.values and isinstance(value, str) and OWN in value)

    def __str__(self) -> str:
        """As a fix of UsageError names it; empty where nothing can be given."""
        if not self.values:
            return f"``{self.name}``"
        named = [f"``{self.name}={value}``" for value in self.values if value not in (OWN, None)]
        return " or ".join([*named, "one of your own"] if OWN in self.values else named)

    def unmet(self, value: object) -> str:
        """The fix of a field where the field `name` has this value."""
        given = f", or give {self}" if str(self) else ""
        return f"has no effect with ``{self.name}={value}``; leave it away{given}"


class Needs(With):
    """The same of a field that would be acted on: it is refused also where nobody gave it just now."""


WRITTEN = MappingProxyType(
    {
        int: re.compile("[+-]?[0-9]{1,1000}"),
        float: re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?|[+-]?inf|nan", re.IGNORECASE),
    }
)
"""How a number is written, without what Python reads as well: 1_000, blanks, digits of other scripts."""


def number_in(word: str, kind: type[float] | type[int]) -> float | None:
    """The number that a word is; None: it is none of this kind."""
    return None if WRITTEN[kind].fullmatch(word) is None else kind(word)


def notes_of(hint: Any) -> tuple[Any, ...]:
    """What stands beside a type."""
    return hint.__metadata__ if get_origin(hint) is Annotated else ()


def bare(hint: Any) -> Any:
    """A type without what stands beside it."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def needs_of(hint: Any) -> tuple[With, ...]:
    """What a field of this type needs to have an effect."""
    return tuple(note for note in notes_of(hint) if isinstance(note, With))


def check(name: str, value: Any, hint: Any) -> None:
    """Refuse a value that is of its type, but none of those that stand beside it; texts without a character, and with odd ones.

    Raises:
        UsageError: the value, or one of several, is none that the field `name` takes.
    """
    for one in value if isinstance(value, tuple) else (value,):
        fault = None
        if isinstance(one, str):
            fault = _fault_of_text(one)
        elif isinstance(one, int | float) and not isinstance(one, bool):
            usual = WHOLE if isinstance(one, int) else NUMBER
            ranges = [note for note in notes_of(hint) if isinstance(note, Range)] or [usual]
            fault = ranges[0].fault(one)
        require(fault is None, name, one, fault or "")


def _fault_of_text(text: str) -> str | None:
    if not text.strip():
        return "is empty; give a text, or leave it away"
    if len(text) > LONGEST:
        return f"has {len(text)} characters; give at most {LONGEST}"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        return "has control characters; give a text without them"
    return None


@functools.lru_cache(maxsize=64)
def hints_of_class(cls: Hashable) -> dict[str, Any]:
    """The types of a class's attributes, with what stands beside them; reading them takes milliseconds."""
    return get_type_hints(cls, include_extras=True)


class Checked:
    """A part of a configuration, a frozen dataclass: when it is built, each field has a value that its type takes."""

    part: ClassVar[str] = ""
    """How the flat names of its fields begin."""

    def __post_init__(self) -> None:
        hints = hints_of_class(type(self))  # type: ignore[arg-type]
        for name in (item.name for item in dataclasses.fields(self)):  # type: ignore[arg-type]
            value = accepted(f"{self.part}{name}", getattr(self, name), hints[name])
            object.__setattr__(self, name, value)
            check(f"{self.part}{name}", value, hints[name])
