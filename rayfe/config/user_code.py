"""Classes and functions of the user's own, by the name `package.module:Name` under which run.json remembers them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import inspect
import textwrap
from typing import Any

from rayfe.config import require
from rayfe.exceptions import UsageError

NOTEBOOK = "__main__:"
"""How names begin of what was defined in a notebook, or in the script that runs."""


def named(name: str, field: str, *, known: str) -> Any:
    """What `package.module:Name` names; `known` says what else may be given for `field`.

    Raises:
        UsageError: it cannot be imported here.
    """
    module, _, attribute = name.partition(":")
    require(bool(module and attribute), field, name, f"cannot be imported; {known}")
    try:
        return functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
    except Exception as error:  # importing runs a module of the user's own
        fix = f"cannot be imported ({error}); {known}"
        if name.startswith(NOTEBOOK):
            fix = "was defined in a notebook or script and is not known here; define it here under the same name"
        raise UsageError(field, name, fix) from error


def name_of(thing: Any, field: str) -> str:
    """The name by which `named` finds a class, here or wherever its module can be imported.

    Raises:
        UsageError: it is not a class, or no such name leads to it.
    """
    fix = "give the class itself, not an object of it" if not inspect.isclass(thing) else ""
    require(not fix, field, _shown(thing), fix)
    require("<locals>" not in thing.__qualname__, field, thing.__qualname__, "is defined inside a function; define it outside")
    name = f"{thing.__module__}:{thing.__qualname__}"
    found = None
    with contextlib.suppress(UsageError):
        found = named(name, field, known="")
    require(found is thing, field, name, "is another class by now, or none; run the cell or import that defines it again")
    return name


def code_digest(thing: Any) -> str | None:
    """SHA-256 of the source of a class or function, but for comments and blank lines; None where it cannot be read.

    What it calls or inherits is not in it.
    """
    parts = []
    try:
        parts = [inspect.getsource(thing)]
    except (OSError, TypeError):  # a class of a notebook has no file, but its functions know their cell
        for name, value in vars(thing).items() if inspect.isclass(thing) else ():
            if isinstance(value, int | float | str | tuple) and not name.startswith("__"):
                parts.append(f"{name} = {value!r}")
            with contextlib.suppress(OSError, TypeError):
                parts += [inspect.getsource(value)] if inspect.isfunction(value) else []
    lines = [line.rstrip() for part in parts for line in textwrap.dedent(part).splitlines()]
    text = "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))
    return hashlib.sha256(text.encode()).hexdigest() if text else None


def _shown(thing: Any) -> str:
    return f"{type(thing).__name__}(...)"
