"""Reading R, D, C of a trained model: evaluation mode, many draws of z, population batch-norm statistics."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rayfe.config import MeasureConfig
from rayfe.data.device_path import DevicePath, Stratum, chunks
from rayfe.data.randomness import derived_seed, normal_of, to_normal, uniform_of
from rayfe.model.objective import (
    PerExample,
    classification_loss,
    distortion,
    hits,
    mean_probabilities,
    rate,
    sample,
)
from rayfe.model.protocol import Representation
from rayfe.records import Point, Reading, Split
from rayfe.training.batch_norm import BatchNorm, operations, recompute_statistics

NOISE_BLOCKS = 64
"""Blocks of examples, drawn by their numbers, over which the noise of the draws is kept."""
PREDICTION_DRAWS = 16
"""Draws of each half of the first set whose mean probability is the prediction (of all of them it would change little)."""
SLOPE_DRAWS = 32
"""Draws of z per example through the classifier for F_t."""
SLOPE_STEP = 0.001
"""Distance in t of the differences for F_t. On MNIST (0-4 to 5-9) float32 rounds F_t = 61 by 0.002 there, and steps up to 0.008 say the
same; where a new class is rare, batch-norm changes faster."""
FORWARD = 1.0 / 3.0
"""Training examples that a forward pass over one example counts as."""
SECOND = 8
"""With one draw through the decoder one in so many examples has a second one, for the error of D."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draws:
    """PerExample from two independent halves of the draws of z: their mean, and half their difference (the noise)."""

    mean: PerExample
    D_noise: Tensor
    C_noise: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """How many draws a reading takes: nested sets of `measure.head_draws` for C and of `measure.decoder_draws` for D."""

    draw_sets: int = 1
    decoder_sets: int = 1
    decode: bool = True
    """Without it D is zero and costs nothing."""

    def cost(self, n: int, config: MeasureConfig, head: float) -> float:
        """Training examples that reading n examples counts as: half a forward pass encodes, and half decodes for each draw;
        a draw through the classifier is the part `head` of a forward pass."""
        decoded = 2.0 if config.decoder_draws == 2 else 1.0 + 1.0 / SECOND
        passes = 0.5 + (0.5 * decoded * self.decoder_sets if self.decode else 0.0)
        return n * FORWARD * (passes + head * config.head_draws * self.draw_sets)


@torch.no_grad()
def head_share(model: Any, x: Tensor) -> float:
    """Cost of one draw through the classifier as a part of a forward pass, by floating-point operations of matrix products and
    convolutions on examples x (N, ...)."""
    z, _ = model.encode(x)
    through = operations(lambda: model.classify(z))
    rest = operations(lambda: model.decode(z)) + operations(lambda: model.encode(x))
    return through / (rest + through) if rest else 0.0


def slope_in_t(
    model: Representation, path: DevicePath, point: Point, *, config: MeasureConfig, key: Callable[[str], int], head: float
) -> tuple[float, float]:
    """F_t = dJ/dt at fixed weights, and its cost in training examples.

    A difference of second order over SLOPE_STEP, central or at the ends one-sided, of J(t) with the noise of each example the same and
    batch-norm statistics recomputed at each t. The model's own statistics are left as they were.
    """
    effort, config = Effort(), dataclasses.replace(config, head_draws=SLOPE_DRAWS, decoder_draws=2)
    kept = [(layer, layer.running_mean, layer.running_var) for layer in model.modules() if isinstance(layer, BatchNorm)]
    slope = cost = 0.0
    for t, factor in _difference(point.t, SLOPE_STEP):
        cost += FORWARD * recompute_statistics(model, path, t, chunk=config.chunk, key=partial(_named, key, "statistics"))
        for stratum in path.present(t):
            mean = read_draws(model, stratum, t, config=config, key=key(stratum.name), effort=effort).mean
            J = mean.R.double() + point.lam * mean.D.double() + point.gamma * mean.C.double()
            slope += factor * float(J @ stratum.weights(slice(None), t))
            cost += effort.cost(len(stratum), config, head)
    for layer, mean_before, variance_before in kept:
        layer.running_mean, layer.running_var = mean_before, variance_before
    return slope, cost


