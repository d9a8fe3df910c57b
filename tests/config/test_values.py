"""What is taken as a value of a type, and what it becomes."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rayfe.config import configure, flat
from rayfe.config.arguments import checked
from rayfe.config.values import taken
from rayfe.exceptions import UsageError, brief

INTEGERS = [np.int8, np.uint16, np.int64, lambda n: np.array(n), lambda n: torch.tensor(n), lambda n: pd.Series([n])[0]]
FLOATS = [np.float64, np.array, lambda x: torch.tensor(x, dtype=torch.float64, requires_grad=True), lambda x: pd.Series([x])[0]]
SEVERAL = [tuple, list, np.array, torch.tensor, pd.Series, pd.Index]


@given(number=st.integers(0, 127), kind=st.sampled_from(INTEGERS))
def test_a_whole_number_is_the_same_whoever_made_it(number: int, kind: Any) -> None:
    found = taken(kind(number), int)
    assert (found, type(found)) == (number, int)


@given(number=st.floats(allow_nan=False), kind=st.sampled_from(FLOATS))
def test_a_number_is_the_same_whoever_made_it(number: float, kind: Any) -> None:
    found = taken(kind(number), float)
    assert (found, type(found)) == (number, float)


@given(numbers=st.lists(st.integers(0, 100), min_size=1, max_size=4), kind=st.sampled_from(SEVERAL))
def test_several_numbers_are_the_same_whatever_holds_them(numbers: list[int], kind: Any) -> None:
    for hint in (tuple[int, ...], int | Sequence[int] | None):
        found = taken(kind(numbers), hint)
        assert found == tuple(numbers) and {type(one) for one in found} == {int}


def test_a_configuration_of_numpys_numbers_is_stored_as_one_of_pythons() -> None:
    plain: dict[str, Any] = {"lam": (0.5, 1.0), "seed": (0, 1), "steps": 3, "settle": False, "tolerance": 0.25, "out": "r"}
    odd = {
        "lam": torch.tensor([0.5, 1.0]),
        "seed": np.arange(2),
        "steps": torch.tensor(3),
        "settle": np.False_,
        "tolerance": np.float32(0.25),
        "out": Path("r"),
    }
    ours, theirs = (configure(**fields, equilibration={"batch": batch}) for fields, batch in ((plain, 64), (odd, np.int16(64))))
    assert ours == theirs
    assert json.dumps(flat(ours)) == json.dumps(flat(theirs))


@pytest.mark.parametrize(
    ("value", "hint", "said"),
    [
        (True, int, "a whole number"),
        (np.True_, float, "a number"),
        (1, bool, "True or False"),
        (3.0, int, "a whole number"),
        ("3", int, "a whole number"),
        (10**400, float, "a number, below 1e308"),
        (2**63, int, "a whole number below 2^63"),
        (np.timedelta64(3), int, "a whole number"),
        (np.array([3]), int, "a whole number"),
        (torch.zeros((), device="meta"), float, "a number"),
        ({1, 2}, tuple[int, ...], "a whole number, or several"),
        (iter([1, 2]), tuple[int, ...], "a whole number, or several"),
        (b"12", tuple[int, ...], "a whole number, or several"),
        ([[1], [2]], tuple[int, ...], "a whole number, or several"),
        (np.eye(2), float | Sequence[float], "a number or a list (a number each)"),
        ((1.0, 2.0), tuple[float, float, float], "3 values, each a number"),
        ("word", Sequence[str], "a list (a text each)"),
        ({"lam": None}, Mapping[str, float], "a dict (a number each)"),
        (b"r", str | Path | None, "a text, a path or None"),
        ("a\0b", str, "a text without NUL"),
        ("ISO", Literal["iso", "paper"], "iso or paper"),
        (1, Literal["iso"] | None, "iso or None"),
        (Path("r"), type[Path], "a class derived from Path"),
    ],
)
def test_what_is_no_value_of_a_type_is_refused(value: Any, hint: Any, said: str) -> None:
    with pytest.raises(TypeError) as caught:
        taken(value, hint)
    assert str(caught.value) == f"give {said}"


def test_arguments_are_taken_by_their_annotations_and_stay_as_they_are() -> None:
    @checked
    def called(at: Mapping[str, float], *more: int, last: float | None = None) -> tuple[Any, ...]:
        """Words."""
        at["lam"] = 9.0  # type: ignore[index]
        return at, more, last

    at = {"lam": np.float64(1.0)}
    before = copy.deepcopy(at)
    assert called(at, np.int8(1), 2, last=3) == ({"lam": 9.0}, (1, 2), 3.0)
    assert at == before
    assert called.__doc__ == "Words."
    with pytest.raises(UsageError, match=r"^more=None: give a whole number$"):
        called(at, 1, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unexpected keyword argument 'lost'"):
        called(at, lost=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.zeros((30, 2)), "ndarray of shape (30, 2)"),
        (pd.Series([1.0]), "Series of shape (1,)"),
        (10**5000, "<int of 16610 bits>"),
        ("a" * 10**6, None),
        ([["word" * 100] * 100] * 100, None),
        ({"x": np.zeros(2)}, "{'x': array([0., 0.])}"),
        (0.5, "0.5"),
    ],
    ids=["array", "column", "digits", "text", "lists", "array inside", "number"],
)
def test_a_value_is_shown_in_few_words(value: Any, said: str | None) -> None:
    assert len(brief(value)) <= 203
    assert said in (None, brief(value))
