"""Batch-norm over weighted examples: the statistics of p(x, t) rather than of a random batch of it."""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

BatchNorm = nn.modules.batchnorm._BatchNorm


class PopulationStatistics:
    """While it lasts, the model's batch-norm layers normalise by the statistics of the examples at hand, weighted.

    Set `weights`, (N,) with sum 1, before each pass over N examples (or over several draws of z for each of them).
    With `record` the running statistics become the average over the passes, for evaluation later. Gradients
    flow through statistics and weights.
    """

    def __init__(self, model: Any, *, record: bool) -> None:
        self._layers = [layer for layer in model.modules() if isinstance(layer, BatchNorm)]
        self._record = record
        self._sums: dict[BatchNorm, tuple[Tensor, Tensor, int]] = {}
        self.weights = torch.empty(0)

    @property
    def needed(self) -> bool:
        return bool(self._layers)

    def __enter__(self) -> PopulationStatistics:
        for layer in self._layers:
            layer.forward = partial(self._normalise, layer)  # type: ignore[method-assign]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for layer in self._layers:
            del layer.forward  # the class's own shows again
            if kind is None and self._record and layer in self._sums:
                mean, variance, passes = self._sums[layer]
                layer.running_mean = mean / passes
                layer.running_var = variance / passes

    def _normalise(self, layer: BatchNorm, x: Tensor) -> Tensor:
        weights = self.weights if len(x) == len(self.weights) else self.weights.repeat(len(x) // len(self.weights))
        weights = weights * (len(self.weights) / len(x))
        places = x[0, 0].numel()
        flat = x.reshape(*x.shape[:2], places)
        mean = torch.einsum("n,ncp->c", weights, flat) / places
        centred = flat - mean[:, None]
        variance = torch.einsum("n,ncp->c", weights, centred.square()) / places
        if self._record:
            sums = self._sums.get(layer, (torch.zeros_like(mean), torch.zeros_like(variance), 0))
            self._sums[layer] = (sums[0] + mean, sums[1] + variance, sums[2] + 1)
        scale = torch.rsqrt(variance + layer.eps)
        if layer.affine:
            scale = scale * layer.weight
        normal = centred * scale[:, None]
        return (normal + layer.bias[:, None] if layer.affine else normal).reshape(x.shape)
