"""A walk's model at any lam, without training: the weights of stored ones beside it on one way, interpolated in log lam."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rayfe.config import FreeWalk, RunConfig, Walk, require
from rayfe.records import Kind, Outcome, Point, StepRecord, Weights
from rayfe.storage.store import Store
from rayfe.surface.envelope import bound

ANEW = (Kind.RENEWAL, Kind.LEAP)
"""Rows whose weights are not those of the row before, a little further."""
EVEN = 0.5
"""Length in log lam that a step has at least, as part of its neighbour's, where a cubic takes both."""
VARIANCE = "running_var"
"""How a batch-norm layer's variances end; a cubic through positive numbers may be negative."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Between:
    """The model at `lam` by a polynomial in log lam through the stored `rows` of one way, as many on each side: two or four.

    Batch-norm statistics are interpolated like parameters, so no data are needed. On MNIST and Fashion-MNIST F is within 0.2 % and C
    within 1 % of what the rows say half-way between two of them (docs/which.md).
    """

    rows: tuple[StepRecord, ...]
    lam: float

    @property
    def shares(self) -> tuple[float, ...]:
        """Part of each row in the weights (Lagrange); their sum is 1."""
        at = [math.log(row.lam / self.lam) for row in self.rows]
        return tuple(math.prod(other / (other - one) for other in at if other != one) for one in at)

    @property
    def gamma(self) -> float:
        """Its multiplier of C: that of the rows, interpolated alike."""
        return sum(share * row.gamma for share, row in zip(self.shares, self.rows, strict=True))

    @property
    def where(self) -> str:
        """It in words."""
        steps = ", ".join(str(row.step) for row in self.rows)
        return f"lam {self.lam:.6g}, between steps {steps} of {self.rows[0].trajectory}"

    @property
    def record(self) -> StepRecord:
        """As a row: what has not been read is None, and so is its state."""
        near = self.rows[len(self.rows) // 2 - 1]
        return StepRecord(
            trajectory=near.trajectory,
            step=near.step,
            attempt=0,
            accepted=False,
            outcome=Outcome.OK,
            process=near.process,
            lam=self.lam,
            gamma=self.gamma,
            seed=near.seed,
            examples=max(row.examples for row in self.rows),
            seconds=0.0,
        )

    def weights(self, store: Store) -> Weights:
        """Its weights.

        Raises:
            CorruptFile: those of a row are not the ones that it describes.
        """
        states = [store.state(row) for row in self.rows]
        return {name: self._mixed(name, [state[name] for state in states]) for name in states[0]}

    def _mixed(self, name: str, values: Sequence[np.ndarray]) -> np.ndarray:
        mixed = sum(share * value.astype(np.float64) for share, value in zip(self.shares, values, strict=True))
        found = np.asarray(mixed, values[0].dtype)
        return np.maximum(found, np.minimum.reduce(values)) if name.endswith(VARIANCE) else found


def find_between(store: Store, config: RunConfig, trajectory: str, lam: float) -> Between:
    """The model of a trajectory at `lam`. Where several ways pass by it is the one whose rows are lowest in F there.

    Raises:
        UsageError: lam; the run is no walk, or no two stored steps that follow each other on one way have it between them.
    """
    what = f"is for walks, not for {config.asked.called}; name a step"
    require(isinstance(config.asked, Walk | FreeWalk), "lam", lam, what)
    ways = ways_of(store.rows(trajectory), store.has_state)
    there = [_around(way, index) for way in ways for index in _surrounding(way, lam)]
    lams = [f"{min(ends):.7g} to {max(ends):.7g}" for way in ways if len(way) > 1 for ends in [(way[0].lam, way[-1].lam)]]
    stored = f"has stored steps beside it only in lam {', '.join(dict.fromkeys(lams))}" if lams else "has no ways so far"
    require(bool(there), "lam", lam, f"{trajectory} in {store.url()} {stored}; give one there, or a step")
    gamma = there[-1][0].gamma
    return min((Between(rows=rows, lam=lam) for rows in there), key=lambda found: _height(found, gamma))


def ways_of(rows: Sequence[StepRecord], kept: Callable[[StepRecord], bool]) -> list[list[StepRecord]]:
    """Accepted rows as ways along which lam rises or falls and each model is the one before, a little further; rows whose weights are
    not `kept` lie on none. Where a walk turned, the row belongs to both ways."""
    found: list[list[StepRecord]] = [[]]
    for row in (row for row in rows if row.accepted):
        way = found[-1]
        if not kept(row):
            found.append([])
        elif not way or row.kind in ANEW or row.lam == way[-1].lam:
            found.append([row])
        elif len(way) > 1 and (row.lam > way[-1].lam) != (way[-1].lam > way[-2].lam):
            found.append([way[-1], row])
        else:
            way.append(row)
    return [way for way in found if way]


def _surrounding(way: Sequence[StepRecord], lam: float) -> list[int]:
    """Places of the way after which lam lies: one at most but where it is that of a row."""
    return [index for index, (one, two) in enumerate(pairwise(way)) if min(one.lam, two.lam) <= lam <= max(one.lam, two.lam)]


def _around(way: Sequence[StepRecord], index: int) -> tuple[StepRecord, ...]:
    """Two rows on each side where there are two on both and none of these is much nearer to the next than the steps around lam are to
    each other, else one: a cubic through two that are close together goes far astray."""
    four = way[max(index - 1, 0) : index + 3]
    apart = [abs(math.log(two.lam / one.lam)) for one, two in pairwise(four)]
    if len(apart) == 3 and min(apart[0], apart[2]) >= EVEN * apart[1]:
        return tuple(four)
    return tuple(way[index : index + 2])


def _height(found: Between, gamma: float) -> float:
    """R + lam D + gamma C of its rows, interpolated, nats."""
    point = Point(lam=found.lam, gamma=gamma)
    return sum(share * bound(row, point) for share, row in zip(found.shares, found.rows, strict=True))
