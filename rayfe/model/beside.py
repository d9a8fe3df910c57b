"""Examples that go through batch-norm beside a batch, as its examples do, without a part in its statistics."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

TINY = 1e-12
"""Variance below which a channel is constant."""


@contextlib.contextmanager
def beside(model: Any, n: int) -> Iterator[None]:
    """While it lasts, batch-norm layers see the first `n` rows alone, and do to the other rows what they did to those."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    # others go by statistics that are given, so that rows are independent anyway
    batch_wise = [layer for layer in layers if layer.training or "forward" in vars(layer)]
    before = [vars(layer).get("forward") for layer in batch_wise]
    for layer in batch_wise:
        layer.forward = partial(_beside, layer.forward, n)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer, forward in zip(batch_wise, before, strict=True):
            del layer.forward  # the class's own shows again
            if forward is not None:
                layer.forward = forward  # type: ignore[method-assign]


def _beside(forward: Callable[[Tensor], Tensor], n: int, x: Tensor) -> Tensor:
    """A layer is an affine map of each channel, whoever computes it: read off from what it did to the first rows."""
    first, others = x[:n], x[n:]
    y = forward(first)
    axes = [0, *range(2, x.dim())]
    center, level = first.mean(axes, keepdim=True), y.mean(axes, keepdim=True)
    moved = first - center
    slope = (moved * (y - level)).mean(axes, keepdim=True) / (moved.square().mean(axes, keepdim=True) + TINY)
    return torch.cat([y, level + slope * (others - center)])
