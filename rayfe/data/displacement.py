"""Displacement interpolation on a device: the pairs of a coupling, and the examples between them (37)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor

from rayfe.data.coupling import Coupling
from rayfe.data.device_path import DeviceExamples, DevicePath, Stratum
from rayfe.data.examples import chance
from rayfe.data.path_sizes import PathSizes
from rayfe.data.randomness import RandomNumbers


@dataclass(frozen=True)
class Coupled(Stratum):
    """Pairs (i, j) of a coupling; at t the example (1 - t) x_i + t x_j with the soft label of Remark 11."""

    name: str
    source: DeviceExamples
    target: DeviceExamples
    rows: Tensor
    others: Tensor
    probability: Tensor
    """float64, with sum 1."""
    of_pair: Tensor
    """The number of each pair: its place in the order of its examples' numbers."""
    classes: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def number(self) -> Tensor:
        return self.of_pair

    def share(self, t: float) -> float:
        return 1.0

    def weights(self, rows: slice, t: float) -> Tensor:
        return self.probability[rows]

    def examples(self, rows: slice | Tensor, t: float | Tensor) -> DeviceExamples:
        """t is one for all or float64, one for each."""
        i, j = self.rows[rows], self.others[rows]
        ends = self.source.images(i), self.target.images(j)
        dtype = ends[0].dtype
        labels = [nnf.one_hot(y, self.classes).to(dtype) for y in (self.source.y[i], self.target.y[j])]

        def between(one: Tensor, other: Tensor) -> Tensor:
            if not isinstance(t, Tensor):
                return (1.0 - t) * one + t * other
            shape = (-1, *[1] * (one.dim() - 1))
            return (1.0 - t).to(dtype).view(shape) * one + t.to(dtype).view(shape) * other

        return DeviceExamples(x=between(*ends), y=between(*labels), number=self.number[rows])


class Displacement(DevicePath):
    """Displacement interpolation along a coupling of source and target (37)."""

    def __init__(self, source: DeviceExamples, target: DeviceExamples, coupling: Coupling, classes: int) -> None:
        device = source.x.device
        rows, others = (torch.from_numpy(np.array(side)).to(device) for side in (coupling.source, coupling.target))
        # numbers of examples, not their rows, so that a coupling of examples in another order has the same pairs
        self._order = torch.from_numpy(np.lexsort((target.number[others].cpu(), source.number[rows].cpu()))).to(device)
        probability = torch.from_numpy(np.array(coupling.weight, np.float64)).to(device)
        number = torch.empty_like(self._order)
        number[self._order] = torch.arange(len(rows), device=device)
        self._coupled = Coupled(
            name="pairs",
            source=source,
            target=target,
            rows=rows,
            others=others,
            probability=probability / probability.sum(),
            of_pair=number,
            classes=classes,
        )
        self._cumulative = _cumulative(self._coupled.probability, self._order)
        self.strata = (self._coupled,)

    @property
    def sizes(self) -> PathSizes:
        pairs = self._coupled
        return PathSizes(source=len(pairs.source), target=len(pairs.target), pairs=len(pairs))

    def thinned(self, most: int) -> DevicePath:
        """Pairs by systematic sampling in a random order within each pair of classes: each as often as its weight says."""
        pairs = self._coupled
        if len(pairs) <= most:
            return self
        labels = (pairs.source.y[pairs.rows], pairs.target.y[pairs.others])
        random = chance(pairs.number.cpu().numpy(), "part")
        order = torch.from_numpy(np.lexsort((random, labels[1].cpu(), labels[0].cpu()))).to(pairs.rows.device)
        points = (torch.arange(most, device=order.device, dtype=torch.float64) + 0.5) / most
        atoms = _atoms(order, _cumulative(pairs.probability, order), points)
        rows, others = pairs.rows[atoms].cpu().numpy(), pairs.others[atoms].cpu().numpy()
        coupling = Coupling(source=rows, target=others, weight=np.full(most, 1.0 / most), report={})
        return Displacement(pairs.source, pairs.target, coupling, pairs.classes)

    def epoch(self, draws: RandomNumbers) -> tuple[Tensor, ...]:
        """Pairs drawn from the coupling by systematic sampling, each as often as its weight says, in a random order."""
        n, offset = len(self), draws.uniform(1, torch.float64)
        atoms = _atoms(self._order, self._cumulative, (torch.arange(n, device=offset.device) + offset) / n)
        return (atoms.take_along_dim(draws.permutation(n), -1),)

    def placed(self, places: tuple[Tensor, ...], t: float | Tensor) -> DeviceExamples:
        return self._coupled.examples(places[0], t)


def _cumulative(probability: Tensor, order: Tensor) -> Tensor:
    """Sums of the probabilities in this order; by the host, since a GPU does not always add in the same order."""
    return probability.cpu()[order.cpu()].cumsum(0).to(probability.device)


def _atoms(order: Tensor, cumulative: Tensor, points: Tensor) -> Tensor:
    """The pairs at these points in [0, 1) of the cumulative probability, in this order of pairs."""
    return order[torch.searchsorted(cumulative, points).clamp_(max=len(order) - 1)]
