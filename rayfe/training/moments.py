"""Weighted means and variances by channel that are merged from parts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST = 1e-300
"""Weight that counts as none."""
MERGED = 4096
"""Examples whose sums are taken in the model's own type; beyond that they are merged in float64."""
Masses = list[tuple[Tensor, Tensor]]
"""Weights of at most MERGED examples each, and their sum."""


@dataclass(kw_only=True, slots=True)
class Moments:
    """Weighted mean and variance of a layer's inputs by channel, merged in float64 (Chan, Golub and LeVeque 1979)."""

    mass: Tensor | float = 0.0
    mean: Tensor | float = 0.0
    squares: Tensor | float = 0.0
    """Mass times variance."""

    def add(self, x: Tensor, masses: Masses) -> None:
        """x (N, channels, ...) with the weights of its examples."""
        for part, (mass, total) in zip(x.split(MERGED), masses, strict=True):
            flat = part.flatten(2) if part.dim() > 2 else part[:, :, None]
            total = total.clamp_min(SMALLEST)  # a part without weight adds nothing
            share = (mass / (total * flat.shape[2])).to(flat.dtype)
            mean = torch.einsum("n,ncp->c", share, flat)
            squares = total * torch.einsum("n,ncp->c", share, (flat - mean[:, None]).square()).double()
            ahead, before = mean.double() - self.mean, self.mass
            self.mass = before + total
            self.mean = self.mean + ahead * (total / self.mass)
            self.squares = self.squares + squares + ahead.square() * (total * before / self.mass)
