"""One model trained by several processes: each takes its part of every mini-batch, and all keep the same weights.

The result is that of one process on the whole batch up to the rounding of sums: batches and noise are drawn whole by
every process and cut, batch-norm normalises by the whole batch, and so do the masks of torch.nn.Dropout.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as nnf
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from rayfe.model.objective import Noise, PerExample
from rayfe.training.batch_norm import BatchNorm
from rayfe.training.replicas import Looped


class Sharded(Looped):
    """A single replica; every process of the group makes one of the same model and calls it with the same arguments.

    With gradients each process computes its part of the batch, gets the other parts' values, and the gradients of all parameters
    are summed over the group at once. Without (readings of the probe) each computes everything. Stochastic layers other than
    torch.nn.Dropout draw the same numbers for every part.

    Raises:
        ValueError: more than one model.
    """

    def __init__(self, models: Sequence[nn.Module], device: torch.device) -> None:
        if len(models) != 1:
            raise ValueError(f"{len(models)} replicas: only one can be trained by several processes")
        super().__init__(models)
        self._rank, self._world = dist.get_rank(), dist.get_world_size()
        self._batch = 0
        for layer in models[0].modules():
            if isinstance(layer, BatchNorm):
                layer.forward = partial(_normalise, layer)  # type: ignore[method-assign]
            elif isinstance(layer, nn.Dropout):
                layer.forward = partial(self._drop, layer, layer.forward)  # type: ignore[method-assign]

    def functionals(self, x: Tensor, y: Tensor, noise: Noise, *, seed: int = 0, predict: bool = True) -> PerExample:
        if not torch.is_grad_enabled():
            return super().functionals(x, y, noise, seed=seed, predict=predict)
        self._batch = len(x)
        part = self._part()
        cut = Noise(decoder=noise.decoder[:, part], head=noise.head[:, part], encoder=noise.encoder[:, part])
        return self._joined(super().functionals(x[part], y[part], cut, seed=seed, predict=predict))

    def information(self) -> Tensor | None:
        """Its gradients are summed over the group, so each process has a part of them."""
        S = super().information()
        return S if S is None or not torch.is_grad_enabled() else S.detach() + (S - S.detach()) / self._world

    @torch.no_grad()
    def complete_gradients(self) -> None:
        gradients = [parameter.grad for parameter in self.parameters().values() if parameter.grad is not None]
        whole = torch.cat([gradient.reshape(-1) for gradient in gradients])  # convolutions' are channels-last
        dist.all_reduce(whole)
        parts = whole.split([gradient.numel() for gradient in gradients])
        torch._foreach_copy_(gradients, [part.view(gradient.shape) for part, gradient in zip(parts, gradients, strict=True)])

    def _part(self) -> slice:
        size = self._batch // self._world
        return slice(self._rank * size, (self._rank + 1) * size)

    def _joined(self, own: PerExample) -> PerExample:
        """(1, part) -> (1, batch) each: values of all parts, the gradient of one's own."""
        together = torch.stack([value.detach() for value in own])
        parts = [torch.empty_like(together) for _ in range(self._world)]
        dist.all_gather(parts, together)
        values = [list(part.unbind()) for part in parts]
        values[self._rank] = list(own)
        return PerExample(*(torch.cat(value, dim=-1) for value in zip(*values, strict=True)))

    def _drop(self, layer: nn.Dropout, alone: Any, x: Tensor) -> Tensor:
        """The mask of the whole batch, cut; several draws of z come one after the other."""
        if not layer.training or not torch.is_grad_enabled():
            return alone(x)
        size = self._batch // self._world
        whole = torch.ones(len(x) // size * self._batch, *x.shape[1:], dtype=x.dtype, device=x.device)
        mask = nnf.dropout(whole, layer.p).view(-1, self._batch, *x.shape[1:])
        return x * mask[:, self._part()].reshape(x.shape)


def _normalise(layer: Any, x: Tensor) -> Tensor:
    """Batch-norm in training mode by the statistics of the whole batch (of one's own where no gradient is wanted)."""
    if not layer.training:
        return type(layer).forward(layer, x)
    total = all_reduce if torch.is_grad_enabled() else _own
    world = dist.get_world_size() if torch.is_grad_enabled() else 1
    axes = [0, *range(2, x.dim())]
    shape = (1, -1, *[1] * (x.dim() - 2))
    count = world * x.numel() // x.shape[1]
    mean = total(x.sum(axes)) / count
    centred = x - mean.view(shape)
    variance = total(centred.square().sum(axes)) / count
    if layer.track_running_stats:
        _record(layer, mean, variance * (count / (count - 1)))
    normal = centred * torch.rsqrt(variance + layer.eps).view(shape)
    return normal * layer.weight.view(shape) + layer.bias.view(shape) if layer.affine else normal


def _own(value: Tensor) -> Tensor:
    return value


@torch.no_grad()
def _record(layer: Any, mean: Tensor, variance: Tensor) -> None:
    layer.num_batches_tracked += 1
    part = 1.0 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
    layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), part)
    layer.running_var.lerp_(variance.to(layer.running_var.dtype), part)
