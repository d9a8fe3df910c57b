"""Values of every kind that somebody may give as an argument, for property-based tests."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from hypothesis import strategies as st
from torch import nn


class Unwritable:
    """Its repr fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


class Endless:
    """Its repr is a book."""

    def __repr__(self) -> str:
        return "word\n" * 100_000


FIXED: tuple[Callable[[], Any], ...] = (
    lambda: np.zeros((1000, 1000)),
    lambda: torch.zeros(1000, 1000),
    lambda: torch.zeros((), device="meta"),
    lambda: torch.tensor(0.5, requires_grad=True),
    lambda: list(range(10_000)),
    lambda: pd.DataFrame({"a": [1.0]}),
    lambda: pd.NA,
    lambda: np.timedelta64(5),
    lambda: np.datetime64("2000"),
    lambda: np.longdouble("0.5"),
    lambda: datetime.date(2000, 1, 1),
    lambda: 10**5000,
    lambda: -(10**400),
    lambda: "a" * 100_000,
    lambda: "a\0b",
    lambda: "a\udc80\nb",
    lambda: Path("there"),
    lambda: nn.Linear(2, 2),
    lambda: nn.Linear,
    lambda: int,
    lambda: math,
    lambda: math.sqrt,
    lambda: ...,
    lambda: object(),
    Unwritable,
    Endless,
)
"""Made anew each time: what can be read once, or changed, is not shared."""

NUMBERS = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.builds(Decimal, st.floats()),
    st.builds(Fraction, st.floats(allow_nan=False, allow_infinity=False)),
    st.sampled_from([np.bool_(True), np.int8(3), np.uint64(2**64 - 1), np.float16(0.5), np.float32(math.inf), np.complex64(1)]),
)
WORDS = st.one_of(st.text(max_size=8), st.binary(max_size=8), st.sampled_from(["3", "0.5", "None", "lam", "all"]))
PLAIN = st.one_of(st.none(), NUMBERS, WORDS)
LISTS = st.lists(PLAIN, max_size=3)
ARRAYS = st.one_of(st.integers(0, 9), st.floats(), st.lists(st.floats(), max_size=3), st.lists(st.integers(0, 9), max_size=3))
NAMES = st.sampled_from(["lam", "C", "t", "a", "", 1, None])


def values() -> st.SearchStrategy[Any]:
    """Anything."""
    return st.one_of(
        PLAIN,
        st.sampled_from(FIXED).map(lambda make: make()),
        LISTS,
        LISTS.map(tuple),
        LISTS.map(iter),
        st.frozensets(PLAIN, max_size=3),
        st.dictionaries(NAMES, PLAIN, max_size=2),
        ARRAYS.map(np.array),
        ARRAYS.map(torch.tensor),
        ARRAYS.map(pd.Series),
        st.lists(LISTS, max_size=2),
    )


def near(frame: pd.DataFrame) -> st.SearchStrategy[pd.DataFrame]:
    """Frames that are almost `frame`: a column is missing or holds something else, or rows are there twice."""
    names = st.sampled_from(list(frame.columns))
    return st.one_of(
        names.map(lambda name: frame.drop(columns=name)),
        st.tuples(names, PLAIN).map(lambda one: frame.assign(**{one[0]: [one[1]] * len(frame)})),
        st.just(pd.concat([frame, frame])),
        names.map(lambda name: pd.concat([frame, frame[[name]]], axis=1)),
        st.integers(0, len(frame)).map(frame.head),
    )
