"""The training of a conditioned model: every group of a mini-batch has a point of the box of its own."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.func import functional_call

from rayfe.data.randomness import generator
from rayfe.model.conditioned import Conditioned
from rayfe.model.objective import Noise, Objective, PerExample
from rayfe.model.task import task_of
from rayfe.records import Box, Point, Weights
from rayfe.training.replicas import Looped, Multipliers, Replicas, free_energy, seeded

GROUPS = 2
"""Groups of a mini-batch; batch-norm normalises each by its own statistics, since those of z depend on the point."""


class OverABox(Replicas):
    """One conditioned model. It is read at the centre of its box, and descends on the mean of log J over the box."""

    count, stacked = 1, False

    def __init__(self, model: Conditioned) -> None:
        self._model, self._named = model, Looped([model])
        self._objective, self.task = Objective(model.model), task_of(model.model)

    def parameters(self) -> Mapping[str, Tensor]:
        return self._named.parameters()

    def tensors(self) -> Mapping[str, Tensor]:
        return self._named.tensors()

    def weights(self) -> tuple[Weights, ...]:
        return self._named.weights()

    def name(self, key: str) -> str:
        return self._named.name(key)

    def first(self, tensors: Mapping[str, Tensor]) -> Weights:
        return self._named.first(tensors)

    def functionals(self, x: Tensor, y: Tensor, noise: Noise, *, seed: int = 0, predict: bool = True) -> PerExample:
        (moved,) = self._model.parameters_at([self._model.box.centre])
        found = self._at(moved, x, y, noise, seed=seed, predict=predict)
        return PerExample(*(value[None] for value in found))

    def information(self) -> Tensor | None:
        return None

    def loss(self, x: Tensor, y: Tensor, noise: Noise, at: Multipliers, *, seed: int) -> Tensor:
        """Mean of log J over the groups, (1,): a change by 1 % counts alike at every point. `at` is the centre."""
        count = min(GROUPS, len(x) // 2)
        points = drawn(self._model.box, count, generator(torch.device("cpu"), seed, "points"))
        parts = (x.tensor_split(count), y.tensor_split(count), *(one.tensor_split(count, dim=1) for one in noise))
        losses = []
        for point, moved, own_x, own_y, *draws in zip(points, self._model.parameters_at(points), *parts, strict=True):
            found = self._at(moved, own_x, own_y, Noise(*draws), seed=seed, predict=False)
            losses.append(free_energy(found, *at.lam.new_tensor([point.lam, point.gamma])).log())
        return torch.stack(losses).mean()[None]

    def _at(self, moved: Mapping[str, Tensor], x: Tensor, y: Tensor, noise: Noise, *, seed: int, predict: bool) -> PerExample:
        named = {f"model.{name}": value for name, value in moved.items()}
        with seeded(seed, x.device):
            return functional_call(self._objective, named, (x, y, noise, predict))


def drawn(box: Box, count: int, rng: torch.Generator) -> list[Point]:
    """Points that are uniform in log lam and log gamma, one in each of `count` strips of both (a Latin hypercube)."""
    strips = torch.stack([torch.randperm(count, generator=rng) for _ in range(2)], dim=-1)
    places = (strips + torch.rand(count, 2, generator=rng, dtype=torch.float64)) / count
    return [box.at(a, b) for a, b in (2.0 * places - 1.0).tolist()]
