"""Whatever is given as an argument of a public call: it is taken as what it is, or refused by one line before any work.

Calls and arguments are found by introspection, so that a new one is covered.
"""

from __future__ import annotations

import inspect
import os
import sys
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import rayfe
import untrained_job
from odd_values import Unwritable, near, values
from rayfe.config import Conditioned, RunConfig, Transfer, Walk, flat
from rayfe.config.fields import hints_of
from rayfe.exceptions import DIRECT, UsageError, visible
from rayfe.run import api, job, stored_run, universal

pytestmark = pytest.mark.filterwarnings("ignore")
FIELDS = {
    "walk": {*hints_of(Walk)} - {*DIRECT},
    "transfer": {*hints_of(Transfer)} - {*hints_of(Walk)},
    "conditioned": {*hints_of(Conditioned)} - {*hints_of(Walk)},
}
"""What these take besides the arguments that they name; what several have is thrown at one."""


class Began(Exception):
    """All arguments were taken: here the work would begin."""


def public_calls() -> dict[str, Callable[..., Any]]:
    """The public functions, and the constructors and methods of the public classes and of what public functions return."""
    things = {name: getattr(rayfe, name) for name in rayfe.__all__ if name not in ("UsageError", "__version__")}
    functions = [thing for thing in things.values() if inspect.isfunction(thing)]
    returned = [typing.get_type_hints(function)["return"] for function in functions]
    found = dict(things)
    for cls in {
        thing for thing in (*things.values(), *returned) if inspect.isclass(thing) and thing.__module__.startswith("rayfe.")
    }:
        methods = inspect.getmembers(cls, inspect.isfunction)
        found |= {f"{cls.__name__}.{name}": method for name, method in methods if not name.startswith("_")}
    return found


CALLS = public_calls()


def arguments() -> Iterator[str]:
    """Every argument of every public call, with the call before it."""
    for call, function in CALLS.items():
        names = {name: one.kind for name, one in inspect.signature(function).parameters.items() if name != "self"}
        for name, kind in names.items():
            found = FIELDS[call] - {*names} if kind is inspect.Parameter.VAR_KEYWORD else {name}
            yield from (f"{call}:{one}" for one in found)


ARGUMENTS = sorted(arguments())


def began(*asked: Any, **_: Any) -> None:
    raise Began(*asked)


@pytest.fixture(scope="module")
def given_else(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Sound values of the arguments that a call needs, in a folder with a stored run, where nothing is trained, drawn or written."""
    patch = pytest.MonkeyPatch()
    patch.chdir(tmp_path_factory.mktemp("any"))
    stub = types.ModuleType("rayfe.run.runner")
    stub.run, stub.trains_on_gpus = untrained_job.walk, lambda config: False
    patch.setitem(sys.modules, "rayfe.run.runner", stub)
    patch.setattr(job, "_report", lambda *_: None)
    run = rayfe.walk("digits-smoke", steps=2, out="stored", quiet=True)
    for module, name in ((api, "carry_out"), (api, "load_path"), (stored_run, "report_of"), (universal, "compare")):
        patch.setattr(module, name, began)
    x, y = np.linspace(0, 1, 60).reshape(20, 3), np.arange(20) % 2
    yield {"self": run, "location": "stored", "rows": run.rows, "x": x, "y": y, "out": "new/run", "quiet": True}
    patch.undo()


def called(call: str, argument: str, value: Any, sound: dict[str, Any]) -> Any:
    """The answer to a call with this argument; everything else is sound."""
    parameters = inspect.signature(CALLS[call]).parameters
    needed = {name for name, one in parameters.items() if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD}
    fixed = {name: sound[name] for name in parameters if name in needed | {"y", "out", "quiet"}}
    if call == "walk":
        fixed["preset"] = "digits-smoke"
    if argument in parameters and parameters[argument].kind is inspect.Parameter.VAR_POSITIONAL:
        return CALLS[call](*fixed.values(), value)
    return CALLS[call](**fixed | {argument: value})


def is_refused(where: str, value: Any, sound: dict[str, Any]) -> bool:
    """Whether a call refuses a value; that it says so in one line of Python's words, and leaves nothing."""
    call, _, argument = where.partition(":")
    try:
        called(call, argument, value, sound)
    except Began as work:
        for asked in work.args[:1]:
            config = asked.config if isinstance(asked, job.Job) else asked
            assert not isinstance(config, RunConfig) or plain(flat(config)), (where, value)
    except UsageError as error:
        text = str(error)
        assert argument.rpartition(".")[2] in text.partition("; ")[0], text
        assert text == visible(text) and len(text) <= 1010, text
        assert isinstance(value, str) or "--" not in text, text
        return True
    except OSError:  # a place where nothing is
        assert isinstance(value, str | Path), (where, value)
    finally:
        assert os.listdir() == ["stored"]
    return False


def plain(fields: dict[str, Any]) -> bool:
    """Whether all values of a configuration are Python's own."""
    kinds = (bool, int, float, str, type(None))
    values = [one for value in fields.values() for one in (value if type(value) is tuple else (value,))]
    return all(type(value) in kinds for value in values)


THROWN = settings(derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("where", ARGUMENTS)
@settings(THROWN, max_examples=8)
@given(data=st.data())
def test_a_bad_argument_is_refused_by_one_line(where: str, given_else: dict[str, Any], data: st.DataObject) -> None:
    is_refused(where, data.draw(thrown(where, given_else)), given_else)


@pytest.mark.slow
@pytest.mark.parametrize("where", ARGUMENTS)
@settings(THROWN, derandomize=False, max_examples=500)
@given(data=st.data())
def test_a_bad_argument_is_refused_however_often_one_tries(where: str, given_else: dict[str, Any], data: st.DataObject) -> None:
    is_refused(where, data.draw(thrown(where, given_else)), given_else)


def thrown(where: str, sound: dict[str, Any]) -> st.SearchStrategy[Any]:
    return values() | near(sound["rows"]) if where.endswith((":rows", ":models")) else values()


@pytest.mark.parametrize("where", ARGUMENTS)
def test_what_is_no_value_of_any_argument_is_refused(where: str, given_else: dict[str, Any]) -> None:
    """So that the tests above can fail: an object of no use, and one whose repr fails."""
    for value in (object(), Unwritable(), 1j):
        assert is_refused(where, value, given_else)
