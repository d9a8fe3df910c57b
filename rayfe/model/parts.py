"""Parts of a model that a configuration names (marginal, likelihood, task): a class of rayfe's own by its name, or the user's."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from torch import nn

from rayfe.config import ModelConfig, require
from rayfe.config.user_code import named
from rayfe.exceptions import UsageError

P = TypeVar("P", bound=nn.Module)


@contextlib.contextmanager
def on_trial(part: str, name: str, what: str = "fails") -> Iterator[None]:
    """While a part that is called `name` is tried: what its code raises says that it is bad input.

    Raises:
        UsageError: model.PART; "`what` (the error)".
    """
    try:
        yield
    except UsageError:
        raise
    except Exception as error:  # a class of the user's own may raise anything
        raise UsageError(f"model.{part}", name, f"{what} ({type(error).__name__}: {error})") from error


def part_class(config: ModelConfig, part: str, base: type[P], built_in: Mapping[str, type[P]]) -> type[P]:
    """The class that the field `part` of a configuration names, a subclass of `base`; `built_in` has those that need no module.

    Raises:
        UsageError: model.PART; there is no such class, or it is none of `base`.
    """
    field, name = f"model.{part}", getattr(config, part)
    if name in built_in:
        return built_in[name]
    known = f"give {', '.join(built_in)}, or package.module:Class of a {part} of your own"
    require(":" in name, field, name, known)
    found = named(name, field, known=known)
    fits = inspect.isclass(found) and issubclass(found, base)
    require(fits, field, name, f"is {found!r}, expected a subclass of {base.__module__}.{base.__qualname__}")
    return found


def with_part(
    model: Any, config: ModelConfig, part: str, base: type[P], built_in: Mapping[str, type[P]], **arguments: Any
) -> Any:
    """The model with the part that `config` names as its attribute, called as `Class(**arguments)`; by default as it is, with its own.

    Raises:
        UsageError: model.PART; there is no such part, it cannot be built, or the model has one of its own.
    """
    field, name, own = f"model.{part}", getattr(config, part), getattr(model, part, None)
    if name == getattr(ModelConfig(), part):
        fix = f"has an attribute `{part}` that is {own!r}, expected a subclass of {base.__module__}.{base.__qualname__}"
        require(own is None or isinstance(own, base), "model.name", config.name, fix)
        return model
    require(own is None, field, name, f"{config.name} has a {part} of its own; leave ``{field}`` away")
    cls = part_class(config, part, base, built_in)
    called = ", ".join(f"{argument}=..." for argument in arguments)
    with on_trial(part, name, f"cannot be built as Class({called})"):
        setattr(model, part, cls(**arguments).train())
    return model
