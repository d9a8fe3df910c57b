"""Dimensions of z one by one: their nats, and what the reconstruction misses, which one of them could carry.

A dimension of z without a signal sits at a saddle: the encoder sends nothing, so the decoder does not listen, and the other
way round. Its gradient vanishes though J would fall, and so does every difference between models of one walk. What the
reconstruction misses says it: r(x), the mean of x - x_hat over z, and its largest variances (`surface.water_filling`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rayfe.data.device_path import DevicePath, chunks
from rayfe.data.randomness import normal_of, uniform_of
from rayfe.model.likelihood import likelihood_of
from rayfe.model.marginal import encoded
from rayfe.model.protocol import Representation
from rayfe.records import PROBE, Reading
from rayfe.surface.water_filling import uptake

SOME_DIRECTIONS = 4
"""Directions that are followed to find the one that is missed most."""
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
def rates_by_dimension(model: Representation, path: DevicePath, t: float, *, chunk: int) -> tuple[float, ...] | None:
    """Nats of each dimension of z on p(x, t), of a model in evaluation mode; None: its marginal gives none to each."""
    total = torch.zeros(model.latent, dtype=torch.float64, device=path.strata[0].number.device)
    for stratum in path.present(t):
        weights = stratum.weights(slice(None), t).double()
        for rows in chunks(len(stratum), chunk):
            mean, log_variance, marginal = encoded(model, stratum.examples(rows, t).x)
            if not marginal.closed:
                return None
            mean, log_variance = marginal.in_unit(mean, log_variance)
            rates = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance)
            total += weights[rows] @ rates.double()
    return tuple(total.tolist())


@torch.no_grad()
def missed(model: Representation, path: DevicePath, t: float, *, count: int, chunk: int, key: Callable[[str], int]) -> Missed:
    """The `count` directions that the reconstruction misses most.

    Two reconstructions of each example differ by their z only, so the product of what they miss has no noise of z. The
    directions are found on one half of the examples, and their variances read on the other. Halves and noise belong to the
    examples' numbers; `key` names them.
    """
    first, second, weights, half = _residuals(model, path, t, chunk=chunk, key=key)
    center = 0.5 * weights @ (first + second)
    # products of examples that count sqrt(weight) times have the weights of p(x, t)
    (one, other), (third, fourth) = (
        [(weights[rows] / weights[rows].sum()).sqrt()[:, None] * (part[rows] - center) for part in (first, second)]
        for rows in (chosen.nonzero()[:, 0] for chosen in (half, ~half))
    )
    count = min(count, center.numel())
    columns = torch.arange(center.numel(), device=center.device)
    basis = torch.linalg.qr(normal_of(columns, count, key=key("directions"), dtype=center.dtype)).Q
    for _ in range(ITERATIONS):
        basis = torch.linalg.qr(one.T @ (other @ basis) + other.T @ (one @ basis)).Q
    variance = ((third @ basis) * (fourth @ basis)).sum(0)
    order = variance.argsort(descending=True)
    return Missed(variance=variance[order].clamp_min(0.0), direction=basis[:, order], center=center)


def _residuals(
    model: Representation, path: DevicePath, t: float, *, chunk: int, key: Callable[[str], int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x - x_hat by two draws of z, flat, (N, features) each, probabilities (N,), and which examples are of the first half, (N,)."""
    first: list[Tensor] = []
    second: list[Tensor] = []
    probabilities, half = [], []
    for stratum in path.present(t):
        for rows in chunks(len(stratum), chunk):
            examples = stratum.examples(rows, t)
            mean, log_variance = model.encode(examples.x)
            epsilon = normal_of(examples.number, 2 * model.latent, key=key(stratum.name), dtype=mean.dtype)
            for found, noise in zip((first, second), epsilon.chunk(2, 1), strict=True):
                z = mean + (0.5 * log_variance).exp() * noise
                found.append((examples.x - model.decode(z)).flatten(1))
            probabilities.append(stratum.weights(rows, t).to(examples.x.dtype))
            half.append(uniform_of(examples.number, 1, key=key(f"half of {stratum.name}"), dtype=torch.float64)[:, 0] < 0.5)
    return torch.cat(first), torch.cat(second), torch.cat(probabilities), torch.cat(half)


def with_dimensions(
    model: Representation, path: DevicePath, reading: Reading, *, chunk: int, key: Callable[[str], int]
) -> Reading:
    """The reading, which has a certificate, with the rate of each dimension of z and what one of them could take up.

    The latter is known where D is a multiple of the squared error, and is in units of D.
    """
    point, certificate = reading.point, reading.certificate
    assert certificate is not None
    rates = rates_by_dimension(model, path, point.t, chunk=chunk)
    weight = likelihood_of(model).squared_weight()
    if weight is None:
        return dataclasses.replace(reading, R_dims=rates)
    found = missed(model, path.thinned(PROBE), point.t, count=SOME_DIRECTIONS, chunk=chunk, key=key)
    most = weight * float(found.variance[0])
    gain = None if rates is None else uptake(min(rates), most, point.lam)
    certificate = dataclasses.replace(certificate, missed=most, uptake=gain)
    return dataclasses.replace(reading, R_dims=rates, certificate=certificate)
