"""Reading R, D, C of a trained model: evaluation mode, many draws of z, population batch-norm statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rayfe.config import MeasureConfig
from rayfe.data.device import DevicePath, Stratum
from rayfe.equilibrate.statistics import PopulationStatistics
from rayfe.model.objective import (
    Objective,
    PerExample,
    classification_loss,
    distortion,
    draw_noise,
    hits,
    mean_probabilities,
    rate,
    sample,
)
from rayfe.model.protocol import Representation
from rayfe.records import Point, Reading, Split

NOISE_BLOCKS = 64
"""Blocks of examples over which the noise of the draws is kept."""
PREDICTION_DRAWS = 16
"""Draws of each set whose mean probability is the prediction (of all of them it would cost time and change little)."""
SLOPE_DRAWS = 32
"""Draws of z per example through the classifier for F_t."""
FORWARD = 1.0 / 3.0
"""Training examples that a forward pass over one example counts as."""
SECOND = 8
"""With one draw through the decoder every so many-th example has a second one, for the error of D."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draws:
    """PerExample from two independent sets of draws of z: their mean, and half their difference (the noise)."""

    mean: PerExample
    D_noise: Tensor
    C_noise: Tensor


def chunks(n: int, size: int) -> Iterator[slice]:
    """Nearly equal slices of at most `size` out of n, so that averages over them weigh examples equally."""
    count = -(-n // size)
    for i in range(count):
        yield slice(i * n // count, (i + 1) * n // count)


@torch.no_grad()
def recompute_statistics(
    model: Representation, path: DevicePath, t: float, *, chunk: int, rng: torch.Generator, decode: bool = True
) -> float:
    """Set batch-norm statistics to those of p(x, t) for the weights at hand; leaves the model in evaluation mode.

    Without `decode` the decoder's statistics are not brought up to date. Returns the cost in training examples.
    """
    model.eval()
    with PopulationStatistics(model, record=True) as statistics:
        if not statistics.needed:
            return 0.0
        count = 0
        for examples, weights in path.chunks(t, chunk):
            statistics.weights = weights / weights.sum()
            mean, log_variance = model.encode(examples.x)
            epsilon = torch.randn(mean.shape, generator=rng, device=mean.device, dtype=mean.dtype)
            z = sample(mean, log_variance, epsilon)
            model.classify(z)
            if decode:
                model.decode(z)
            count += len(examples)
    return count * FORWARD * (1.0 if decode else 0.5)


def slope_in_t(
    model: Representation, path: DevicePath, point: Point, *, config: MeasureConfig, rng: torch.Generator
) -> tuple[float, float]:
    """F_t = dJ/dt at fixed weights, and its cost in training examples.

    J(t) is differentiated through the examples, the labels and the probabilities of p(x, t), and through batch-norm
    statistics that follow t: what central differences with statistics recomputed at t +- dt tend to, without their step
    and the one-sided ends. Reverse mode, since every layer has it.
    """
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    total, count, objective = 0.0, 0, Objective(model)
    with PopulationStatistics(model, record=False) as statistics, torch.enable_grad():
        t = torch.tensor(point.t, dtype=torch.float64, device=rng.device, requires_grad=True)
        now = t.to(next(iter(model.parameters())).dtype)
        for examples, weights in path.chunks(now, config.chunk):
            statistics.weights = weights / weights.sum()
            noise = draw_noise(
                rng,
                n=len(examples),
                latent=model.latent,
                decoder_draws=2,
                head_draws=SLOPE_DRAWS,
                dtype=examples.x.dtype,
            )
            R, D, C, _ = objective(examples.x, examples.y, noise)
            J = (weights * (R + point.lam * D + point.gamma * C)).sum()
            total += float(torch.autograd.grad(J, t, retain_graph=True)[0])
            count += len(examples)
    return total, 2.0 * FORWARD * 1.5 * count


@torch.no_grad()
def read_draws(
    model: Representation,
    stratum: Stratum,
    t: float,
    *,
    config: MeasureConfig,
    rng: torch.Generator,
    decode: bool = True,
) -> Draws:
    """R, D, C of each example in evaluation mode; without `decode` D is zero and costs nothing."""
    parts = []
    for rows in chunks(len(stratum), config.chunk):
        examples = stratum.examples(rows, t)
        parts.append(_read_chunk(model, examples.x, examples.y, config=config, rng=rng, decode=decode))
    return Draws(
        mean=PerExample(*(torch.cat(values) for values in zip(*(part.mean for part in parts), strict=True))),
        D_noise=torch.cat([part.D_noise for part in parts]),
        C_noise=torch.cat([part.C_noise for part in parts]),
    )


def reading_cost(n: int, config: MeasureConfig, *, decode: bool = True) -> float:
    """Training examples that reading n examples counts as: half a forward pass encodes, half decodes, for each draw."""
    draws = 2.0 if config.decoder_draws == 2 else 1.0 + 1.0 / SECOND
    return n * FORWARD * 0.5 * (1.0 + draws if decode else 1.0)


def _read_chunk(
    model: Representation, x: Tensor, y: Tensor, *, config: MeasureConfig, rng: torch.Generator, decode: bool
) -> Draws:
    mean, log_variance = model.encode(x)
    n, latent = mean.shape

    # Drawn also when unused, so that C sees the same draws either way.
    epsilon = torch.randn(2, n, latent, generator=rng, device=mean.device, dtype=mean.dtype)
    D, D_noise = mean.new_zeros(n), mean.new_zeros(n)
    if decode:
        D, D_noise = _read_distortion(model, x, mean, log_variance, epsilon, every=1 if config.decoder_draws == 2 else SECOND)
    C, probabilities, head_draws = [], [], config.head_draws
    for _ in range(2):
        half = quasi_normal(head_draws // 4, like=mean, rng=rng)
        z = sample(mean, log_variance, torch.cat([half, -half]))
        logits = model.classify(z.flatten(0, 1)).view(head_draws // 2, n, -1)
        C.append(classification_loss(logits, y).mean(0))
        probabilities.append(mean_probabilities(logits[:PREDICTION_DRAWS]))
    correct = hits((probabilities[0] + probabilities[1]).argmax(-1), y)
    return Draws(
        mean=PerExample(R=rate(mean, log_variance), D=D, C=0.5 * (C[0] + C[1]), correct=correct.to(mean.dtype)),
        D_noise=D_noise,
        C_noise=0.5 * (C[0] - C[1]),
    )


def _read_distortion(
    model: Representation, x: Tensor, mean: Tensor, log_variance: Tensor, epsilon: Tensor, *, every: int
) -> tuple[Tensor, Tensor]:
    """D of each example, the mean of two draws for every so many-th one, and noise like that of D, on those alone.

    Half the difference of two draws has the variance of their mean; that of a single draw is twice as large, and those
    that have both speak for `every` examples.
    """
    D = distortion(x, model.decode(sample(mean, log_variance, epsilon[0])))
    some = slice(None, None, every)
    second = distortion(x[some], model.decode(sample(mean[some], log_variance[some], epsilon[1][some])))
    noise = torch.zeros_like(D)
    noise[some] = 0.5 * (D[some] - second) * (1.0 if every == 1 else (2.0 * every) ** 0.5)
    D[some] = 0.5 * (D[some] + second)
    return D, noise


def quasi_normal(count: int, *, like: Tensor, rng: torch.Generator) -> Tensor:
    """(count, N, latent) standard normal draws for `like` (N, latent): scrambled Sobol points, shifted at random per example.

    Each draw is exactly normal and examples are independent; over its draws an example's loss has 0.56 times
    the variance of independent ones (32 antithetic pairs, MNIST; orthogonal frames did the same for more time).
    """
    scramble = int(torch.randint(1 << 62, (1,), generator=rng, device=rng.device))
    points = torch.quasirandom.SobolEngine(like.shape[-1], scramble=True, seed=scramble).draw(count).to(like)
    shift = torch.rand(like.shape, generator=rng, device=like.device, dtype=like.dtype)
    uniform = (points[:, None] + shift).remainder_(1.0)
    smallest = torch.finfo(like.dtype).eps
    return uniform.mul_(2.0).sub_(1.0).clamp_(smallest - 1.0, 1.0 - smallest).erfinv_().mul_(2.0**0.5)


def read(
    model: Representation,
    path: DevicePath,
    *,
    replica: str,
    split: Split,
    point: Point,
    t: float,
    config: MeasureConfig,
    rng: Callable[[str], torch.Generator],
) -> Reading:
    """A reading on p(x, t) of the model as it is (statistics included); `rng` by name of a stratum.

    On the training split the images are the population: errors are those of the draws, and R has none. So are those of
    the control split, on which C is held. On the validation split errors are those of the sample of images (which the
    noise of the draws is part of).
    """
    means, squares, noises = torch.zeros(4, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), []
    for stratum in path.strata:
        if not stratum.share(t) > 0:
            noises.append((np.zeros(NOISE_BLOCKS), np.zeros(NOISE_BLOCKS)))
            continue
        draws = read_draws(model, stratum, t, config=config, rng=rng(stratum.name))
        weights = stratum.weights(slice(None), t).double()
        values = torch.stack(list(draws.mean)).double()
        mean = values @ weights
        means += mean.cpu()
        squares += ((weights * (values[:3] - mean[:3, None] / weights.sum())) ** 2).sum(-1).cpu()
        noises.append((_blocks(draws.D_noise, weights), _blocks(draws.C_noise, weights)))
    D_noise, C_noise = (np.concatenate(noise) for noise in zip(*noises, strict=True))
    R, D, C, accuracy = means.tolist()
    errors = [0.0, float(np.linalg.norm(D_noise)), float(np.linalg.norm(C_noise))]
    if split not in (Split.TRAIN, Split.CONTROL):
        errors = squares.sqrt().tolist()
    return Reading(
        replica=replica,
        split=split,
        point=point,
        update=0,
        R=R,
        D=D,
        C=C,
        accuracy=accuracy,
        R_se=errors[0],
        D_se=errors[1],
        C_se=errors[2],
        D_noise=tuple(D_noise.tolist()),
        C_noise=tuple(C_noise.tolist()),
    )


def _blocks(noise: Tensor, weights: Tensor) -> np.ndarray:
    """What each of NOISE_BLOCKS blocks of examples adds to the noise of the mean over all."""
    return np.array([float(part.sum()) for part in (noise.double() * weights).tensor_split(NOISE_BLOCKS)])
