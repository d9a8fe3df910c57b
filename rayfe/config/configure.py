"""A configuration from its fields by flat name, on top of another one."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rayfe.config.asked import Asked
from rayfe.config.checks import Needs, require
from rayfe.config.fields import INLINE, flat, hints_of, kinds_with, parts_of, unread
from rayfe.config.kinds import kind_of
from rayfe.config.run import RunConfig
from rayfe.config.start import is_state_dict
from rayfe.config.values import accepted
from rayfe.exceptions import UsageError

CHOOSING = ("process", "method", "seek")
"""Fields that say which kind is asked for; None is taken of every kind."""


def configure(base: RunConfig | None = None, /, **fields: Any) -> RunConfig:
    """`base` (the defaults without it) with these fields: `configure(base, lam_end=2.0, equilibration={"epochs": 5})`.

    A field has its flat name, such as `lam_end`, `threads` or `equilibration.epochs`; a part is given as a whole, or as a dict of
    those of its fields that change. `process`, `method` and `seek` choose the kind of run; of another kind than `base` it has the
    fields that both have.

    Raises:
        UsageError: there is no such field, it is another kind's or has no effect here, or its value is none that it takes.
    """
    base = RunConfig() if base is None else base
    given = spread(fields)
    before = flat(base)
    if isinstance(given.get("start"), str | os.PathLike) and not is_state_dict(os.fspath(given["start"])):
        given = {"lam": (), "gamma": ()} | given  # those of the stored step, unless they are named
    chosen = {name: given[name] if name in given else getattr(base.asked, name) for name in CHOOSING}
    kind = kind_of(**chosen)
    hints = hints_of(kind)
    values = {name: value for name, value in before.items() if name in hints}
    for name, value in given.items():
        if name not in hints:
            if name in CHOOSING and value is None:
                continue
            raise unknown(name, value, kind)
        values[name] = accepted(name, value, hints[name])
    try:
        config = built(kind, values)
    except UsageError as error:
        raise _of_what_was_given(error, given) from error
    for one in unread(config):
        neutral = one.name not in given or one.value in (before.get(one.name, one.usual), one.usual)
        require(neutral, one.name, one.value, one.fix)
    return config


def _of_what_was_given(error: UsageError, given: Mapping[str, Any]) -> UsageError:
    """The error of a field that was given, where it is of one that was there before and does not go with it."""
    named = re.findall(r"``([a-z][a-z_.]*)", error.fix)
    name = next((one for one in named if one in given), None)
    if name is None or error.name in given:
        return error
    fix = f"does not go with ``{error.name}={error.value}``, which is set already; change one of the two: ``{error.name}`` {error.fix}"
    return UsageError(name, given[name], fix)


def spread(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields by flat name, where parts are given as dataclasses or dicts."""
    given: dict[str, Any] = {}
    for name, value in fields.items():
        prefix = "" if name in INLINE else f"{name}."
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            given |= flat(value, prefix)
        elif isinstance(value, Mapping) and value:
            given |= {f"{prefix}{field}": one for field, one in value.items()}
        else:
            given[name] = value
    return given


def built(kind: type[Asked], values: Mapping[str, Any]) -> RunConfig:
    """The configuration of a kind whose fields these are; what is missing has its default."""
    parts = parts_of(kind)
    made: dict[str, Any] = {}
    for part in sorted(parts, key=lambda name: ("", "asked").index(name) if name in ("", "asked") else 2, reverse=True):
        cls = parts[part]
        prefix = "" if part in ("", *INLINE) else f"{part}."
        own = {}
        for item in dataclasses.fields(cls):
            if item.name in made:
                own[item.name] = made[item.name]
            elif prefix + item.name in values:
                own[item.name] = values[prefix + item.name]
        made[part] = cls(**own)
    config: RunConfig = made[""]
    for one in unread(config):
        require(not isinstance(one.need, Needs) or one.value == one.usual, one.name, one.value, one.fix)
    return config


def from_flat(fields: Mapping[str, Any]) -> RunConfig:
    """The configuration that was stored as these `flat` fields; what is missing has its default.

    Fields that no kind has, or another one than is asked for, are left out.

    Raises:
        UsageError: the fields are not those of a configuration.
    """
    fields = renamed(fields)
    process = fields.get("process", "iso-classification")
    kind = kind_of(process=process, method=fields.get("method"), seek=fields.get("seek"))
    known = hints_of(kind)  # once: it takes milliseconds, and a page reads many runs
    return built(kind, {name: accepted(name, value, known[name]) for name, value in fields.items() if name in known})


def renamed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Stored fields as this version has them: the solver of couplings follows from their regularisation, all partial readings have
    one size, and words stand for what were truth values and null."""
    now = dict(fields)
    if now.pop("path.solver", None) == "exact":
        now["path.regularization"] = None
    if now.get("measure.response_size") is None and now.get("measure.settle_size") is not None:
        now["measure.response_size"] = now["measure.settle_size"]
    words: dict[str, dict[Any, str | None]] = {
        "autoscale": {False: None, True: "cpu"},
        "equilibration.compile": {False: "never", True: "update"},
        "replicas_per_evaluator": {None: "all"},
    }
    for name in words:
        if name in now and isinstance(now[name], str | int | None):
            now[name] = words[name].get(now[name], now[name])
    return now


def unknown(name: str, value: object, kind: type[Asked]) -> UsageError:
    """The error of a field that this kind does not have."""
    others = [other.called for other in kinds_with(name)]
    if name in parts_of(kind):
        example = next(field for field in hints_of(kind) if field.startswith(f"{name}."))
        return UsageError(name, value, f"give a dict of its fields, such as ``{example}``")
    if others:
        return UsageError(name, value, f"is for {', '.join(others)}, not for {kind.called}; leave it away")
    near = _nearest(name, list(hints_of(kind)))
    return UsageError(name, value, f"is unknown; did you mean ``{near}``?" if near else "is unknown")


def _nearest(name: str, known: Sequence[str]) -> str | None:
    """The known field that `name` is most like: of the same part where it names one, else of all, with or without their parts."""
    part, dot, leaf = name.rpartition(".")
    if dot and any(field.startswith(f"{part}.") for field in known):
        leaves = {field.rpartition(".")[2]: field for field in known if field.startswith(f"{part}.")}
        near = difflib.get_close_matches(leaf, leaves, n=1)
        return leaves[near[0]] if near else None
    leaves = {field.rpartition(".")[2]: field for field in reversed(known) if "." in field}
    near = [name] if name in leaves else difflib.get_close_matches(name, [*known, *leaves], n=1)
    return leaves.get(near[0], near[0]) if near else None
