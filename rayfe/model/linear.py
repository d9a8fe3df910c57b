"""A linear layer whose input is the same for all replicas: one matrix product for all of them, where vmap makes one for each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class CommonInputLinear(nn.Linear):
    """nn.Linear without bias on flat examples (N, features), for a first layer.

    Under torch.func.vmap over the weights alone, the product is one of (N, features) with the weights of all replicas
    side by side, forward and backward; its result lies as batch-norm wants it. Otherwise it is nn.Linear.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return _Product.apply(x, self.weight)


class _Product(torch.autograd.Function):
    """x W' for x (N, features) and W (units, features)."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        return x @ weight.t()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (gradient,), (x, weight) = gradients, ctx.saved_tensors
        return (
            gradient @ weight if ctx.needs_input_grad[0] else None,
            gradient.t() @ x if ctx.needs_input_grad[1] else None,
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, int | None], x: Tensor, weight: Tensor) -> tuple[Tensor, int]:
        x_dim, weight_dim = in_dims
        if x_dim is not None or weight_dim is None:
            return torch.vmap(nn.functional.linear, in_dims)(x, weight), 0
        stacked = weight.movedim(weight_dim, 0)
        units = stacked.shape[1]
        result = _Product.apply(x, stacked.reshape(-1, stacked.shape[-1]))
        return result.view(len(x), info.batch_size, units), 1
