"""R, D, C of each example in evaluation mode, by many draws of z."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rayfe.data.device_path import DeviceExamples, Stratum, chunks
from rayfe.data.randomness import derived_seed, normal_of, to_normal, uniform_of
from rayfe.model.likelihood import likelihood_of
from rayfe.model.marginal import Encoded, encoded
from rayfe.model.objective import PerExample, rate, sample, scored
from rayfe.model.posterior import Widths, drawn, widths_of
from rayfe.model.protocol import Representation
from rayfe.model.task import task_of
from rayfe.training.drawing import SECOND, Drawing, Effort

PREDICTION_DRAWS = 16
"""Draws of each half of the first set whose mean is the prediction (of all of them it would change little)."""


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


class Keys(NamedTuple):
    """The noise of a reading of one stratum; several models have all of them stacked."""

    heads: Tensor
    """(sets, count, columns) Sobol points of z and of units of the classifier, two sets for each of `Effort.draw_sets`."""
    shifts: tuple[int, ...]
    """Keys of their shifts."""
    decoders: tuple[int, ...]
    """Keys of the draws through the decoder."""
    encoders: tuple[int, ...]
    """Keys of the encoder's weights, one for each encoding; set number i of the others has number i. Empty: they are not random."""


def keys_of(key: int, widths: Widths, *, drawing: Drawing, effort: Effort, device: torch.device) -> Keys:
    """What `key`, of a seed and a stratum, determines for models that need so much noise."""
    sets = range(2 * effort.draw_sets)
    columns = widths.latent + widths.classifier
    points = [_sobol(columns, drawing.head_draws // 4, derived_seed(key, "head", i)) for i in sets]
    encodings = effort.encodings(drawing) if widths.encoder else 0
    return Keys(
        heads=torch.stack(points).to(device),
        shifts=tuple(derived_seed(key, "shift", i) for i in sets),
        decoders=tuple(derived_seed(key, "decoder", i) for i in range(effort.decoder_sets)),
        encoders=tuple(derived_seed(key, "encoder", i) for i in range(encodings)),
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
    keys = keys_of(key, widths_of(model), drawing=drawing, effort=effort, device=stratum.number.device)
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
    encodings = _encodings(model, x, number, keys)
    mean, several = encodings[0].mean, len(encodings)
    D, D_noise = mean.new_zeros(len(x)), mean.new_zeros(len(x))
    if effort.decode:
        for i, key in enumerate(keys.decoders):
            pair = encodings[2 * i % several], encodings[(2 * i + 1) % several]
            one, noise = _read_distortion(model, examples, pair, some, key=key, every=_every(over.drawing))
            D, D_noise = D + one / effort.decoder_sets, D_noise + noise / effort.decoder_sets
    task, C, predictions = task_of(model), [mean.new_zeros(len(x)), mean.new_zeros(len(x))], []
    gain = [mean.new_zeros(len(x)), mean.new_zeros(len(x))]
    k = 0 if task.prices is None else len(task.prices)
    losses = mean.new_zeros(2, len(x), k)
    for i, key in enumerate(keys.shifts):
        here = encodings[i % several]
        z, units = _antithetic(here.mean, here.log_variance, _rotated(keys.heads[i], number, like=mean, key=key))
        with drawn(model, "classifier", units):
            prediction = model.classify(z.flatten(0, 1)).view(*z.shape[:2], -1)
        if k:
            losses[i % 2] += task.losses(prediction, y).mean(0) / effort.draw_sets
        else:
            C[i % 2] += task.loss(prediction, y).mean(0) / effort.draw_sets
        if not here.marginal.closed:
            gain[i % 2] += here.marginal.gain(z).mean(0) / effort.draw_sets
        if i < 2:
            predictions.append(task.mean(prediction[:PREDICTION_DRAWS]))
    if k:
        C = [*losses.sum(-1)]
    score = scored(task, 0.5 * (predictions[0] + predictions[1]), y)
    R, R_noise = _rate(encodings, gain)
    return Draws(
        mean=PerExample(R=R, D=D, C=0.5 * (C[0] + C[1]), score=score),
        D_noise=D_noise,
        C_noise=0.5 * (C[0] - C[1]),
        R_noise=R_noise,
        losses=losses.mean(0) if k else None,
        losses_noise=0.5 * (losses[0] - losses[1]) if k else None,
    )


def _encodings(model: Representation, x: Tensor, number: Tensor, keys: Keys) -> list[Encoded]:
    """x encoded once, or by as many draws of the encoder's weights as there are keys."""
    if not keys.encoders:
        return [encoded(model, x)]
    found, width = [], widths_of(model).encoder
    for key in keys.encoders:
        with drawn(model, "encoder", normal_of(number, width, key=key, dtype=x.dtype)):
            found.append(encoded(model, x))
    return found


def _rate(encodings: Sequence[Encoded], gain: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """R of each example, the mean of two independent halves, and half their difference (None: there are no draws in it); `gain` is what
    the marginal gains by the draws of z of each half."""
    rates = [rate(*one.marginal.in_unit(one.mean, one.log_variance)) for one in encodings]
    closed = encodings[0].marginal.closed
    if len(rates) == 1:
        return (rates[0], None) if closed else (rates[0] - 0.5 * (gain[0] + gain[1]), 0.5 * (gain[1] - gain[0]))
    halves = [torch.stack(rates[half::2]).mean(0) - gain[half] for half in range(2)]
    return 0.5 * (halves[0] + halves[1]), 0.5 * (halves[0] - halves[1])


def _read_distortion(
    model: Representation, examples: DeviceExamples, encodings: Sequence[Encoded], some: Tensor, *, key: int, every: int
) -> tuple[Tensor, Tensor]:
    """D of each example, the mean of two draws for the rows `some`, one in `every`, and noise like that of D on those alone. The two
    draws have an encoding each.

    Half the difference of two draws has the variance of their mean; that of a single draw is twice as large, and those
    that have both speak for `every` examples.
    """
    x, latent, width = examples.x, encodings[0].mean.shape[1], widths_of(model).decoder
    noises = normal_of(examples.number, 2 * (latent + width), key=key, dtype=x.dtype).chunk(2, dim=-1)

    def distortion(draw: int, rows: slice | Tensor) -> Tensor:
        at, noise = encodings[draw], noises[draw][rows]
        with drawn(model, "decoder", noise[:, latent:]):
            x_hat = model.decode(sample(at.mean[rows], at.log_variance[rows], noise[:, :latent]))
        return likelihood_of(model)(x[rows], x_hat)

    D = distortion(0, slice(None))
    noise = torch.zeros_like(D)
    if len(some):
        second = distortion(1, some)
        noise[some] = 0.5 * (D[some] - second) * (1.0 if every == 1 else (2.0 * every) ** 0.5)
        D[some] = 0.5 * (D[some] + second)
    return D, noise


def _sobol(columns: int, count: int, key: int) -> Tensor:
    """(count, columns) scrambled Sobol points in [0, 1)."""
    return torch.quasirandom.SobolEngine(columns, scramble=True, seed=key).draw(count)


def _rotated(points: Tensor, number: Tensor, *, like: Tensor, key: int) -> Tensor:
    """(count, N, columns) standard normal draws of the type of `like` (N, ...): points (count, columns), shifted at random per example.

    Each draw is exactly normal and examples are independent; over its draws an example's loss has 0.56 times
    the variance of independent ones (32 antithetic pairs, MNIST; orthogonal frames did the same for more time).
    """
    shift = uniform_of(number, points.shape[1], key=key, dtype=like.dtype)
    return to_normal((points.to(like)[:, None] + shift).frac_())


def _antithetic(mean: Tensor, log_variance: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """`sample` with the noise `half` (count, N, latent + units), which is overwritten, and with its negative: z (2 count, N, latent), and
    the noise of random weights, a row for each z, (2 count N, units)."""
    latent = mean.shape[1]
    z, units = half[..., :latent].mul_((0.5 * log_variance).exp()), half[..., latent:]
    return torch.cat([mean + z, mean - z]), torch.cat([units, -units]).flatten(0, 1)


def bin_of(number: Tensor, bins: int, purpose: str) -> Tensor:
    """One of so many bins for each example, at random by its number, (N,)."""
    return (uniform_of(number, 1, key=derived_seed(purpose), dtype=torch.float64)[:, 0] * bins).long()
