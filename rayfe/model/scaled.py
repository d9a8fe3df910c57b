"""A stored model in the units that its examples came in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rayfe.model.marginal import Marginal, marginal_of

Program = Callable[[Tensor], Mapping[str, Tensor]]
"""x -> outputs by name."""


class Scaled(nn.Module):
    """Takes and gives examples in units from `low` to `high`, which are [0, 1] for `model`; what lies outside is clipped.

    `low` and `high` are numbers, or one for each feature of a table.
    """

    low: Tensor
    high: Tensor

    def __init__(self, model: Any, low: Any, high: Any) -> None:
        super().__init__()
        self.model, self.latent = model, model.latent
        self.register_buffer("low", torch.as_tensor(low, dtype=torch.float32))
        self.register_buffer("high", torch.as_tensor(high, dtype=torch.float32))

    @property
    def marginal(self) -> Marginal:
        """m(z) of the model."""
        return marginal_of(self.model)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        width = torch.where(self.high > self.low, self.high - self.low, torch.inf)
        return self.model.encode(((x - self.low) / width).clamp(0.0, 1.0))

    def decode(self, z: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * self.model.decode(z)

    def classify(self, z: Tensor) -> Tensor:
        return self.model.classify(z)


def of_unit_interval(call: Program, run: Mapping[str, Any]) -> Program:
    """The opposite, for an exported model of the run: it takes and gives examples in [0, 1]."""
    scale = run.get("scale")
    if scale is None:
        return call
    low, high = (torch.as_tensor(scale[name], dtype=torch.float32) for name in ("low", "high"))
    width = torch.where(high > low, high - low, torch.inf)

    def unscaled(x: Tensor) -> Mapping[str, Tensor]:
        out = call(low + (high - low) * x)
        return {**out, "reconstruction": (out["reconstruction"] - low) / width}

    return unscaled


def in_units(model: nn.Module, run: Mapping[str, Any]) -> nn.Module:
    """The model in the units of the data of the run whose run.json is `run`: itself where they were not rescaled."""
    scale = run.get("scale")
    return model if scale is None else Scaled(model, **scale).eval()
