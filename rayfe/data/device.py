"""p(x, t) on a device: mini-batches for training, and the whole of it, with weights, for measuring (eqs. 23 and 37)."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor

from rayfe.data.batches import batch_indices
from rayfe.data.coupling import Coupling
from rayfe.data.examples import Examples

Time = float | Tensor
"""Position t on the data path; a tensor where a derivative in t is wanted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceExamples:
    """Examples on a device: x floating point in [0, 1], (N, ...); y integer labels (N,), or soft ones (N, classes)."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


def to_device(examples: Examples, device: torch.device, dtype: torch.dtype, shape: tuple[int, ...]) -> DeviceExamples:
    """Copy a split to `device`, each example in `shape`; bytes become floats in [0, 1]."""
    x = torch.from_numpy(np.array(examples.x)).to(device).to(dtype).reshape(-1, *shape)
    if examples.x.dtype == np.uint8:
        x /= 255.0
    return DeviceExamples(x=x, y=torch.from_numpy(np.array(examples.y)).to(device))


class Stratum(abc.ABC):
    """A part of p(x, t) that has its own draws of z, so that they are the same at every t."""

    name: str

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def share(self, t: Time) -> Time:
        """Its probability under p(x, t)."""

    @abc.abstractmethod
    def examples(self, rows: slice, t: Time) -> DeviceExamples: ...

    @abc.abstractmethod
    def weights(self, rows: slice, t: Time) -> Tensor:
        """Probability of each example under p(x, t); over all rows they sum to `share`."""


class DevicePath(abc.ABC):
    """Examples of p(x, t) for every t."""

    strata: tuple[Stratum, ...]

    @abc.abstractmethod
    def __len__(self) -> int:
        """Examples in an epoch."""

    @abc.abstractmethod
    def batches(self, t: float, batch: int, *, updates: int, rng: torch.Generator) -> Iterator[DeviceExamples]:
        """`updates` mini-batches of p(x, t), from random numbers that do not depend on t."""

    @abc.abstractmethod
    def thinned(self, most: int) -> DevicePath:
        """A part of the path for quick readings: at most `most` examples of each end, the same whenever it is asked for."""

    def present(self, t: float) -> tuple[Stratum, ...]:
        """Strata with a share at t."""
        return tuple(stratum for stratum in self.strata if stratum.share(t) > 0)

    def chunks(self, t: Time, size: int) -> Iterator[tuple[DeviceExamples, Tensor]]:
        """All examples with their probabilities in chunks of about `size`, every chunk with its part of each stratum.

        With a tensor t, strata without a share have a derivative and are there, too.
        """
        strata = self.strata if isinstance(t, Tensor) else self.present(t)
        count = -(-sum(map(len, strata)) // size)
        for i in range(count):
            rows = [slice(i * len(stratum) // count, (i + 1) * len(stratum) // count) for stratum in strata]
            parts = [stratum.examples(part, t) for stratum, part in zip(strata, rows, strict=True)]
            weights = [stratum.weights(part, t) for stratum, part in zip(strata, rows, strict=True)]
            yield joined(parts), torch.cat(weights)


def thin(data: DeviceExamples, most: int) -> DeviceExamples:
    """`most` of the examples, drawn once and for all.

    Not every k-th one: MNIST's images come from two sources by turns, and C of those with even numbers is a third higher.
    """
    if len(data) <= most:
        return data
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    chosen = order[:most].sort().values.to(data.x.device)
    return DeviceExamples(x=data.x.index_select(0, chosen), y=data.y.index_select(0, chosen))


def joined(parts: list[DeviceExamples]) -> DeviceExamples:
    if len(parts) == 1:
        return parts[0]
    return DeviceExamples(x=torch.cat([part.x for part in parts]), y=torch.cat([part.y for part in parts]))


@dataclass(frozen=True)
class Whole(Stratum):
    """A data set whose probability is linear in t: `at_0` at t = 0, `at_1` at t = 1."""

    name: str
    data: DeviceExamples
    at_0: float
    at_1: float

    def __len__(self) -> int:
        return len(self.data)

    def share(self, t: Time) -> Time:
        return (1.0 - t) * self.at_0 + t * self.at_1

    def examples(self, rows: slice, t: Time) -> DeviceExamples:
        return DeviceExamples(x=self.data.x[rows], y=self.data.y[rows])

    def weights(self, rows: slice, t: Time) -> Tensor:
        n = len(range(*rows.indices(len(self))))
        return torch.ones(n, dtype=self.data.x.dtype, device=self.data.x.device) * (self.share(t) / len(self))


class Still(DevicePath):
    """One data set, whatever t is."""

    def __init__(self, data: DeviceExamples) -> None:
        self._data = data
        self.strata = (Whole("source", data, 1.0, 1.0),)

    def __len__(self) -> int:
        return len(self._data)

    def thinned(self, most: int) -> DevicePath:
        return Still(thin(self._data, most))

    def batches(self, t: float, batch: int, *, updates: int, rng: torch.Generator) -> Iterator[DeviceExamples]:
        for index in batch_indices(len(self), batch, updates=updates, rng=rng):
            # index_select copies whole rows: several times as fast as x[index] on a CPU, the same numbers
            yield DeviceExamples(x=self._data.x.index_select(0, index), y=self._data.y[index])


class Mixture(DevicePath):
    """p(x, t) = (1 - t) source + t target, labels kept (23). An epoch is as long as the larger data set."""

    def __init__(self, source: DeviceExamples, target: DeviceExamples) -> None:
        self._source, self._target = source, target
        self.strata = (Whole("source", source, 1.0, 0.0), Whole("target", target, 0.0, 1.0))

    def __len__(self) -> int:
        return max(len(self._source), len(self._target))

    def thinned(self, most: int) -> DevicePath:
        return Mixture(thin(self._source, most), thin(self._target, most))

    def batches(self, t: float, batch: int, *, updates: int, rng: torch.Generator) -> Iterator[DeviceExamples]:
        """One uniform number, one source and one target example per draw, whatever t is: it chooses between them."""
        per_epoch = len(self) // batch
        for update in range(updates):
            position = update % per_epoch
            if position == 0:
                sources, targets = self._order(len(self._source), rng), self._order(len(self._target), rng)
                uniform = torch.rand(len(self), generator=rng, device=rng.device)
            part = slice(position * batch, (position + 1) * batch)
            from_target = uniform[part] < t
            from_source, rows, others = ~from_target, sources[part], targets[part]
            x = self._source.x.index_select(0, rows)
            x[from_target] = self._target.x[others[from_target]]
            y = torch.where(from_source, self._source.y[rows], self._target.y[others])
            yield DeviceExamples(x=x, y=y)

    def _order(self, n: int, rng: torch.Generator) -> Tensor:
        """Random orders of n rows, one after the other, as long as an epoch."""
        orders = [torch.randperm(n, generator=rng, device=rng.device) for _ in range(-(-len(self) // n))]
        return torch.cat(orders)[: len(self)]


@dataclass(frozen=True)
class Coupled(Stratum):
    """Pairs (i, j) of a coupling; at t the example (1 - t) x_i + t x_j with the soft label of Remark 11."""

    name: str
    source: DeviceExamples
    target: DeviceExamples
    rows: Tensor
    others: Tensor
    probability: Tensor
    classes: int

    def __len__(self) -> int:
        return len(self.rows)

    def share(self, t: Time) -> Time:
        return 1.0

    def weights(self, rows: slice, t: Time) -> Tensor:
        return self.probability[rows]

    def examples(self, rows: slice | Tensor, t: Time) -> DeviceExamples:
        i, j = self.rows[rows], self.others[rows]
        labels = [nnf.one_hot(y, self.classes).to(self.source.x.dtype) for y in (self.source.y[i], self.target.y[j])]
        return DeviceExamples(x=(1.0 - t) * self.source.x[i] + t * self.target.x[j], y=(1.0 - t) * labels[0] + t * labels[1])


class Displacement(DevicePath):
    """Displacement interpolation along a coupling of source and target (37)."""

    def __init__(self, source: DeviceExamples, target: DeviceExamples, coupling: Coupling, classes: int) -> None:
        device, dtype = source.x.device, source.x.dtype
        self._coupled = Coupled(
            name="pairs",
            source=source,
            target=target,
            rows=torch.from_numpy(np.array(coupling.source)).to(device),
            others=torch.from_numpy(np.array(coupling.target)).to(device),
            probability=torch.from_numpy(np.array(coupling.weight)).to(device, dtype),
            classes=classes,
        )
        self._cumulative = torch.from_numpy(np.cumsum(coupling.weight) / coupling.weight.sum()).to(device)
        self._length = max(len(source), len(target))
        self._classes = classes
        self.strata = (self._coupled,)

    def __len__(self) -> int:
        return self._length

    def thinned(self, most: int) -> DevicePath:
        """Pairs by systematic sampling, each as often as its weight says."""
        if len(self._coupled) <= most:
            return self
        points = (torch.arange(most, device=self._cumulative.device) + 0.5) / most
        atoms = torch.searchsorted(self._cumulative, points).clamp_(max=len(self._coupled) - 1)
        rows, others = (index[atoms].cpu().numpy() for index in (self._coupled.rows, self._coupled.others))
        coupling = Coupling(source=rows, target=others, weight=np.full(most, 1.0 / most), report={})
        return Displacement(self._coupled.source, self._coupled.target, coupling, self._classes)

    def batches(self, t: float, batch: int, *, updates: int, rng: torch.Generator) -> Iterator[DeviceExamples]:
        """Pairs drawn from the coupling, an epoch at a time by systematic sampling: each as often as its weight says."""
        per_epoch, n = len(self) // batch, len(self)
        for update in range(updates):
            position = update % per_epoch
            if position == 0:
                offset = torch.rand(1, generator=rng, device=rng.device, dtype=torch.float64)
                points = (torch.arange(n, device=rng.device) + offset) / n
                atoms = torch.searchsorted(self._cumulative, points).clamp_(max=len(self._coupled) - 1)
                atoms = atoms[torch.randperm(n, generator=rng, device=rng.device)]
            yield self._coupled.examples(atoms[position * batch : (position + 1) * batch], t)
