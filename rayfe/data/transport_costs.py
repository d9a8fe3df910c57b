"""Transport cost between examples: squared Euclidean distance of pixels or features, or a user's function of two arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from rayfe.config import require
from rayfe.config.user_code import named
from rayfe.data.examples import Examples
from rayfe.exceptions import UsageError

BLOCK = 1 << 25
"""Entries of a cost matrix that are held at a time (float32: 128 MiB)."""
REACH = 10.0
"""Pairs that are dearer than so many times what is surely needed are taken for forbidden, until a coupling needs them."""
Function = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(n, features), (m, features) -> (n, m)."""


@dataclass(frozen=True)
class Costs:
    """Transport cost between flat examples in [0, 1]."""

    source: np.ndarray
    target: np.ndarray
    function: Function | None
    """A user's cost; None: squared Euclidean distance."""
    most: float = np.inf
    """Pairs of a user's cost that are dearer count as if they cost this: what forbids them would drown the others in rounding."""

    def between(self, rows: np.ndarray, columns: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Costs of every one of `rows` with every one of `columns`, float32 (rows, columns)."""
        x, y = self.source[rows], self.target[columns]
        if self.function is None:
            cost = x @ y.T
            cost *= np.float32(-2.0)
            cost += np.einsum("ij,ij->i", x, x)[:, None]
            cost += np.einsum("ij,ij->i", y, y)
            return np.maximum(cost, np.float32(0.0), out=cost)
        try:
            cost = np.asarray(self.function(x, y))
        except Exception as error:  # a function of the user's own may raise anything
            fix = f"fails for arrays of shapes {x.shape} and {y.shape} ({type(error).__name__}: {error})"
            raise UsageError("path.cost", "(the function)", fix) from error
        require(
            cost.shape == (len(x), len(y)),
            "path.cost",
            "(its result)",
            f"has shape {cost.shape} for {len(x)} and {len(y)} examples, return one cost for each pair",
        )
        numbers = f"holds {cost.dtype}, return real numbers"
        require(cost.dtype.kind in "biuf", "path.cost", "(its result)", numbers)
        sound = bool((cost > -np.inf).all())
        fix = "is NaN or -inf for some pair; return numbers, and inf for pairs that are forbidden"
        require(sound, "path.cost", "(its result)", fix)
        with np.errstate(over="ignore"):  # beyond float32 is as good as infinite
            return np.minimum(cost, self.most).astype(np.float32)

    def of_pairs(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Costs of pairs (rows[k], columns[k]), float64 (pairs,)."""
        cost = np.empty(len(rows))
        if self.function is not None:
            order = np.argsort(rows, kind="stable")
            for pairs in np.split(order, np.flatnonzero(np.diff(rows[order])) + 1):
                cost[pairs] = self.between(rows[pairs[:1]], columns[pairs])[0]
            return cost
        for start in range(0, len(rows), 1 << 14):
            part = slice(start, start + (1 << 14))
            apart = self.source[rows[part]] - self.target[columns[part]]
            cost[part] = np.einsum("ij,ij->i", apart, apart)
        return cost

    def restricted(self, rows: np.ndarray, columns: np.ndarray) -> Costs:
        """The same between some of the examples."""
        return replace(self, source=self.source[rows], target=self.target[columns])


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """How far a user's costs reach."""

    lowest: float
    reach: float
    """No coupling does without a pair that costs so much: the dearest of the cheapest partners."""
    above: float
    """The lowest cost above `lowest`."""
    highest: float
    """The highest that is finite."""

    @property
    def height(self) -> float:
        """Above the lowest cost: what is REACH times as dear as the dearest pair that is surely needed."""
        return REACH * (self.reach - self.lowest) or self.above - self.lowest or 1.0

    @classmethod
    def of(cls, costs: Costs) -> Spread:
        """By one pass over all pairs.

        Raises:
            UsageError: path.cost; an example has no partner at a finite cost, or a cost is NaN.
        """
        n, m = len(costs.source), len(costs.target)
        columns, reach, above, highest = np.full(m, np.inf), -np.inf, np.inf, -np.inf
        for rows in blocks(np.arange(n), m):
            cost = costs.between(rows)
            columns = np.minimum(columns, cost.min(0))
            reach = max(reach, float(cost.min(1).max()))
            highest = max(highest, float(cost.max(initial=-np.inf, where=np.isfinite(cost))))
            above = min(above, float(cost.min(initial=np.inf, where=cost > columns.min())))
        reach = max(reach, float(columns.max()))
        fix = "is infinite between some example and all partners; allow it one"
        require(np.isfinite(reach), "path.cost", "(its result)", fix)
        return cls(lowest=float(columns.min()), reach=reach, above=min(above, highest), highest=highest)


def blocks(rows: np.ndarray, columns: int) -> Iterator[np.ndarray]:
    """`rows` in parts whose cost fits into a block."""
    size = max(1, BLOCK // columns)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def costs_between(source: Examples, target: Examples, name: str) -> Costs:
    """The cost that --path.cost names, between the rows of both.

    Raises:
        UsageError: there is no such function, or a squared distance is not finite.
    """
    return Costs(_flat(source), _flat(target), _function(name))


def _flat(examples: Examples) -> np.ndarray:
    x = examples.x.reshape(len(examples.x), -1)
    if x.dtype == np.uint8:
        return x.astype(np.float32) / np.float32(255.0)
    x = x.astype(np.float32)
    fix = "is not finite between some examples, remove NaN, infinite and huge values from the data"
    require(bool(np.isfinite(np.einsum("ij,ij->i", x, x)).all()), "path.cost", "squared-l2", fix)
    return x


def _function(name: str) -> Function | None:
    if name == "squared-l2":
        return None
    function = named(name, "path.cost", known="give squared-l2, or package.module:function")
    require(callable(function), "path.cost", name, "is not a function, give package.module:function")
    return function
