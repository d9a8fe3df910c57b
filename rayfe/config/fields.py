"""Fields of a configuration by flat name, such as `lam_end`, `threads` and `equilibration.epochs`, and which values they take."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import numbers
import os
import textwrap
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from rayfe.config.asked import KINDS, Asked
from rayfe.config.checks import With, bare, hints_of_class, needs_of
from rayfe.config.run import RunConfig
from rayfe.exceptions import UsageError

INLINE = ("asked", "service")
"""Parts whose fields have no prefix."""


def flat(config: object, prefix: str = "") -> dict[str, Any]:
    """Fields of a configuration, or of a part of it, by flat name."""
    fields: dict[str, Any] = {}
    for item in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            fields |= flat(value, prefix if item.name in INLINE else f"{prefix}{item.name}.")
        else:
            fields[prefix + item.name] = value
    return fields


def parts_of(kind: type[Asked]) -> dict[str, Any]:
    """The dataclasses that a configuration of this kind is made of, by name; its own is ``."""
    parts: dict[str, Any] = {"": RunConfig, "asked": kind}
    for cls in parts.copy().values():
        hints = hints_of_class(cls)
        parts |= {item.name: hints[item.name] for item in dataclasses.fields(cls) if dataclasses.is_dataclass(hints[item.name])}
    return parts


def hints_of(kind: type[Asked]) -> Mapping[str, Any]:
    """The types of all fields of a configuration of this kind, by flat name, with what stands beside them in `checks`."""
    found: dict[str, Any] = {}
    for part, cls in parts_of(kind).items():
        hints = hints_of_class(cls)
        prefix = "" if part in ("", *INLINE) else f"{part}."
        for item in dataclasses.fields(cls):
            if item.name != "asked" and not dataclasses.is_dataclass(hints[item.name]):
                found[prefix + item.name] = hints[item.name]
    return types.MappingProxyType(found)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Unread:
    """A field without an effect in a run of some configuration."""

    name: str
    """Flat."""
    value: Any
    usual: Any
    """Its default."""
    need: With
    """What is not met."""
    fix: str
    """Of a UsageError."""


def unread(config: RunConfig) -> list[Unread]:
    """The fields that nothing reads in a run of this configuration, by what their types need (`checks.With`)."""
    fields, parts, found = flat(config), parts_of(type(config.asked)), []
    for name, hint in hints_of(type(config.asked)).items():
        for need in needs_of(hint):
            there = fields[need.name] if need.name in fields else getattr(config.asked, need.name)
            if not need.holds(there):
                part, _, leaf = name.rpartition(".")
                owners = [parts[part]] if part else [parts[one] for one in INLINE]
                usual = next(cls.__dataclass_fields__[leaf].default for cls in owners if leaf in cls.__dataclass_fields__)
                found.append(Unread(name=name, value=fields[name], usual=usual, need=need, fix=need.unmet(there)))
    return found


def docs_of(kind: type[Asked]) -> dict[str, str]:
    """What all fields of a configuration of this kind mean, by flat name."""
    found: dict[str, str] = {}
    for part, cls in parts_of(kind).items():
        prefix = "" if part in ("", *INLINE) else f"{part}."
        for one in reversed(cls.__mro__[:-1]):
            found |= {prefix + name: text for name, text in field_docs(one).items()}
    return found


def field_docs(cls: type) -> dict[str, str]:
    """The strings that stand below the fields of a class, by field."""
    if cls.__module__ == "typing":
        return {}
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(body, ast.ClassDef)
    docs = {}
    for statement, after in itertools.pairwise(body.body):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            value = after.value if isinstance(after, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                docs[statement.target.id] = inspect.cleandoc(value.value)
    return docs


def kinds_with(name: str) -> list[type[Asked]]:
    """The kinds that have a field, or a part, of this name."""
    return [kind for kind in KINDS if name in hints_of(kind) or name in parts_of(kind)]


def taken(value: Any, hint: Any) -> Any:
    """`value` as a field of the type `hint` has it: a list as a tuple, a single value where several may be given, a path as text.

    Raises:
        TypeError: it is no such value; the message says what to give.
    """
    hint = bare(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _one_of(value, arguments)
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in arguments):
            return value
    elif origin is tuple:
        return _several(value, arguments)
    elif hint is bool and isinstance(value, bool):
        return value
    elif hint is int and isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    elif hint is float and isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    elif hint is str and isinstance(value, str | os.PathLike):
        return os.fspath(value)
    raise TypeError(f"give {_wanted(hint)}")


def accepted(name: str, value: Any, hint: Any) -> Any:
    """`value` as the field `name` of the type `hint` has it (`taken`).

    Raises:
        UsageError: it is no such value.
    """
    try:
        return taken(value, hint)
    except TypeError as error:
        raise UsageError(name, value, str(error)) from None


def _one_of(value: Any, choices: tuple[Any, ...]) -> Any:
    if value is None and type(None) in choices:
        return None
    for choice in choices:
        if choice is not type(None):
            try:
                return taken(value, choice)
            except TypeError:
                continue
    raise TypeError(f"give {' or '.join(_wanted(choice) for choice in choices)}")


def _several(value: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    many = arguments[-1] is Ellipsis
    values = list(value) if isinstance(value, Iterable) and not isinstance(value, str | Mapping) else [value]
    if not many and len(values) != len(arguments):
        raise TypeError(f"give {len(arguments)} values, each {_wanted(arguments[0])}")
    try:
        return tuple(taken(one, arguments[0] if many else arguments[place]) for place, one in enumerate(values))
    except TypeError as error:
        raise TypeError(f"{error}, or several") from None


def _wanted(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    if get_origin(hint) is tuple:
        return f"values, each {_wanted(get_args(hint)[0])}"
    names = {bool: "True or False", int: "a whole number", float: "a number", str: "a text", type(None): "None"}
    return names[hint]
