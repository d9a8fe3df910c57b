"""A stored model in the units that its examples came in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


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

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        width = torch.where(self.high > self.low, self.high - self.low, torch.inf)
        return self.model.encode(((x - self.low) / width).clamp(0.0, 1.0))

    def decode(self, z: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * self.model.decode(z)

    def classify(self, z: Tensor) -> Tensor:
        return self.model.classify(z)


def in_units(model: nn.Module, run: Mapping[str, Any]) -> nn.Module:
    """The model in the units of the data of the run whose run.json is `run`: itself where they were not rescaled."""
    scale = run.get("scale")
    return model if scale is None else Scaled(model, **scale).eval()
