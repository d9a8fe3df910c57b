"""Reading R, D, C of trained models over all examples of p(x, t): sums over them, and errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rayfe.data.device_path import DevicePath, Stratum, Whole
from rayfe.model.posterior import information, is_random, widths_of
from rayfe.model.protocol import Representation
from rayfe.model.task import Task, task_of
from rayfe.records import Point, Reading, Split
from rayfe.training.drawing import Drawing, Effort
from rayfe.training.measure import Draws, Keys, bin_of, keys_of, pass_over
from rayfe.training.together import in_one_pass

NOISE_BLOCKS = 64
"""Blocks of examples, drawn by their numbers, over which the noise of the draws is kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Sums over the examples of p(x, t) for one model."""

    t: float
    key: Callable[[str], int]
    """Key of the draws by name of a stratum."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedReading(Wanted):
    """A reading of one model: whose, and where."""

    replica: str
    split: Split
    point: Point


def alike(path: DevicePath, t: float) -> tuple[Hashable, ...]:
    """What passes at two times have in common if the examples are the same: the path, the strata, and if these move the time."""
    present = path.present(t)
    still = all(isinstance(stratum, Whole) for stratum in present)
    return (id(path), *(stratum.name for stratum in present), *(() if still else (t,)))


@torch.no_grad()
def read_together(
    asked: Sequence[tuple[Representation, WantedReading]], path: DevicePath, *, drawing: Drawing, effort: Effort
) -> list[Reading]:
    """A reading on p(x, t) of each model as it is (statistics included). All have the same architecture, and their times the same
    examples.

    On the training split the images are the population: errors are those of the draws, of which R has none in closed form. So are those of
    the control split, on which C is held. On the validation split errors are those of the sample of images (which the
    noise of the draws is part of).
    """
    present = {
        row: torch.stack(_read_models(asked, stratum, _sums, drawing=drawing, effort=effort))
        for row, stratum in enumerate(path.strata)
        if stratum.share(asked[0][1].t) > 0
    }
    some = next(iter(present.values()))
    found = some.new_zeros(len(asked), len(path.strata), some.shape[-1])
    for row, models in present.items():
        found[:, row].copy_(models)
    return [
        _reading(parts, wanted, path, task_of(model), known(model))
        for parts, (model, wanted) in zip(found.cpu().numpy(), asked, strict=True)
    ]


@torch.no_grad()
def means_together(
    asked: Sequence[tuple[Representation, Wanted]], path: DevicePath, *, drawing: Drawing, effort: Effort
) -> list[list[float]]:
    """R, D and C of each model, as `read_together` has them, then each loss where these have prices, and nothing else."""
    strata = path.present(asked[0][1].t)
    found = [torch.stack(_read_models(asked, stratum, _means, drawing=drawing, effort=effort)) for stratum in strata]
    means: list[list[float]] = sum(found, torch.zeros_like(found[0])).tolist()
    return means


def _read_models(
    asked: Sequence[tuple[Representation, Wanted]],
    stratum: Stratum,
    sums: Callable[[Draws, Tensor, Tensor], Tensor],
    *,
    drawing: Drawing,
    effort: Effort,
) -> list[Tensor]:
    """sums(draws, weights, numbers) of the examples of a stratum for each model."""
    over, number = pass_over(stratum, asked[0][1].t, drawing=drawing, effort=effort), stratum.number
    own = [
        (
            keys_of(wanted.key(stratum.name), widths_of(model), drawing=drawing, effort=effort, device=number.device),
            stratum.weights(slice(None), wanted.t),
        )
        for model, wanted in asked
    ]

    def of(model: Representation, own: tuple[Keys, Tensor]) -> Tensor:
        return sums(over.draws(model, own[0]), own[1], number)

    return in_one_pass([model for model, _ in asked], of, own)


