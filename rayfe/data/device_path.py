"""p(x, t) on a device: mini-batches for training, and the whole of it, with weights, for measuring (eqs. 23 and 37)."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rayfe.data.examples import Examples, stratified
from rayfe.data.path_sizes import PathSizes
from rayfe.data.randomness import Drawn, RandomNumbers


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceExamples:
    """Examples on a device: x floating point in [0, 1], (N, ...); y integer labels (N,), or soft ones or numbers (N, classes).

    `number` (N,) int64 names each example: its noise, and its place in parts that are drawn, belong to it. By default it is the row.
    A data set of bytes stays bytes, in a quarter of the memory; `take` gives floats.
    """

    x: Tensor
    y: Tensor
    number: Tensor = None  # type: ignore[assignment]
    white: Tensor | None = None
    """Where x are bytes: the byte that stands for 1, as a float (). None: x are floats.

    A tensor, since a GPU multiplies by the inverse of a plain number, which rounds otherwise than the division of a CPU."""

    def __post_init__(self) -> None:
        if self.number is None:
            object.__setattr__(self, "number", torch.arange(len(self.y), device=self.x.device))

    def __len__(self) -> int:
        return len(self.y)

    def images(self, rows: Tensor | slice) -> Tensor:
        """x of these rows, floating point."""
        x = self._rows(rows)
        return x if self.white is None else x.to(self.white.dtype).div_(self.white)

    def take(self, rows: Tensor | slice) -> DeviceExamples:
        """The examples at these rows, with their numbers; x floating point."""
        return DeviceExamples(x=self.images(rows), y=self.y[rows], number=self.number[rows])

    def part(self, rows: Tensor | slice) -> DeviceExamples:
        """The same, x as it is kept here."""
        return DeviceExamples(x=self._rows(rows), y=self.y[rows], number=self.number[rows], white=self.white)

    def _rows(self, rows: Tensor | slice) -> Tensor:
        # index_select copies whole rows: several times as fast as x[rows] on a CPU, the same numbers
        return self.x[rows] if isinstance(rows, slice) else self.x.index_select(0, rows)


def to_device(examples: Examples, device: torch.device, dtype: torch.dtype, shape: tuple[int, ...]) -> DeviceExamples:
    """Copy a split to `device`, each example in `shape`; floats are of type `dtype`, also those that bytes give."""
    x, y, number = (torch.from_numpy(np.array(values)).to(device) for values in (examples.x, examples.y, examples.number))
    white = torch.tensor(255.0, dtype=dtype, device=device) if x.dtype is torch.uint8 else None
    y = y.to(dtype) if y.is_floating_point() else y
    return DeviceExamples(x=(x if white is not None else x.to(dtype)).reshape(-1, *shape), y=y, number=number, white=white)


def joined(one: DeviceExamples, other: DeviceExamples) -> DeviceExamples:
    """The examples of both, in this order; bytes where both are bytes."""
    if (one.white is None) != (other.white is None):
        one, other = one.take(slice(None)), other.take(slice(None))
    x, y, number = (torch.cat(pair) for pair in ((one.x, other.x), (one.y, other.y), (one.number, other.number)))
    return DeviceExamples(x=x, y=y, number=number, white=one.white)


class Stratum(abc.ABC):
    """A part of p(x, t) that has its own draws of z, so that they are the same at every t."""

    name: str

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @property
    @abc.abstractmethod
    def number(self) -> Tensor:
        """The numbers of its examples, (N,) int64."""

    @abc.abstractmethod
    def share(self, t: float) -> float:
        """Its probability under p(x, t)."""

    @abc.abstractmethod
    def examples(self, rows: slice, t: float) -> DeviceExamples: ...

    @abc.abstractmethod
    def weights(self, rows: slice, t: float) -> Tensor:
        """Probability of each example under p(x, t), float64; over all rows they sum to `share`."""


class DevicePath(abc.ABC):
    """Examples of p(x, t) for every t."""

    strata: tuple[Stratum, ...]

    @property
    @abc.abstractmethod
    def sizes(self) -> PathSizes:
        """How many examples it has."""

    def __len__(self) -> int:
        """Examples in an epoch."""
        return len(self.sizes)

    @abc.abstractmethod
    def epoch(self, draws: RandomNumbers) -> tuple[Tensor, ...]:
        """What decides the examples of an epoch, place by place, whatever t is: tensors (..., len(self)), by the examples' numbers."""

    @abc.abstractmethod
    def placed(self, places: tuple[Tensor, ...], t: float | Tensor) -> DeviceExamples:
        """Examples of p(x, t) at some places of an epoch, each of its tensors (N,); t is one for all or float64 (N,)."""

    def batches(self, t: float, batch: int, *, updates: int, rng: torch.Generator | RandomNumbers) -> Iterator[DeviceExamples]:
        """`updates` mini-batches of p(x, t), from random numbers that do not depend on t and by the examples' numbers: epochs of
        random order, each without its incomplete rest.

        Raises:
            ValueError: `batch` exceeds an epoch.
        """
        draws = Drawn(rng) if isinstance(rng, torch.Generator) else rng
        per_epoch = self.per_epoch(batch)
        for update in range(updates):
            position = update % per_epoch
            if position == 0:
                epoch = self.epoch(draws.epoch(update // per_epoch))
            yield self.placed(tuple(part[position * batch : (position + 1) * batch] for part in epoch), t)

    def per_epoch(self, batch: int) -> int:
        """Mini-batches of an epoch.

        Raises:
            ValueError: there is none.
        """
        if batch > len(self):
            raise ValueError(f"batch {batch} is larger than the data ({len(self)} examples)")
        return len(self) // batch

    @abc.abstractmethod
    def thinned(self, most: int) -> DevicePath:
        """A part of the path for quick readings: at most `most` examples of each end, drawn once and for all by their numbers, of
        each class as large a share as of all."""

    def present(self, t: float) -> tuple[Stratum, ...]:
        """Strata with a share at t."""
        return tuple(stratum for stratum in self.strata if stratum.share(t) > 0)

    def size(self, t: float) -> int:
        """Examples that a reading at t visits."""
        return self.sizes.size(t)


def chunks(n: int, size: int) -> Iterator[slice]:
    """Nearly equal slices of at most `size` out of n."""
    count = -(-n // size)
    for i in range(count):
        yield slice(i * n // count, (i + 1) * n // count)


def thin(data: DeviceExamples, most: int) -> DeviceExamples:
    """`most` of the examples, drawn once and for all, each class in proportion.

    Not every k-th one: MNIST's images come from two sources by turns, and C of those with even numbers is a third higher.
    """
    if len(data) <= most:
        return data
    chosen = stratified(data.y.cpu().numpy(), data.number.cpu().numpy(), most, "part")
    return data.part(torch.from_numpy(chosen).to(data.x.device))


@dataclass(frozen=True)
class Whole(Stratum):
    """A data set whose probability is linear in t: `at_0` at t = 0, `at_1` at t = 1."""

    name: str
    data: DeviceExamples
    at_0: float
    at_1: float

    def __len__(self) -> int:
        return len(self.data)

    @property
    def number(self) -> Tensor:
        return self.data.number

    def share(self, t: float) -> float:
        return (1.0 - t) * self.at_0 + t * self.at_1

    def examples(self, rows: slice, t: float) -> DeviceExamples:
        return self.data.take(rows)

    def weights(self, rows: slice, t: float) -> Tensor:
        n = len(range(*rows.indices(len(self))))
        return torch.full((n,), self.share(t) / len(self), dtype=torch.float64, device=self.data.x.device)


def in_order(number: Tensor) -> Tensor | None:
    """Rows in the order of their numbers; None where that is how they stand."""
    order = torch.argsort(number, stable=True)
    return None if bool((order[1:] > order[:-1]).all()) else order


class Still(DevicePath):
    """One data set, whatever t is."""

    def __init__(self, data: DeviceExamples) -> None:
        self._data = data
        self._order = in_order(data.number)
        self.strata = (Whole("source", data, 1.0, 1.0),)

    @property
    def sizes(self) -> PathSizes:
        return PathSizes(source=len(self._data))

    def thinned(self, most: int) -> DevicePath:
        return Still(thin(self._data, most))

    def epoch(self, draws: RandomNumbers) -> tuple[Tensor, ...]:
        drawn = draws.permutation(len(self))
        return (drawn if self._order is None else self._order[drawn],)

    def placed(self, places: tuple[Tensor, ...], t: float | Tensor) -> DeviceExamples:
        return self._data.take(places[0])


class Mixture(DevicePath):
    """p(x, t) = (1 - t) source + t target, labels kept (23). An epoch is as long as the larger data set."""

    def __init__(self, source: DeviceExamples, target: DeviceExamples) -> None:
        self._orders = in_order(source.number), in_order(target.number)
        self._both, n = joined(source, target), len(source)
        self._source, self._target = self._both.part(slice(0, n)), self._both.part(slice(n, None))
        self.strata = (Whole("source", self._source, 1.0, 0.0), Whole("target", self._target, 0.0, 1.0))

    @property
    def sizes(self) -> PathSizes:
        return PathSizes(source=len(self._source), target=len(self._target))

    def thinned(self, most: int) -> DevicePath:
        return Mixture(thin(self._source, most), thin(self._target, most))

    def epoch(self, draws: RandomNumbers) -> tuple[Tensor, ...]:
        """One source and one target example per draw, and one uniform number that chooses between them."""
        return self._shuffled(0, draws), self._shuffled(1, draws) + len(self._source), draws.uniform(len(self))

    def placed(self, places: tuple[Tensor, ...], t: float | Tensor) -> DeviceExamples:
        source, target, uniform = places
        limit = t.to(uniform.dtype) if isinstance(t, Tensor) else t
        return self._both.take(torch.where(uniform < limit, target, source))

    def _shuffled(self, end: int, draws: RandomNumbers) -> Tensor:
        """Random orders of one end's rows, one after the other, as long as an epoch."""
        n, order = len((self._source, self._target)[end]), self._orders[end]
        drawn = torch.cat([draws.permutation(n) for _ in range(-(-len(self) // n))], dim=-1)[..., : len(self)]
        return drawn if order is None else order[drawn]
