"""R, D, C of each example in evaluation mode, by many draws of z."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rayfe.config import MeasureConfig
from rayfe.data.device_path import DeviceExamples, DevicePath, Stratum, chunks
from rayfe.data.randomness import derived_seed, normal_of, to_normal, uniform_of
from rayfe.model.likelihood import likelihood_of
from rayfe.model.marginal import encoded
from rayfe.model.objective import PerExample, rate, sample, scored
from rayfe.model.protocol import Representation
from rayfe.model.task import task_of
from rayfe.records import Point, decoder_draws
from rayfe.training.batch_norm import WHOLE_BYTES, BatchNorm, operations, recompute_statistics
from rayfe.training.differences import difference

PREDICTION_DRAWS = 16
"""Draws of each half of the first set whose mean is the prediction (of all of them it would change little)."""
SLOPE_DRAWS = 32
"""Draws of z per example through the classifier for F_t."""
SLOPE_STEP = 0.001
"""Distance in t of the differences for F_t. On MNIST (0-4 to 5-9) float32 rounds F_t = 61 by 0.002 there, and steps up to 0.008 say the
same; where a new class is rare, batch-norm changes faster."""
FORWARD = 1.0 / 3.0
"""Training examples that a forward pass over one example counts as."""
CHUNK, FEWER, CHUNK_NUMBERS = 4000, 1000, 1 << 24
"""Examples that are passed at once: usually, through convolutions, and numbers in all of them at most."""
SECOND = 8
"""With one draw through the decoder one in so many examples has a second one, for the error of D."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draws:
    """PerExample from two independent halves of the draws of z: their mean, and half their difference (the noise)."""

    mean: PerExample
    D_noise: Tensor
    C_noise: Tensor
    R_noise: Tensor | None = None
    """None: R has a closed form."""
    losses: Tensor | None = None
    """Each loss of a task whose losses have prices, (N, k); C is their sum."""
    losses_noise: Tensor | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """How each example is read: draws of z, and how many examples are passed at once."""

    head_draws: int
    """Through the classifier in antithetic pairs, half of them per independent set."""
    decoder_draws: Literal[1, 2]
    """Through the decoder. 1: only every eighth example has the second one, which the error of D needs."""
    chunk: int
    """Memory against speed; no number depends on it but by rounding."""
    whole: int = WHOLE_BYTES
    """Bytes that all examples of batch-norm statistics may take at once."""


