"""Dimensions of z one by one: their nats, and whether one that has few of them could be put to better use.

A dimension of z without a signal sits at a saddle: the encoder sends nothing, so the decoder does not listen, and the other
way round. Its gradient vanishes though J would fall, and so does every difference between models of one walk. What the
reconstruction misses says it: let r(x) be the mean of x - x_hat over z, and s the largest variance of r in a direction.
A dimension that carries that direction to a decoder which adds it has at best

    R = 1/2 log(2 lam s)  and lowers J by  g(R) = 1/2 (exp(2 R) - 1) - R,    if 2 lam s > 1,

as in reverse water-filling: exact for linear encoders and decoders, and for others what one linear direction more would do.
A dimension that carries R_i nats well is worth g(R_i), which it gives up. Labels are not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rayfe.data.device import DevicePath
from rayfe.equilibrate.measure import FORWARD, chunks
from rayfe.model.objective import sample
from rayfe.model.protocol import Representation

ITERATIONS = 60
"""Products with the covariance of what is missed, from which its largest directions come."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Missed:
    """What the reconstruction misses: the largest variances of its mean over z, falling, and their directions."""

    variance: Tensor
    """(count,), squared units of x."""
    direction: Tensor
    """(features, count), orthonormal."""
    center: Tensor
    """Mean of what is missed, (features,)."""


@torch.no_grad()
def rates_by_dimension(model: Representation, path: DevicePath, t: float, *, chunk: int) -> tuple[tuple[float, ...], float]:
    """Nats of each dimension of z on p(x, t), of a model in evaluation mode, and the cost in training examples."""
    total, count = torch.zeros(model.latent, dtype=torch.float64), 0
    for stratum in path.present(t):
        weights = stratum.weights(slice(None), t).double()
        for rows in chunks(len(stratum), chunk):
            mean, log_variance = model.encode(stratum.examples(rows, t).x)
            rates = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance)
            total += (weights[rows] @ rates.double()).cpu()
        count += len(stratum)
    return tuple(total.tolist()), 0.5 * FORWARD * count


@torch.no_grad()
def missed(
    model: Representation, path: DevicePath, t: float, *, count: int, chunk: int, rng: torch.Generator
) -> tuple[Missed, float]:
    """The `count` directions that the reconstruction misses most, and the cost in training examples.

    Two reconstructions of each example differ by their z only, so the product of what they miss has no noise of z.
    The directions are found on one half of the examples, and their variances read on the other.
    """
    one, other = _residuals(model, path, t, chunk=chunk, rng=rng)
    center = 0.5 * (one + other).mean(0)
    first, second, third, fourth = (
        part - center
        for half in torch.randperm(len(one), generator=rng, device=rng.device).chunk(2)
        for part in (one[half], other[half])
    )
    count = min(count, center.numel())
    basis = torch.linalg.qr(torch.randn(center.numel(), count, generator=rng, device=rng.device, dtype=center.dtype)).Q
    for _ in range(ITERATIONS):
        basis = torch.linalg.qr(first.T @ (second @ basis) + second.T @ (first @ basis)).Q
    variance = ((third @ basis) * (fourth @ basis)).mean(0)
    order = variance.argsort(descending=True)
    found = Missed(variance=variance[order].clamp_min(0.0), direction=basis[:, order], center=center)
    return found, 0.5 * 3.0 * FORWARD * len(one)


def _residuals(model: Representation, path: DevicePath, t: float, *, chunk: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """x - x_hat by two draws of z, flat, (examples, features) each; an example of twice the weight has sqrt(2) of it."""
    parts: list[list[Tensor]] = [[], []]
    count = sum(map(len, path.present(t)))
    for examples, weights in path.chunks(t, chunk):
        size = (weights * count).sqrt()[:, None]
        mean, log_variance = model.encode(examples.x)
        epsilon = torch.randn(2, *mean.shape, generator=rng, device=mean.device, dtype=mean.dtype)
        for part, z in zip(parts, sample(mean, log_variance, epsilon), strict=True):
            part.append(size * (examples.x - model.decode(z)).flatten(1))
    one, other = (torch.cat(part) for part in parts)
    return one, other


def rate_of(variance: np.ndarray | Tensor, lam: float) -> np.ndarray:
    """Nats that a dimension has at best which carries a missed direction of this variance."""
    return 0.5 * np.log(np.maximum(2.0 * lam * np.asarray(variance, np.float64), 1.0))


def worth(rate: np.ndarray | float) -> np.ndarray:
    """g(R): by how much a dimension of R nats lowers J at best, nats."""
    return 0.5 * np.expm1(2.0 * np.asarray(rate)) - rate


def uptake(fewest: float, missed: Missed, lam: float) -> float:
    """By how much J would fall if the dimension with the `fewest` nats took up the direction that is missed most, nats."""
    gain = worth(rate_of(missed.variance[:1].cpu().numpy(), lam))[0] - worth(fewest)
    return max(0.0, float(gain))