def _named(key: Callable[[str], int], purpose: str, stratum: str) -> int:
    return key(f"{purpose} {stratum}")


def _difference(t: float, step: float) -> tuple[tuple[float, float], ...]:
    """Times and factors of a first derivative of second order within [0, 1]."""
    if t < step:
        return (t, -1.5 / step), (t + step, 2.0 / step), (t + 2 * step, -0.5 / step)
    if t > 1.0 - step:
        return (t, 1.5 / step), (t - step, -2.0 / step), (t - 2 * step, 0.5 / step)
    return (t - step, -0.5 / step), (t + step, 0.5 / step)


@torch.no_grad()
def read_draws(model: Representation, stratum: Stratum, t: float, *, config: MeasureConfig, key: int, effort: Effort) -> Draws:
    """R, D, C of each example in evaluation mode, by draws that `key` and the examples' numbers determine."""
    latent = model.latent
    heads = [_sobol(latent, config.head_draws // 4, derived_seed(key, "head", i)) for i in range(2 * effort.draw_sets)]
    parts = []
    for rows in chunks(len(stratum), config.chunk):
        examples = stratum.examples(rows, t)
        parts.append(_read_chunk(model, examples.x, examples.y, examples.number, heads, config=config, key=key, effort=effort))
    return Draws(
        mean=PerExample(*(torch.cat(values) for values in zip(*(part.mean for part in parts), strict=True))),
        D_noise=torch.cat([part.D_noise for part in parts]),
        C_noise=torch.cat([part.C_noise for part in parts]),
    )


def _read_chunk(
    model: Representation,
    x: Tensor,
    y: Tensor,
    number: Tensor,
    heads: list[Tensor],
    *,
    config: MeasureConfig,
    key: int,
    effort: Effort,
) -> Draws:
    mean, log_variance = model.encode(x)
    D, D_noise = mean.new_zeros(len(x)), mean.new_zeros(len(x))
    if effort.decode:
        every = 1 if config.decoder_draws == 2 else SECOND
        for i in range(effort.decoder_sets):
            one, noise = _read_distortion(
                model, x, mean, log_variance, number, key=derived_seed(key, "decoder", i), every=every
            )
            D, D_noise = D + one / effort.decoder_sets, D_noise + noise / effort.decoder_sets
    C, probabilities = [mean.new_zeros(len(x)), mean.new_zeros(len(x))], []
    for i, points in enumerate(heads):
        half = _shifted(points, number, like=mean, key=derived_seed(key, "shift", i))
        z = sample(mean, log_variance, torch.cat([half, -half]))
        logits = model.classify(z.flatten(0, 1)).view(*z.shape[:2], -1)
        C[i % 2] += classification_loss(logits, y).mean(0) / effort.draw_sets
        if i < 2:
            probabilities.append(mean_probabilities(logits[:PREDICTION_DRAWS]))
    correct = hits((probabilities[0] + probabilities[1]).argmax(-1), y)
    return Draws(
        mean=PerExample(R=rate(mean, log_variance), D=D, C=0.5 * (C[0] + C[1]), correct=correct.to(mean.dtype)),
        D_noise=D_noise,
        C_noise=0.5 * (C[0] - C[1]),
    )


def _read_distortion(
    model: Representation, x: Tensor, mean: Tensor, log_variance: Tensor, number: Tensor, *, key: int, every: int
) -> tuple[Tensor, Tensor]:
    """D of each example, the mean of two draws for one in `every`, drawn by their numbers, and noise like that of D on those alone.

    Half the difference of two draws has the variance of their mean; that of a single draw is twice as large, and those
    that have both speak for `every` examples.
    """
    epsilon = normal_of(number, 2 * mean.shape[1], key=key, dtype=mean.dtype).chunk(2, dim=-1)
    D = distortion(x, model.decode(sample(mean, log_variance, epsilon[0])))
    noise = torch.zeros_like(D)
    (some,) = torch.nonzero(_bin_of(number, every, "second draw") == 0, as_tuple=True)
    if len(some):
        second = distortion(x[some], model.decode(sample(mean[some], log_variance[some], epsilon[1][some])))
        noise[some] = 0.5 * (D[some] - second) * (1.0 if every == 1 else (2.0 * every) ** 0.5)
        D[some] = 0.5 * (D[some] + second)
    return D, noise


def _sobol(latent: int, count: int, key: int) -> Tensor:
    """(count, latent) scrambled Sobol points in [0, 1)."""
    return torch.quasirandom.SobolEngine(latent, scramble=True, seed=key).draw(count)


def _shifted(points: Tensor, number: Tensor, *, like: Tensor, key: int) -> Tensor:
    """(count, N, latent) standard normal draws for `like` (N, latent): points (count, latent), shifted at random per example.

    Each draw is exactly normal and examples are independent; over its draws an example's loss has 0.56 times
    the variance of independent ones (32 antithetic pairs, MNIST; orthogonal frames did the same for more time).
    """
    shift = uniform_of(number, like.shape[1], key=key, dtype=like.dtype)
    return to_normal((points.to(like)[:, None] + shift).remainder_(1.0))


def _bin_of(number: Tensor, bins: int, purpose: str) -> Tensor:
    """One of so many bins for each example, at random by its number, (N,)."""
    return (uniform_of(number, 1, key=derived_seed(purpose), dtype=torch.float64)[:, 0] * bins).long()


def read(
    model: Representation,
    path: DevicePath,
    *,
    replica: str,
    split: Split,
    point: Point,
    t: float,
    config: MeasureConfig,
    key: Callable[[str], int],
    effort: Effort,
) -> Reading:
    """A reading on p(x, t) of the model as it is (statistics included); `key` of the draws by name of a stratum.

    On the training split the images are the population: errors are those of the draws, and R has none. So are those of
    the control split, on which C is held. On the validation split errors are those of the sample of images (which the
    noise of the draws is part of).
    """
    means, squares, noises = torch.zeros(4, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), []
    for stratum in path.strata:
        if not stratum.share(t) > 0:
            noises.append((np.zeros(NOISE_BLOCKS), np.zeros(NOISE_BLOCKS)))
            continue
        draws = read_draws(model, stratum, t, config=config, key=key(stratum.name), effort=effort)
        weights, number = stratum.weights(slice(None), t), stratum.number
        values = torch.stack(list(draws.mean)).double()
        mean = values @ weights
        means += mean.cpu()
        squares += ((weights * (values[:3] - mean[:3, None] / weights.sum())) ** 2).sum(-1).cpu()
        noises.append((_blocks(draws.D_noise, weights, number), _blocks(draws.C_noise, weights, number)))
    D_noise, C_noise = (np.concatenate(noise) for noise in zip(*noises, strict=True))
    R, D, C, accuracy = means.tolist()
    population = split in (Split.TRAIN, Split.CONTROL)
    R_se, D_se, C_se = (0.0, *(np.sum(noise**2) ** 0.5 for noise in (D_noise, C_noise))) if population else squares.sqrt()
    return Reading(
        replica=replica,
        split=split,
        point=point,
        update=0,
        R=R,
        D=D,
        C=C,
        accuracy=accuracy,
        R_se=float(R_se),
        D_se=float(D_se),
        C_se=float(C_se),
        D_noise=tuple(D_noise.tolist()),
        C_noise=tuple(C_noise.tolist()),
        size=path.size(t),
    )


def _blocks(noise: Tensor, weights: Tensor, number: Tensor) -> np.ndarray:
    """What each of NOISE_BLOCKS blocks of examples adds to the noise of the mean over all."""
    bins = _bin_of(number, NOISE_BLOCKS, "noise block")
    return (
        torch.zeros(NOISE_BLOCKS, dtype=torch.float64, device=noise.device)
        .index_add_(0, bins, noise.double() * weights)
        .cpu()
        .numpy()
    )
