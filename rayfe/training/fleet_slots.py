"""The tensors of several trainings of one architecture, stacked, and their common update."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import vmap

from rayfe.data.device_path import DevicePath
from rayfe.model.objective import Noise
from rayfe.model.posterior import Widths
from rayfe.training.compiled_update import free_energy_of
from rayfe.training.fleet_batches import SlotBatches
from rayfe.training.optimizer import CARRIED_STEP, adam, adam_of, adam_scales, moved_by
from rayfe.training.replicas import Multipliers, Stacked
from rayfe.training.soap import MEMORY, SAMPLED, Soap, squared, turned
from rayfe.training.train import Progress, Training, noise_of_updates

BLOCK = SAMPLED
"""Updates from one look at the slots to the next, at most: their samples of gradients for SOAP fall together so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A training that may share its updates with others."""

    training: Training
    """Of `Stacked` replicas."""
    t: float
    batch: int
    widths: Widths
    order: int
    """63-bit key of its batches, by `Counted`."""
    noise: int
    """63-bit key of its noise, by `CountedNoise`."""


class Lodger:
    """A training in a slot."""

    def __init__(self, slot: int, progress: Progress) -> None:
        self.slot, self.progress = slot, progress
        optimizer, replicas = progress.descent.optimizer, progress.training.replicas
        self._soap = optimizer if isinstance(optimizer, Soap) else None
        self._adam, self._begin = adam_of(optimizer), 0.0
        moved = moved_by(optimizer, replicas)
        if any(self._adam.state.values()):
            self._begin = CARRIED_STEP
        some = next(iter(moved.values()))
        self._step = torch.full((), self._begin, device=some.device)
        for value in moved.values():
            zeros = {name: torch.zeros_like(value.detach()) for name in ("exp_avg", "exp_avg_sq")}
            self._adam.state[value] = {**zeros, **self._adam.state[value], "step": self._step}

    def tensors(self) -> tuple[dict[str, list[Tensor]], dict[str, dict[str, Tensor]]]:
        """All that an update changes or needs, by kind: those of the parameters one after the other, and others by key."""
        descent, replicas = self.progress.descent, self.progress.training.replicas
        moved = moved_by(descent.optimizer, replicas)
        states = [self._adam.state[value] for value in moved.values()]
        flat = {"theta": [*moved.values()]}
        flat |= {name: [state[name] for state in states] for name in ("exp_avg", "exp_avg_sq")}
        if descent.average:
            flat |= {"mean": [*descent.average.means.values()], "iterate": descent.average.iterate}
        keys = {replicas.name(key): key for key in moved}
        bases = {keys[name]: basis for name, basis in self._soap.bases.items()} if self._soap else {}
        return flat, {
            "others": {key: value for key, value in replicas.tensors().items() if key not in moved},
            "vectors": {key: basis.vectors for key, basis in bases.items()},
            "covariances": {key: basis.covariance for key, basis in bases.items()},
        }

    def knobs(self, ahead: int) -> tuple[float, float, float, float]:
        """Of an update so many ahead: Adam's scales, what the iterate counts in the mean, and the gradient in SOAP's covariances."""
        update, average = self.progress.update + ahead, self.progress.descent.average
        betas: tuple[float, float] = self._adam.param_groups[0]["betas"]
        scales = adam_scales(self.progress.rate(update), self._begin + update + 1, betas)
        sampled = self._soap is not None and update % SAMPLED == 0
        return *scales, average.weight(update) if average else 0.0, 1.0 - MEMORY if sampled else 0.0

    def count(self, updates: int) -> None:
        """So many updates were done."""
        self.progress.update += updates
        for _ in range(updates if self._soap else 0):
            self._soap.count()  # type: ignore[union-attr]

    def finish(self) -> None:
        """Before the training ends: tell Adam how many updates there were."""
        self._step.fill_(self._begin + self.progress.update)


IDLE = (0.0, 1.0, 0.0, 0.0)
"""Knobs by which an update leaves parameters, means and covariances as they are."""


class Slots:
    """Room for so many trainings of models like those of one job, with as many replicas.

    The tensors of a training that has a slot are views of common ones (slots, ...): it reads, renews its bases and ends as if it
    were alone. Slots without a training go through the same operations, so that what one computes does not depend on the others.
    """

    def __init__(self, size: int, like: Lodger, job: Job, path: DevicePath) -> None:
        training = like.progress.training
        assert isinstance(training.replicas, Stacked)
        self._objective, self._size, self._count = training.replicas.skeleton, size, training.replicas.count
        self._batch, self._widths, optimizer = job.batch, job.widths, like.progress.descent.optimizer
        self._betas: tuple[float, float] = adam_of(optimizer).param_groups[0]["betas"]
        moved = moved_by(optimizer, training.replicas)
        self._moved = {key: tuple(value.shape[1:]) for key, value in moved.items()}
        self._shapes = {key: tuple(value.shape[1:]) for key, value in training.replicas.parameters().items()}
        self._sizes = [value[0].numel() for value in moved.values()]
        flat, apart = like.tensors()
        some = flat["theta"][0].detach()
        kinds = ("theta", "exp_avg", "exp_avg_sq", "mean") if training.config.schedule == "average" else tuple(flat)
        self._flat = {kind: some.new_zeros(size, self._count, sum(self._sizes)) for kind in kinds}
        self._apart = {
            kind: {key: value.detach().expand(size, *value.shape).clone() for key, value in tensors.items()}
            for kind, tensors in apart.items()
        }
        self._flat["theta"][:] = torch.cat([value.detach().flatten(1) for value in flat["theta"]], dim=1)
        self._points = Multipliers(*some.new_zeros(3, size, self._count))
        self._keys = torch.zeros(size, dtype=torch.long, device=some.device)
        self._batches = SlotBatches(path, size, job.batch, longest=BLOCK, device=some.device)
        replicas = vmap(self._free_energy, in_dims=(0, 0, None, None, None, None, 0), randomness="error")
        self._free_energies = vmap(replicas, randomness="error")

    @torch.no_grad()
    def take(self, lodger: Lodger, job: Job) -> None:
        """Give a training its slot."""
        for tensor, place in self._places(lodger):
            place.copy_(tensor)
            tensor.data = place
        slot, points = lodger.slot, lodger.progress.training.points
        for row, name in zip(self._points, Multipliers._fields, strict=True):
            row[slot] = torch.tensor([getattr(point, name) for point in points], dtype=row.dtype, device=row.device)
        self._keys[slot] = job.noise
        self._batches.begin(slot, job.order, job.t)

    def _places(self, lodger: Lodger) -> Iterator[tuple[Tensor, Tensor]]:
        """Tensors of a training, and where in the common ones they belong."""
        flat, apart = lodger.tensors()
        for kind, tensors in flat.items():
            whole = self._flat["theta" if kind == "iterate" else kind][lodger.slot]
            for tensor, part in zip(tensors, whole.split(self._sizes, dim=-1), strict=True):
                yield tensor, part.view(tensor.shape)
        for kind, others in apart.items():
            for key, tensor in others.items():
                yield tensor, self._apart[kind][key][lodger.slot]

    @torch.no_grad()
    def leave(self, lodger: Lodger) -> None:
        """Another training may have the slot; the models of this one keep their tensors."""
        for tensor in lodger.progress.training.replicas.tensors().values():
            tensor.data = tensor.data.clone()

    def run(self, lodgers: Sequence[Lodger], updates: int) -> Tensor:
        """So many updates of each; J before each update, summed over replicas, (updates, slots). Nothing waits within it."""
        firsts: list[int | None] = [None] * self._size
        knobs = [[IDLE] * self._size for _ in range(updates)]
        for lodger in lodgers:
            firsts[lodger.slot] = lodger.progress.update
            for ahead in range(updates):
                knobs[ahead][lodger.slot] = lodger.knobs(ahead)
        theta = self._flat["theta"]
        table = torch.tensor(knobs, dtype=theta.dtype, device=theta.device)[..., None, None].unbind(2)
        numbers = torch.tensor([first or 0 for first in firsts], device=theta.device)
        self._batches.prepare(firsts, updates)
        averages, samples = ([any(row[i] for row in knob) for knob in knobs] for i in (2, 3))
        found = []
        for ahead in range(updates):
            noise = noise_of_updates(numbers + ahead, self._batch, key=self._keys, widths=self._widths, dtype=theta.dtype)
            J, gradient = self._gradient(ahead, noise)
            rate, root, part, share = (column[ahead] for column in table)
            if samples[ahead]:
                self._see(gradient, share)
            moments = self._flat["exp_avg"], self._flat["exp_avg_sq"]
            adam(theta, *moments, gradient, scales=(rate, root), betas=self._betas)
            if averages[ahead]:
                self._flat["mean"].lerp_(theta, part)
            found.append(J.sum(-1))
        return torch.stack(found)

    def _gradient(self, ahead: int, noise: Noise) -> tuple[Tensor, Tensor]:
        """J (slots, replicas), and its gradient by the parameters that are moved, (slots, replicas, ...)."""
        batch, theta = self._batches[ahead], self._flat["theta"].detach().requires_grad_()
        x, y = (value.unflatten(0, (self._size, self._batch)) for value in (batch.x, batch.y))
        others, bases = self._apart["others"], self._apart["vectors"]
        J = self._free_energies(theta, others, bases, x, y, noise, self._points)
        (gradient,) = torch.autograd.grad(J.sum(), theta)
        return J.detach(), gradient

    def _free_energy(
        self,
        theta: Tensor,
        others: Mapping[str, Tensor],
        bases: Mapping[str, Tensor],
        x: Tensor,
        y: Tensor,
        noise: Noise,
        point: Multipliers,
    ) -> Tensor:
        """J of one model, with a flat theta."""
        own = self._named(theta)
        return free_energy_of(self._objective, own, others, self._shapes, bases, x, y, noise, point)

    def _named(self, flat: Tensor) -> dict[str, Tensor]:
        """The parts of (..., all entries) by parameter, each (..., *its shape)."""
        parts = zip(self._moved.items(), flat.split(self._sizes, dim=-1), strict=True)
        return {key: part.unflatten(-1, shape) if shape else part[..., 0] for (key, shape), part in parts}

    @torch.no_grad()
    def _see(self, gradient: Tensor, share: Tensor) -> None:
        """Take the gradients of each slot's first replica into its covariances, with a share (slots, 1, 1)."""
        parts = self._named(gradient[:, 0])
        for key, covariance in self._apart["covariances"].items():
            square = squared(turned(parts[key], self._apart["vectors"][key].mT))
            covariance.mul_(1.0 - share).add_(square * share)
