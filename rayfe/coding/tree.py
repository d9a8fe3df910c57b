"""A binary tree of points of the standard normal that two sides know: relative entropy coding names a draw by a node of it.

The normal in all dimensions is halved at its medians, one dimension after the other. Points of a Poisson process of rate one belong to
it: each box has a first one, at a time and a place, and its halves have theirs later (Maddison, Tarlow and Minka 2014). A node at level
h is named by h and by h bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtri

from rayfe.data.randomness import integers_of, uniform_of

FAR = 8.2
"""Size of z beyond which no point lies: a number in (0, 1) with 53 bits has no more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Halving:
    """Which dimension each level halves."""

    order: np.ndarray
    """(levels,)."""
    cuts: np.ndarray
    """How often each dimension was halved above a level, (levels + 1, dimensions)."""

    @property
    def dimensions(self) -> int:
        return self.cuts.shape[1]


@dataclass(frozen=True, kw_only=True, eq=False)
class Nodes:
    """A node for each of n draws."""

    level: np.ndarray
    """(n,) int64."""
    place: np.ndarray
    """Number of its interval in each dimension, from below, (n, dimensions) int64."""

    def halves(self, halving: Halving, level: int) -> np.ndarray:
        """Whether the way to each node takes the upper half at a level above its own, (n,) int64."""
        dimension = halving.order[level]
        below = halving.cuts[self.level, dimension] - halving.cuts[level, dimension] - 1
        return (self.place[:, dimension] >> np.maximum(below, 0)) & 1


def halving(bits: np.ndarray, levels: int) -> Halving:
    """The order for dimensions that carry so many bits, (dimensions,): always where most are missing."""
    left, order = bits.astype(float), np.empty(levels, np.int64)
    for level in range(levels):
        order[level] = left.argmax()
        left[order[level]] -= 1.0
    halved = np.eye(len(bits), dtype=np.int64)[order]
    return Halving(order=order, cuts=np.concatenate([0 * halved[:1], halved.cumsum(0)]))


def child(keys: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Keys of the lower (0) or upper (1) half of the nodes with `keys`; all (n,) int64."""
    return integers_of(torch.from_numpy(half)[:, None], 1, key=torch.from_numpy(keys))[:, 0, 0].numpy()


def chances(keys: np.ndarray, dimensions: int) -> np.ndarray:
    """What is random of nodes, in (0, 1), (n, 1 + dimensions): their times, and the places of their points in their boxes."""
    same = torch.zeros(len(keys), 1, dtype=torch.int64)
    return uniform_of(same, 1 + dimensions, key=torch.from_numpy(keys), dtype=torch.float64)[:, 0].numpy()


def normal_at(part: np.ndarray) -> np.ndarray:
    """z below which the standard normal has `part` of its mass."""
    return np.clip(ndtri(part), -FAR, FAR)


def points(halving: Halving, nodes: Nodes, keys: np.ndarray) -> np.ndarray:
    """z of the first points of nodes, (n, dimensions), from the keys of the roots, (n,)."""
    keys = keys.copy()
    for level in range(int(nodes.level.max(initial=0))):
        further = np.flatnonzero(nodes.level > level)
        keys[further] = child(keys[further], nodes.halves(halving, level)[further])
    inside = chances(keys, halving.dimensions)[:, 1:]
    return normal_at((nodes.place + inside) * 2.0 ** -halving.cuts[nodes.level])
