"""The training loop with a moving gamma: the pieces of `training.train`, the multiplier in the hands of a rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from analysis.benchmark.multipliers import MultiplierRule
from rayfe.config import EquilibrationConfig
from rayfe.data.device_path import DeviceExamples
from rayfe.data.randomness import derived_seed
from rayfe.model.objective import draw_noise
from rayfe.model.posterior import Widths
from rayfe.training.replicas import Replicas
from rayfe.training.train import FINITE_CHECK, HEAD_DRAWS, set_rate

LAST_LOOK = 0.6
"""Part of a training at which C is measured for the last time; later the schedule moves nothing much any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Looks:
    """Measurements of C in evaluation mode during a training."""

    count: int
    measure: Callable[[], float]

    def before(self, updates: int) -> frozenset[int]:
        """Numbers of the updates before which they are made."""
        return frozenset(round(updates * LAST_LOOK * (i + 1) / self.count) for i in range(self.count))


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    finite: bool
    ratio: float
    """C of a batch divided by C in evaluation mode, at the last look."""
    updates: int


def constrain(
    replicas: Replicas,
    optimizer: torch.optim.Optimizer,
    rule: MultiplierRule,
    batches: Iterable[DeviceExamples],
    *,
    rates: Sequence[float],
    weights: Sequence[float],
    config: EquilibrationConfig,
    latent: int,
    noise: torch.Generator,
    lam: float,
    C: float,
    ratio: float,
    decay: float,
    looks: Looks,
) -> Ended:
    """Minimise R + lam D subject to C = `C` in evaluation mode, an update for each of `rates`.

    `weights` are those of the multiplier's steps. A batch's own C is `ratio` times the one in
    evaluation mode; each look brings `ratio` up to date, with a moving average of the batches' C that decays by `decay` an
    update.
    """
    before = looks.before(len(rates))
    average: float | None = None
    for update, batch in enumerate(batches):
        set_rate(optimizer, rates[update])
        draws = draw_noise(
            noise,
            n=len(batch),
            widths=Widths(latent=latent),
            decoder_draws=1,
            head_draws=HEAD_DRAWS,
            dtype=batch.x.dtype,
        )
        masks = derived_seed(noise.initial_seed(), "masks", update)
        functionals = replicas.functionals(batch.x, batch.y, draws, seed=masks, predict=False)
        R, D, loss = functionals.R.mean(), functionals.D.mean(), functionals.C.mean()
        seen = float(loss.detach())
        if update % FINITE_CHECK == 0 and not math.isfinite(seen):
            return Ended(finite=False, ratio=ratio, updates=update)
        average = seen if average is None else decay * average + (1.0 - decay) * seen
        if update in before:
            ratio = average / looks.measure()
        rule.update(R + lam * D, loss, ratio * C, weight=weights[update])
    return Ended(finite=average is not None and math.isfinite(average), ratio=ratio, updates=len(rates))
