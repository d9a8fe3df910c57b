"""Relative entropy coding of Gaussians: which node of a tree is a draw of N(mean, std^2).

A* coding (Flamich, Markou and Hernandez-Lobato 2022) of several dimensions at once. Of all points of the process the one with the
smallest time * base density / density of the draw is an exact draw. The search goes down the tree, level by level, and leaves out
boxes whose bound is worse than the best point so far. The level of the node is about KL / ln 2 on average, whatever the dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rayfe.coding.tree import Halving, Nodes, chances, child, normal_at

WIDTHS = (8, 64, 512, 4096, 32768)
"""Boxes of a level and draw that are halved at most: where that leaves some out, the next search begins with what was found."""
CLOSE = 1e-9
"""Rounding of log times, which leaves no box out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """The nodes of draws, and what it took."""

    nodes: Nodes
    boxes: np.ndarray
    """Looked at, (n,)."""
    whole: np.ndarray
    """Whether all boxes that could hold the draw were looked at, (n,) bool."""


@dataclass(eq=False)
class _Search:
    """Draws (n, dimensions) that are looked for, and the best points so far."""

    mean: np.ndarray
    variance: np.ndarray
    halving: Halving

    def __post_init__(self) -> None:
        n, self.dimensions = self.mean.shape
        self.score = np.full(n, np.inf)
        self.level, self.place = np.zeros(n, np.int64), np.zeros((n, self.dimensions), np.int64)
        self.boxes, self.whole = np.zeros(n, np.int64), np.zeros(n, bool)

    def log_ratio(self, z: np.ndarray, draw: np.ndarray, dimension: int | slice = slice(None)) -> np.ndarray:
        """Log density of the draw minus that of the base, for each dimension."""
        mean, variance = self.mean[draw, dimension], self.variance[draw, dimension]
        return 0.5 * (z * z - (z - mean) ** 2 / variance - np.log(variance))

    def bound(self, place: np.ndarray, draw: np.ndarray, dimension: int, cuts: int) -> np.ndarray:
        """Largest `log_ratio` in one dimension over its interval with number `place`."""
        low, high = (normal_at((place + side) * 2.0**-cuts) for side in (0, 1))
        mean, variance = self.mean[draw, dimension], self.variance[draw, dimension]
        with np.errstate(divide="ignore", invalid="ignore"):
            top = np.clip(mean / (1.0 - variance), low, high)  # where it is concave
        sides = [self.log_ratio(side, draw, dimension) for side in (low, high)]
        return np.where(variance < 1.0, self.log_ratio(np.nan_to_num(top), draw, dimension), np.maximum(*sides))

    def better(self, boxes: _Boxes, level: int) -> None:
        """Take the points of boxes that are better than the best so far."""
        numbers = chances(boxes.key, self.dimensions)[:, 1:]
        z = normal_at((boxes.place + numbers) * 2.0 ** -self.halving.cuts[level])
        score = np.log(boxes.time) - self.log_ratio(z, boxes.draw).sum(1)
        order = np.lexsort((score, boxes.draw))
        first = order[np.unique(boxes.draw[order], return_index=True)[1]]
        first = first[score[first] < self.score[boxes.draw[first]]]
        draw = boxes.draw[first]
        self.score[draw], self.level[draw], self.place[draw] = score[first], level, boxes.place[first]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Boxes:
    """Boxes of one level."""

    draw: np.ndarray
    """Whose, (boxes,)."""
    place: np.ndarray
    key: np.ndarray
    time: np.ndarray
    """Of the first point."""
    bound: np.ndarray
    """Largest log ratio inside."""

    @property
    def hope(self) -> np.ndarray:
        """No point inside has a better score, (boxes,)."""
        return np.log(self.time) - self.bound

    def take(self, rows: np.ndarray) -> _Boxes:
        return _Boxes(
            draw=self.draw[rows], place=self.place[rows], key=self.key[rows], time=self.time[rows], bound=self.bound[rows]
        )

    def most_hopeful(self, most: int) -> np.ndarray:
        """Rows of at most so many boxes of each draw."""
        order = np.lexsort((self.hope, self.draw))
        _, first, count = np.unique(self.draw[order], return_index=True, return_counts=True)
        return order[np.arange(len(order)) - np.repeat(first, count) < most]


def search(mean: np.ndarray, std: np.ndarray, halving: Halving, keys: np.ndarray) -> Found:
    """Nodes whose points are draws of N(mean, std^2), both (n, dimensions), in the trees of `keys`, (n,) int64."""
    made = _Search(mean=mean, variance=std**2, halving=halving)
    for width in WIDTHS:
        left = np.flatnonzero(~made.whole)
        if len(left):
            _descend(made, left, keys[left], width)
    return Found(nodes=Nodes(level=made.level, place=made.place), boxes=made.boxes, whole=made.whole)


def _descend(made: _Search, draw: np.ndarray, keys: np.ndarray, width: int) -> None:
    """Go down the trees of some draws, at each level to at most so many boxes of each."""
    n, dimensions = made.mean.shape
    bound = np.stack([made.bound(np.zeros(len(draw)), draw, one, 0) for one in range(dimensions)]).sum(0)
    place, time = np.zeros((len(draw), dimensions), np.int64), -np.log(chances(keys, 0)[:, 0])
    boxes = _Boxes(draw=draw, place=place, key=keys, time=time, bound=bound)
    made.whole[draw] = True
    for level in range(len(made.halving.order) + 1):
        made.boxes += np.bincount(boxes.draw, minlength=n)
        made.better(boxes, level)
        boxes = boxes.take(boxes.hope < made.score[boxes.draw] + CLOSE)
        if np.bincount(boxes.draw, minlength=n).max() > width:
            made.whole &= np.bincount(boxes.draw, minlength=n) <= width
            boxes = boxes.take(boxes.most_hopeful(width))
        if not len(boxes.draw) or level == len(made.halving.order):
            break
        boxes = _halved(made, boxes, level)
    made.whole[boxes.draw] = False


def _halved(made: _Search, boxes: _Boxes, level: int) -> _Boxes:
    """Both halves of boxes, where they may hold a better point."""
    dimension, cuts = int(made.halving.order[level]), int(made.halving.cuts[level, made.halving.order[level]])
    rest = boxes.bound - made.bound(boxes.place[:, dimension], boxes.draw, dimension, cuts)
    found = []
    for half in (0, 1):
        place = boxes.place.copy()
        place[:, dimension] = 2 * place[:, dimension] + half
        key = child(boxes.key, np.full(len(boxes.draw), half))
        one = _Boxes(
            draw=boxes.draw,
            place=place,
            key=key,
            time=boxes.time - np.log(chances(key, 0)[:, 0]) * 2.0 ** (level + 1),
            bound=rest + made.bound(place[:, dimension], boxes.draw, dimension, cuts + 1),
        )
        found.append(one.take(one.hope < made.score[one.draw] + CLOSE))
    return _joined(*found)


def _joined(one: _Boxes, other: _Boxes) -> _Boxes:
    return _Boxes(
        draw=np.concatenate([one.draw, other.draw]),
        place=np.concatenate([one.place, other.place]),
        key=np.concatenate([one.key, other.key]),
        time=np.concatenate([one.time, other.time]),
        bound=np.concatenate([one.bound, other.bound]),
    )
