"""Classes and functions of the user's own, by the name `package.module:Name` under which run.json remembers them.

Importing runs code, so only `introduce` does it, where whoever runs rayfe gave the name or trusts the run. Everything else takes
what is loaded: looking at a run that somebody sent runs nothing of theirs.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import inspect
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

from rayfe.config.checks import require
from rayfe.exceptions import UsageError

NOTEBOOK = "__main__:"
"""How names begin of what was defined in a notebook, or in the script that runs."""


PARTS = ("marginal", "likelihood", "task")
"""Fields of the model's section that name a part of it."""
OF_MODELS = frozenset({"model.name", *(f"model.{part}" for part in PARTS)})
"""Fields of a configuration that may name code of which a model is made."""
FIELDS = (*OF_MODELS, "process", "path.cost")
"""All that may name code."""


def own_names(fields: Mapping[str, Any]) -> dict[str, str]:
    """Those of the flat fields of a configuration that name code of the user's own."""
    return {field: fields[field] for field in FIELDS if ":" in str(fields.get(field))}


def introduce(names: Mapping[str, str]) -> None:
    """Import the modules of `own_names`, which runs their code.

    Raises:
        UsageError: one cannot be imported here.
    """
    for field, name in names.items():
        if name.startswith(NOTEBOOK):
            continue  # not to be imported; `named` says where it is not known
        try:
            importlib.import_module(name.partition(":")[0])
        except Exception as error:  # it is code of the user's own
            fix = f"cannot be imported ({error}); give package.module:Class, of a module that Python finds here"
            raise UsageError(field, name, fix) from error


def named(name: str, field: str, *, known: str) -> Any:
    """What `package.module:Name` names in a module that is loaded; `known` says what else may be given for `field`.

    Raises:
        UsageError: the module is not loaded (`introduce`), or has no such name.
    """
    module, _, attribute = name.partition(":")
    require(bool(module and attribute), field, name, f"cannot be imported; {known}")
    fix = "is code that is not loaded; import its module first, if you trust it"
    require(module in sys.modules, field, name, fix)
    try:
        return functools.reduce(getattr, attribute.split("."), sys.modules[module])
    except Exception as error:  # a module of the user's own may answer anything
        fix = f"cannot be imported ({error}); {known}"
        if name.startswith(NOTEBOOK):
            fix = "was defined in a notebook or script and is not known here; define it here under the same name"
        raise UsageError(field, name, fix) from error


def name_of(thing: type, field: str) -> str:
    """The name by which `named` finds a class, here or wherever its module can be imported.

    Raises:
        UsageError: no such name leads to it.
    """
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
