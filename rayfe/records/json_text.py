"""JSON that anybody may have written: one reader, which takes only what every program reads alike."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
from collections.abc import Sequence
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints, is_typeddict

MOST = 2**63
"""Whole numbers are below it, as they are in a table."""
DIGITS = 20
"""Of a whole number that is looked at."""


def parsed(text: str | bytes, kind: Any) -> Any:
    """The value of the type `kind`: made of dict, list and scalars, or the fields of a TypedDict or dataclass; others may be anything.

    Raises:
        ValueError: it is no JSON, is nested too deeply, or is not of the type; a name comes twice; a number is not finite, or is a whole
            number not below 2^63; a text has half a character.
    """
    try:
        text = text.decode() if isinstance(text, bytes) else text
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_refused, parse_float=_finite, parse_int=_whole)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON ({error})") from error
    fault = _fault(value, kind, "it")
    if fault is not None:
        raise ValueError(f"is not what it should be: {fault}")
    return value


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _refused(word: str) -> NoReturn:
    raise ValueError(f"{word[:DIGITS]} is no number that can be read")


def _finite(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _refused(digits)


def _whole(digits: str) -> int:
    value = int(digits[:DIGITS])
    return value if len(digits) <= DIGITS and -MOST <= value < MOST else _refused(digits)


def _fault(value: Any, kind: Any, name: str) -> str | None:
    """What of a value is not of the type; None: all is."""
    if kind is Any or type(value) in _plain(kind):
        return None
    fit = next((one for one in _composed(kind) if type(value) is (dict if _has_fields(one) else get_origin(one))), None)
    if fit is None:
        return f"{name} is {str(value)[:60]!r}"
    required: frozenset[str] = getattr(fit, "__required_keys__", frozenset())
    if missing := sorted(one for one in required if one not in value):
        return f"{name} has no {missing[0]}"
    return next(filter(None, (_fault(*part) for part in _parts(value, fit, name))), None)


def _options(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


@functools.cache
def _plain(kind: Any) -> frozenset[type]:
    """Types of values without parts that a type allows; kept, since a list may have a hundred thousand."""
    options = _options(kind)
    return frozenset(options) & {str, int, float, bool, types.NoneType} | ({int} if float in options else set())


@functools.cache
def _composed(kind: Any) -> tuple[Any, ...]:
    return tuple(one for one in _options(kind) if get_origin(one) or _has_fields(one))


def _has_fields(kind: Any) -> bool:
    return is_typeddict(kind) or dataclasses.is_dataclass(kind)


def _parts(value: Any, kind: Any, name: str) -> list[tuple[Any, Any, str]]:
    """What is in a value, with its types and names."""
    if _has_fields(kind):
        hints = get_type_hints(kind)
        return [(value[one], hints[one], one) for one in value if one in hints]
    match get_origin(kind), get_args(kind):
        case origin, (_, inner) if origin is dict:
            return [(one, inner, f"{name}.{key}"[:60]) for key, one in value.items()]
        case origin, (inner,) if origin is list:
            return [(one, inner, name) for one in value]
    return []
