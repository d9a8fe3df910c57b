"""From the words of a command line to a RunConfig; every error names the option, the value and the fix."""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin

from rayfe.config import RunConfig, configure
from rayfe.config.checks import bare, number_in
from rayfe.config.configure import CHOOSING, unknown
from rayfe.config.fields import hints_of, kinds_with
from rayfe.config.kinds import kind_of
from rayfe.config.presets import PRESETS
from rayfe.config.resolve import check_job
from rayfe.exceptions import UNSAID, UsageError

TWICE = "is given twice; give it once, with all its values after it"


def parse(job: str, preset: str, arguments: list[str]) -> RunConfig:
    """The preset with the options of the command line: `--name VALUE ...`, `--name=VALUE`, and `--name` or `--no-name` for True
    and False.

    Raises:
        UsageError: there is no such option, or its value is none.
    """
    default = PRESETS[job][preset]()
    words = _by_option(arguments)
    chosen = {name: words[name] or [""] if name in words else getattr(default.asked, name) for name in CHOOSING}
    chosen = {name: value[0] if isinstance(value, list) else value for name, value in chosen.items()}
    kind = kind_of(**chosen)
    hints = hints_of(kind)
    fields: dict[str, Any] = {}
    for word, values in words.items():
        group, dot, leaf = word.rpartition(".")
        positive = f"{group}{dot}{leaf.removeprefix('no_')}"
        name = positive if any(bare(hints_of(one)[positive]) is bool for one in kinds_with(positive)) else word
        if name not in hints:
            error = unknown(name, " ".join(values) if values else UNSAID, kind)
            raise UsageError(word, error.value, f"{error.fix}; --help-all lists all")
        if name in fields:
            raise UsageError(word, UNSAID, TWICE)
        if bare(hints[name]) is bool:
            _nothing_after(word, values)
            fields[name] = name == word
        else:
            fields[name] = _read(name, values, bare(hints[name]))
    config = configure(default, **fields)
    check_job(job, config)
    return config


def _by_option(arguments: list[str]) -> dict[str, list[str]]:
    """The words after each option, by its name with underscores."""
    words: dict[str, list[str]] = {}
    name = None
    for word in arguments:
        if word.startswith("--"):
            option, equals, value = word[2:].partition("=")
            name = option.replace("-", "_")
            if not name:
                raise UsageError("PRESET", word, "is no option; --help lists them")
            if name in words:
                raise UsageError(name, UNSAID, TWICE)
            words[name] = [value] if equals else []
        elif name is None:
            raise UsageError("PRESET", word, "not expected there; PRESET comes first")
        else:
            words[name].append(word)
    return words


def _nothing_after(name: str, values: list[str]) -> None:
    if values:
        raise UsageError(name, " ".join(values), "not expected there; PRESET comes first")


def _read(name: str, words: list[str], hint: Any) -> Any:
    """The value that the words are; a word that cannot be read stays, for `configure` to refuse."""
    if not words:
        raise UsageError(name, "(nothing)", "give a value after it")
    if get_origin(_needed(hint)) is tuple:
        return tuple(value_of(word, get_args(_needed(hint))[0]) for word in words)
    if len(words) > 1:
        raise UsageError(name, words[1], "not expected there; PRESET comes first")
    return value_of(words[0], hint)


def _needed(hint: Any) -> Any:
    """The type without None."""
    choices = [choice for choice in get_args(hint) if choice is not type(None)]
    return choices[0] if get_origin(hint) in (Union, types.UnionType) and len(choices) == 1 else hint


def value_of(word: str, hint: Any) -> Any:
    """The word as the first of the hint's types that it can be read as."""
    hint = bare(hint)
    for choice in get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,):
        if choice is type(None) and word == "None":
            return None
        if get_origin(choice) is Literal:
            by_word = {str(value): value for value in get_args(choice)}
            if word in by_word:
                return by_word[word]
        if choice in (int, float) and (number := number_in(word, choice)) is not None:
            return number
    return word