def drawing_of(config: MeasureConfig, model: Any, example: Tensor, *, images: int, models: int = 1) -> Drawing:
    """How readings of `images` training images are drawn by so many models like `model` at once; `example` is one input, (1, ...)."""
    convolves = any(isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) for layer in model.modules())
    chunk = max(1, min(FEWER if convolves else CHUNK, CHUNK_NUMBERS // example.numel()) // models)
    draws = decoder_draws(images)
    return Drawing(head_draws=config.head_draws, decoder_draws=draws, chunk=chunk, whole=WHOLE_BYTES // models)


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """How many draws a reading takes: nested sets of `Drawing.head_draws` for C and of `Drawing.decoder_draws` for D."""

    draw_sets: int = 1
    decoder_sets: int = 1
    decode: bool = True
    """Without it D is zero and costs nothing."""

    def cost(self, n: int, drawing: Drawing, head: float) -> float:
        """Training examples that reading n examples counts as: half a forward pass encodes, and half decodes for each draw;
        a draw through the classifier is the part `head` of a forward pass."""
        decoded = 2.0 if drawing.decoder_draws == 2 else 1.0 + 1.0 / SECOND
        passes = 0.5 + (0.5 * decoded * self.decoder_sets if self.decode else 0.0)
        return n * FORWARD * (passes + head * drawing.head_draws * self.draw_sets)


@torch.no_grad()
def head_share(model: Any, x: Tensor) -> float:
    """Cost of one draw through the classifier as a part of a forward pass, by floating-point operations of matrix products and
    convolutions on examples x (N, ...)."""
    z, _ = model.encode(x)
    through = operations(lambda: model.classify(z))
    rest = operations(lambda: model.decode(z)) + operations(lambda: model.encode(x))
    return through / (rest + through) if rest else 0.0


def slope_in_t(model: Representation, path: DevicePath, point: Point, *, drawing: Drawing, key: Callable[[str], int]) -> float:
    """F_t = dJ/dt at fixed weights.

    A difference of second order over SLOPE_STEP, central or at the ends one-sided, of J(t) with the noise of each example the same and
    batch-norm statistics recomputed at each t. The model's own statistics are left as they were.
    """
    effort, drawing = Effort(), slope_drawing(drawing)
    kept = [(layer, layer.running_mean, layer.running_var) for layer in model.modules() if isinstance(layer, BatchNorm)]
    slope = 0.0
    for t, factor in difference(point.t, SLOPE_STEP):
        recompute_statistics(model, path, t, chunk=drawing.chunk, most=drawing.whole, key=partial(_named, key, "statistics"))
        for stratum in path.present(t):
            mean = read_draws(model, stratum, t, drawing=drawing, key=key(stratum.name), effort=effort).mean
            J = mean.R.double() + point.lam * mean.D.double() + point.gamma * mean.C.double()
            slope += factor * float(J @ stratum.weights(slice(None), t))
    for layer, mean_before, variance_before in kept:
        layer.running_mean, layer.running_var = mean_before, variance_before
    return slope


def slope_drawing(drawing: Drawing) -> Drawing:
    """How J is read for F_t."""
    return dataclasses.replace(drawing, head_draws=SLOPE_DRAWS, decoder_draws=2)


def _named(key: Callable[[str], int], purpose: str, stratum: str) -> int:
    return key(f"{purpose} {stratum}")


class Keys(NamedTuple):
    """The noise of a reading of one stratum; several models have all of them stacked."""

    heads: Tensor
    """(sets, count, latent) Sobol points of the draws through the classifier, two sets for each of `Effort.draw_sets`."""
    shifts: tuple[int, ...]
    """Keys of their shifts."""
    decoders: tuple[int, ...]
    """Keys of the draws through the decoder."""


def keys_of(key: int, latent: int, *, drawing: Drawing, effort: Effort, device: torch.device) -> Keys:
    """What `key`, of a seed and a stratum, determines for models of so many dimensions of z."""
    sets = range(2 * effort.draw_sets)
    points = [_sobol(latent, drawing.head_draws // 4, derived_seed(key, "head", i)) for i in sets]
    return Keys(
        heads=torch.stack(points).to(device),
        shifts=tuple(derived_seed(key, "shift", i) for i in sets),
        decoders=tuple(derived_seed(key, "decoder", i) for i in range(effort.decoder_sets)),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """What all models have in common that are read in one pass over a stratum."""

    stratum: Stratum
    t: float
    drawing: Drawing
    effort: Effort
    slices: Sequence[slice]
    some: Sequence[Tensor]
    """Rows of each slice that have a second draw through the decoder."""

    def draws(self, model: Representation, keys: Keys) -> Draws:
        """R, D, C of each example in evaluation mode."""
        parts = [
            _read_chunk(model, self.stratum.examples(rows, self.t), keys, some, self)
            for rows, some in zip(self.slices, self.some, strict=True)
        ]
        return Draws(
            mean=PerExample(*(torch.cat(values) for values in zip(*(part.mean for part in parts), strict=True))),
            D_noise=torch.cat([part.D_noise for part in parts]),
            C_noise=torch.cat([part.C_noise for part in parts]),
            R_noise=_joined([part.R_noise for part in parts]),
            losses=_joined([part.losses for part in parts]),
            losses_noise=_joined([part.losses_noise for part in parts]),
        )


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    found = [part for part in parts if part is not None]
    return torch.cat(found) if found else None


def pass_over(stratum: Stratum, t: float, *, drawing: Drawing, effort: Effort) -> Pass:
    """One pass over the examples of a stratum."""
    slices = list(chunks(len(stratum), drawing.chunk))
    some = _with_second_draw(stratum.number, slices, _every(drawing))
    return Pass(stratum=stratum, t=t, drawing=drawing, effort=effort, slices=slices, some=some)


def _every(drawing: Drawing) -> int:
    """One example in so many has a second draw through the decoder."""
    return 1 if drawing.decoder_draws == 2 else SECOND


@torch.no_grad()
def read_draws(model: Representation, stratum: Stratum, t: float, *, drawing: Drawing, key: int, effort: Effort) -> Draws:
    """R, D, C of each example in evaluation mode, by draws that `key` and the examples' numbers determine."""
    keys = keys_of(key, model.latent, drawing=drawing, effort=effort, device=stratum.number.device)
    return pass_over(stratum, t, drawing=drawing, effort=effort).draws(model, keys)


def _with_second_draw(number: Tensor, slices: Sequence[slice], every: int) -> list[Tensor]:
    """Rows of each slice that have a second draw through the decoder, one in `every` by the examples' numbers `number`."""
    chosen = (
        (bin_of(number, every, "second draw") == 0).cpu().numpy()
    )  # all at once: a device would be waited for at each slice
    rows = [np.flatnonzero(chosen[part]) for part in slices]
    return list(torch.from_numpy(np.concatenate(rows)).to(number.device).split([len(some) for some in rows]))


def _read_chunk(model: Representation, examples: DeviceExamples, keys: Keys, some: Tensor, over: Pass) -> Draws:
    x, y, number, effort = examples.x, examples.y, examples.number, over.effort
    mean, log_variance, marginal = encoded(model, x)
    D, D_noise = mean.new_zeros(len(x)), mean.new_zeros(len(x))
    if effort.decode:
        for key in keys.decoders:
            one, noise = _read_distortion(model, examples, mean, log_variance, some, key=key, every=_every(over.drawing))
            D, D_noise = D + one / effort.decoder_sets, D_noise + noise / effort.decoder_sets
    task, C, predictions = task_of(model), [mean.new_zeros(len(x)), mean.new_zeros(len(x))], []
    gain = [mean.new_zeros(len(x)), mean.new_zeros(len(x))]
    k = 0 if task.prices is None else len(task.prices)
    losses = mean.new_zeros(2, len(x), k)
    for i, key in enumerate(keys.shifts):
        z = _antithetic(mean, log_variance, _rotated(keys.heads[i], number, like=mean, key=key))
        prediction = model.classify(z.flatten(0, 1)).view(*z.shape[:2], -1)
        if k:
            losses[i % 2] += task.losses(prediction, y).mean(0) / effort.draw_sets
        else:
            C[i % 2] += task.loss(prediction, y).mean(0) / effort.draw_sets
        if not marginal.closed:
            gain[i % 2] += marginal.gain(z).mean(0) / effort.draw_sets
        if i < 2:
            predictions.append(task.mean(prediction[:PREDICTION_DRAWS]))
    if k:
        C = [*losses.sum(-1)]
    score = scored(task, 0.5 * (predictions[0] + predictions[1]), y)
    R = rate(*marginal.in_unit(mean, log_variance))
    R = R if marginal.closed else R - 0.5 * (gain[0] + gain[1])
    return Draws(
        mean=PerExample(R=R, D=D, C=0.5 * (C[0] + C[1]), score=score),
        D_noise=D_noise,
        C_noise=0.5 * (C[0] - C[1]),
        R_noise=None if marginal.closed else 0.5 * (gain[1] - gain[0]),
        losses=losses.mean(0) if k else None,
        losses_noise=0.5 * (losses[0] - losses[1]) if k else None,
    )


def _read_distortion(
    model: Representation, examples: DeviceExamples, mean: Tensor, log_variance: Tensor, some: Tensor, *, key: int, every: int
) -> tuple[Tensor, Tensor]:
    """D of each example, the mean of two draws for the rows `some`, one in `every`, and noise like that of D on those alone.

    Half the difference of two draws has the variance of their mean; that of a single draw is twice as large, and those
    that have both speak for `every` examples.
    """
    x, distortion = examples.x, likelihood_of(model)
    epsilon = normal_of(examples.number, 2 * mean.shape[1], key=key, dtype=mean.dtype).chunk(2, dim=-1)
    D = distortion(x, model.decode(sample(mean, log_variance, epsilon[0])))
    noise = torch.zeros_like(D)
    if len(some):
        second = distortion(x[some], model.decode(sample(mean[some], log_variance[some], epsilon[1][some])))
        noise[some] = 0.5 * (D[some] - second) * (1.0 if every == 1 else (2.0 * every) ** 0.5)
        D[some] = 0.5 * (D[some] + second)
    return D, noise


def _sobol(latent: int, count: int, key: int) -> Tensor:
    """(count, latent) scrambled Sobol points in [0, 1)."""
    return torch.quasirandom.SobolEngine(latent, scramble=True, seed=key).draw(count)


def _rotated(points: Tensor, number: Tensor, *, like: Tensor, key: int) -> Tensor:
    """(count, N, latent) standard normal draws for `like` (N, latent): points (count, latent), shifted at random per example.

    Each draw is exactly normal and examples are independent; over its draws an example's loss has 0.56 times
    the variance of independent ones (32 antithetic pairs, MNIST; orthogonal frames did the same for more time).
    """
    shift = uniform_of(number, like.shape[1], key=key, dtype=like.dtype)
    return to_normal((points.to(like)[:, None] + shift).frac_())


def _antithetic(mean: Tensor, log_variance: Tensor, half: Tensor) -> Tensor:
    """`sample` with the noise `half` (count, N, latent), which is overwritten, and with its negative: (2 count, N, latent)."""
    half.mul_((0.5 * log_variance).exp())
    return torch.cat([mean + half, mean - half])


def bin_of(number: Tensor, bins: int, purpose: str) -> Tensor:
    """One of so many bins for each example, at random by its number, (N,)."""
    return (uniform_of(number, 1, key=derived_seed(purpose), dtype=torch.float64)[:, 0] * bins).long()
