"""Arguments of public calls, taken by their annotations: what is none of its type is refused before the call does anything."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from rayfe.config.values import accepted

P = ParamSpec("P")
T = TypeVar("T")


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """`function` with every argument that is given as its annotation says it (`values.taken`); what is not given has its default.

    The function then raises UsageError, which names the argument, where one is no such value.
    """
    signature = inspect.signature(function)

    @functools.cache
    def hint(name: str) -> Any:
        # when it is first needed: types are imported late
        return eval(signature.parameters[name].annotation, function.__globals__)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            parameter = signature.parameters[name]
            if parameter.annotation is not parameter.empty and parameter.kind is not parameter.VAR_KEYWORD:
                many = parameter.kind is parameter.VAR_POSITIONAL
                one = functools.partial(accepted, name, hint=hint(name))
                bound.arguments[name] = tuple(map(one, value)) if many else one(value)
        return function(*bound.args, **bound.kwargs)

    return call
