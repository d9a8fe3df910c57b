"""Fields of a configuration by flat name, such as `lam_end`, `threads` and `equilibration.epochs`."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import textwrap
import types
from collections.abc import Mapping
from typing import Any

from rayfe.config.asked import Asked
from rayfe.config.checks import With, hints_of_class, needs_of
from rayfe.config.kinds import KINDS
from rayfe.config.run import RunConfig

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
    fields, usual, found = flat(config), defaults_of(type(config.asked)), []
    for name, hint in hints_of(type(config.asked)).items():
        for need in needs_of(hint):
            there = fields[need.name] if need.name in fields else getattr(config.asked, need.name)
            if not need.holds(there):
                found.append(Unread(name=name, value=fields[name], usual=usual[name], need=need, fix=need.unmet(there)))
    return found


def defaults_of(kind: type[Asked]) -> dict[str, Any]:
    """The defaults of all fields of a configuration of this kind, by flat name."""
    found: dict[str, Any] = {}
    for part, cls in parts_of(kind).items():
        prefix = "" if part in ("", *INLINE) else f"{part}."
        found |= {prefix + item.name: item.default for item in dataclasses.fields(cls)}
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
