"""Examples of a data set, and choosing some of them by class or by number."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np

from rayfe.config import require
from rayfe.data.scale import Scale
from rayfe.exceptions import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Examples:
    """One split.

    `x` is uint8 in [0, 255] or float32 in [0, 1], shaped (N, C, H, W) for images and (N, features) for tables;
    `y` (N,) holds the int64 labels 0..classes-1, or `y` (N, k) float32 numbers, the targets of each example. `number` (N,) names
    each example: noise, and parts that are drawn, belong to it, so they do not depend on where the example stands. By default it is
    the place in the file.
    """

    x: np.ndarray
    y: np.ndarray
    number: np.ndarray = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.number is None:
            object.__setattr__(self, "number", np.arange(len(self.y)))

    def take(self, rows: np.ndarray) -> Examples:
        """The examples at the given rows (or where a mask is true), with their numbers."""
        return Examples(x=self.x[rows], y=self.y[rows], number=self.number[rows])


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """A training and a validation split with the same classes; label k is called `class_names[k]`. Where y are numbers, these are the
    names of the targets."""

    name: str
    train: Examples
    validation: Examples
    class_names: tuple[str, ...]
    scale: Scale | None = None
    """Where x was brought to [0, 1]: its units before."""

    def __repr__(self) -> str:
        x, counts = self.train.x, (len(self.train.y), len(self.validation.y))
        names = listing(self.class_names)
        return (
            f"Dataset({self.name!r}: {counts[0]} training and {counts[1]} validation examples, {x.dtype} {self.input_shape}, "
            f"{self.classes} {'classes' if self.train.y.ndim == 1 else 'targets'} {names}{'' if self.scale is None else f', {self.scale}'})"
        )

    @property
    def classes(self) -> int:
        """How many numbers a prediction has: one for each class or target."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example: (C, H, W) or (features,)."""
        return self.train.x.shape[1:]


def listing(names: tuple[str, ...], most: int = 20) -> str:
    """`names` for an error message, cut short after `most`."""
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")


def groups(y: np.ndarray) -> np.ndarray:
    """The class of each example for choices that are balanced, (N,): one for all where y (N, k) are numbers."""
    return y if y.ndim == 1 else np.zeros(len(y), np.int64)


def chance(number: np.ndarray, purpose: str) -> np.ndarray:
    """A random number in [0, 1) for each example, (N,): a function of its number and of what it is for."""
    seed = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "big")
    return np.random.Generator(np.random.PCG64(seed)).random(int(number.max(initial=-1)) + 1)[number]


def rank_in_class(y: np.ndarray, order: np.ndarray | None = None) -> np.ndarray:
    """How many examples of the same class come before each example, (N,): by `order` (N,), or by place."""
    y = groups(y)
    rows = np.lexsort((np.arange(len(y)) if order is None else order, y))
    _, first, counts = np.unique(y[rows], return_index=True, return_counts=True)
    rank = np.empty(len(y), np.int64)
    rank[rows] = np.arange(len(y)) - np.repeat(first, counts)
    return rank


def stratified(y: np.ndarray, number: np.ndarray, most: int, purpose: str) -> np.ndarray:
    """Rows of `most` examples drawn at random, of each class as large a share as of all; in the order of their places."""
    random, y = chance(number, purpose), groups(y)
    share = (rank_in_class(y, random) + 0.5) / np.bincount(y)[y]
    return np.sort(np.lexsort((random, share))[:most])


def with_classes(dataset: Dataset, chosen: str) -> Dataset:
    """The examples of some classes, in file order, their labels renumbered 0..k-1 in the order given.

    `chosen` is a comma-separated list of class names, class numbers and ranges of class numbers, such as `1,3,5-7`;
    a name wins over a number.

    Raises:
        UsageError: data.name; a class is unknown or given twice, a range is reversed, or fewer than two are given.
    """
    if dataset.train.y.ndim > 1:
        raise UsageError("data.name", dataset.name, "has numbers for labels, and no classes; leave out what follows the colon")
    labels = list(_labels(dataset, chosen))
    for label in labels:
        if labels.count(label) > 1:
            _refuse(dataset, f"give class {dataset.class_names[label]} once")
    if len(labels) < 2:
        _refuse(dataset, "give at least two classes")
    renumbered = np.full(dataset.classes, -1, np.int64)
    renumbered[labels] = np.arange(len(labels))

    def among(examples: Examples, split: str) -> Examples:
        kept = examples.take(renumbered[examples.y] >= 0)
        if len(kept.y) == 0:
            _refuse(dataset, f"the {split} split has no example of these classes, give others")
        return replace(kept, y=renumbered[kept.y])

    return replace(
        dataset,
        train=among(dataset.train, "training"),
        validation=among(dataset.validation, "validation"),
        class_names=tuple(dataset.class_names[label] for label in labels),
    )


def with_train_size(dataset: Dataset, size: int) -> Dataset:
    """`size` training examples in file order: drawn at random, equally many of each class while they last.

    Raises:
        UsageError: data.train_size; more than there are, or fewer than one of each class.
    """
    y = groups(dataset.train.y)
    require(size <= len(y), "data.train_size", size, f"{dataset.name} has {len(y)} training images, give at most that many")
    present = len(np.unique(y))
    require(size >= present, "data.train_size", size, f"must be at least {present}, one image of each class")
    rank = rank_in_class(y, chance(dataset.train.number, "train size"))
    return replace(dataset, train=dataset.train.take(np.sort(np.lexsort((y, rank))[:size])))


def set_apart(examples: Examples, share: float) -> tuple[Examples, Examples]:
    """Training images without the control split, and the control split: drawn at random, the same share of every class.

    Raises:
        UsageError: data.train_size; there is no such image.
    """
    control = share_of_class(examples.y, share, chance(examples.number, "control"))
    fix = f"leave no control image, of which each class has {share:g} of them; give more"
    require(bool(control.any()), "data.train_size", len(examples.y), fix)
    return examples.take(~control), examples.take(control)


def share_of_class(y: np.ndarray, share: float, order: np.ndarray) -> np.ndarray:
    """A mask of that share of each class, rounded down, by `order` (N,) spread evenly."""
    rank = rank_in_class(y, order)
    return np.floor((rank + 1) * share) > np.floor(rank * share)


def _labels(dataset: Dataset, chosen: str) -> Iterator[int]:
    for item in (part.strip() for part in chosen.split(",")):
        span = re.fullmatch(r"([0-9]{1,9})-([0-9]{1,9})", item)
        if not item:
            _refuse(dataset, "a class is missing after the colon or a comma")
        elif span is None or item in dataset.class_names:
            yield _label(dataset, item)
        else:
            first, last = map(int, span.groups())
            if first > last:
                _refuse(dataset, f"the range {item} is reversed, write {last}-{first}")
            yield from (_label(dataset, str(number)) for number in range(first, last + 1))


def _label(dataset: Dataset, item: str) -> int:
    if item in dataset.class_names:
        return dataset.class_names.index(item)
    if re.fullmatch("[0-9]{1,9}", item) and int(item) < dataset.classes:
        return int(item)
    _refuse(dataset, f"unknown class {item!r}")


def _refuse(dataset: Dataset, fix: str) -> NoReturn:
    raise UsageError("data.name", dataset.name, f"{fix}; the classes are {listing(dataset.class_names)}")
