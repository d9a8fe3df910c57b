"""Values as people give them in Python, taken by the types that arguments and fields are declared with."""

from __future__ import annotations

import os
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from rayfe.exceptions import UsageError

NAMES: Mapping[str, str] = types.MappingProxyType(
    {
        "bool": "True or False",
        "int": "a whole number",
        "float": "a number",
        "str": "a text",
        "Path": "a path",
        "NoneType": "None",
        "Dataset": "what rayfe.dataset(x, y) makes of arrays, tensors or frames",
        "DataFrame": "a frame of rows such as rayfe.load_run gives",
    }
)
"""What a value of a class is called; of others it is the name of the class."""


def taken(value: Any, hint: Any) -> Any:
    """`value` as an argument or field of the type `hint` has it: a list as a tuple, a path as text, a number of numpy or torch as
    Python's. Where a field has several values, one may be given alone.

    A number is an int or a float of Python, numpy or torch, also in an array or tensor without axes. No truth value is a number, and
    no number a truth value. What can be read only once, or has no order, is not several values.

    Raises:
        TypeError: it is no such value; the message says what to give.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if isinstance(hint, TypeVar):
        return taken(value, hint.__bound__)
    if origin is Annotated:
        return taken(value, arguments[0])
    if origin in (Union, types.UnionType):
        return _one_of(value, arguments)
    if origin is Literal:
        return _choice(value, hint)
    if origin in (tuple, Sequence):
        alone = origin is tuple and arguments[-1] is Ellipsis and not _is_list(value)
        return _several([value] if alone else value, hint)
    if origin is Mapping and isinstance(value, Mapping):
        return _mapping(value, hint)
    if origin is type and isinstance(value, type) and (arguments[0] is Any or issubclass(value, arguments[0])):
        return value
    return _one(value, hint)


def accepted(name: str, value: Any, hint: Any) -> Any:
    """`value` as the argument or field `name` of the type `hint` has it (`taken`).

    Raises:
        UsageError: it is no such value.
    """
    try:
        return taken(value, hint)
    except TypeError as error:
        raise UsageError(name, value, str(error)) from None


def _one(value: Any, hint: Any) -> Any:
    """A value of one class."""
    if hint is str and isinstance(value, os.PathLike):
        value = os.fspath(value)
    value = _scalar(value)
    if hint is str and isinstance(value, str):
        if "\0" in value:
            raise TypeError("give a text without NUL")
        return str.__str__(value)
    if hint is int or hint is float:
        if isinstance(value, int | hint) and not isinstance(value, bool):
            return _number(value, hint)
    elif isinstance(hint, type) and isinstance(value, hint):
        return value
    raise TypeError(f"give {_wanted(hint)}")


def _number(value: float, hint: type[float]) -> float:
    if hint is int and not -(2**63) <= value < 2**63:
        raise TypeError(f"give {_wanted(hint)} below 2^63")
    try:
        return hint(value)
    except OverflowError:
        raise TypeError(f"give {_wanted(hint)}, below 1e308") from None


def _scalar(value: Any) -> Any:
    """Python's number where it is one of numpy or torch, or in an array without axes; everything else as it is."""
    kind = getattr(getattr(value, "dtype", None), "kind", "f")  # torch's types have none; a span of time is no number
    if isinstance(value, type) or getattr(value, "ndim", None) != 0 or kind not in "biuf":
        return value
    try:
        return value.item()
    except RuntimeError:  # a tensor without values
        return value


def _is_list(value: Any) -> bool:
    """Whether it is several values in an order that can be read again: a list, a tuple, or what has one axis."""
    if isinstance(value, Sequence):
        return not isinstance(value, str | bytes | bytearray | memoryview)
    return not isinstance(value, type) and getattr(value, "ndim", None) == 1 and hasattr(value, "__len__")


def _one_of(value: Any, choices: tuple[Any, ...]) -> Any:
    said = []
    for choice in choices:
        try:
            return taken(value, choice)
        except TypeError as error:
            said.append(str(error).removeprefix("give "))
    raise TypeError(f"give {_either(said)}")


def _choice(value: Any, hint: Any) -> Any:
    """One of a few words or numbers."""
    value = _scalar(value)
    for choice in get_args(hint):
        if isinstance(value, type(choice)) and isinstance(value, bool) == isinstance(choice, bool) and value == choice:
            return choice
    raise TypeError(f"give {_wanted(hint)}")


def _several(values: Any, hint: Any) -> tuple[Any, ...]:
    arguments = get_args(hint)
    many = get_origin(hint) is Sequence or arguments[-1] is Ellipsis
    if not _is_list(values) or not (many or len(values) == len(arguments)):
        raise TypeError(f"give {_wanted(hint)}")
    try:
        return tuple(taken(one, arguments[0 if many else place]) for place, one in enumerate(values))
    except TypeError:
        raise TypeError(f"give {_wanted(hint)}") from None


def _mapping(values: Mapping[Any, Any], hint: Any) -> dict[Any, Any]:
    names, wanted = get_args(hint)
    try:
        return {taken(name, names): taken(one, wanted) for name, one in values.items()}
    except TypeError:
        raise TypeError(f"give {_wanted(hint)}") from None


def _wanted(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _either([_wanted(choice) for choice in arguments])
    if origin is Literal:
        return _either([str(choice) for choice in arguments])
    if origin is tuple and arguments[-1] is Ellipsis:
        return f"{_wanted(arguments[0])}, or several"
    if origin is tuple:
        return f"{len(arguments)} values" + ("" if arguments[0] is Any else f", each {_wanted(arguments[0])}")
    if origin is Sequence:
        return f"a list ({_wanted(arguments[0])} each)"
    if origin is Mapping:
        return "a dict" if arguments[1] is Any else f"a dict ({_wanted(arguments[1])} each)"
    if origin is type:
        return "a class" + ("" if arguments[0] is Any else f" derived from {arguments[0].__name__}")
    name = hint.__name__
    return NAMES.get(name, f"{'an' if name[0] in 'AEIOU' else 'a'} {name}")


def _either(words: Sequence[str]) -> str:
    *first, last = dict.fromkeys(words)
    return f"{', '.join(first)} or {last}" if first else last