def _means(draws: Draws, weights: Tensor, number: Tensor) -> Tensor:
    values = torch.stack([value.double() @ weights for value in draws.mean[:3]])
    return values if draws.losses is None else torch.cat([values, _totals(draws.losses, weights)])


def _sums(draws: Draws, weights: Tensor, number: Tensor) -> Tensor:
    """R, D, C and the score, the squares of the first three's errors by the sample, and the noise by blocks; then each loss where these
    have prices, and its noise by blocks."""
    values = torch.stack(list(draws.mean)).double()
    mean = values @ weights
    squares = ((weights * (values[:3] - mean[:3, None] / weights.sum())) ** 2).sum(-1)
    noises = [one for one in (draws.D_noise, draws.C_noise, draws.R_noise) if one is not None]
    sums = [mean, squares, *(_blocks(one, weights, number) for one in noises)]
    if draws.losses is not None and draws.losses_noise is not None:
        sums += [_totals(draws.losses, weights), *(_blocks(one, weights, number) for one in draws.losses_noise.T)]
    return torch.cat(sums)


@torch.no_grad()
def known(model: Representation) -> float | None:
    """S of a model, nats; None: no weights are random."""
    return float(information(model)) if is_random(model) else None


def _totals(losses: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums over examples, (N, k) -> (k,); not by a product of matrices, which is rounded by its place in memory."""
    return (losses.double() * weights[:, None]).sum(0)


def of_task(task: Task, score: float) -> dict[str, Any]:
    """What a reading has of the task: its mean score, and the scale of a loss that may be negative."""
    return {task.scored: None if math.isnan(score) else score, "C_scale": 1.0 if task.signed else None}


def _reading(parts: np.ndarray, wanted: WantedReading, path: DevicePath, task: Task, S: float | None) -> Reading:
    """From the sums over each stratum, (strata, sums)."""
    prices = () if task.prices is None else tuple(task.prices.tolist())
    parts, several = np.split(parts, [parts.shape[1] - len(prices) * (1 + NOISE_BLOCKS)], axis=1)
    losses, loss_noise = np.split(several, [len(prices)], axis=1)
    loss_noise = loss_noise.reshape(len(parts), len(prices), NOISE_BLOCKS).swapaxes(0, 1).reshape(-1, len(parts) * NOISE_BLOCKS)
    noises = parts[:, 7:].reshape(len(parts), -1, NOISE_BLOCKS)
    D_noise, C_noise, R_noise = (noises[:, i : i + 1].ravel() for i in range(3))
    R, D, C, score = parts[:, :4].sum(0).tolist()
    of_draws = [float(np.linalg.norm(noise)) for noise in (R_noise, D_noise, C_noise)]
    of_sample = torch.from_numpy(parts[:, 4:7].sum(0)).sqrt().tolist()
    errors = of_draws if wanted.split in (Split.TRAIN, Split.CONTROL) else of_sample
    return Reading(
        replica=wanted.replica,
        split=wanted.split,
        point=wanted.point,
        update=0,
        R=R,
        D=D,
        C=C,
        S=S,
        R_se=errors[0],
        D_se=errors[1],
        C_se=errors[2],
        D_noise=tuple(D_noise.tolist()),
        C_noise=tuple(C_noise.tolist()),
        R_noise=tuple(R_noise.tolist()),
        size=path.size(wanted.t),
        prices=prices,
        losses=tuple(losses.sum(0).tolist()),
        loss_noise=tuple(map(tuple, loss_noise.tolist())),
        **of_task(task, score),
    )


def _blocks(noise: Tensor, weights: Tensor, number: Tensor) -> Tensor:
    """What each of NOISE_BLOCKS blocks of examples adds to the noise of the mean over all."""
    bins = bin_of(number, NOISE_BLOCKS, "noise block")
    blocks = noise.new_zeros(NOISE_BLOCKS, dtype=torch.float64)
    # in one order, also on a GPU: index_add_ adds in any there
    return blocks.index_put_((bins,), noise.double() * weights, accumulate=True)
