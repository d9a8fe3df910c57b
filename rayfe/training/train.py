"""The training loop of an equilibration: replicas at their points, one learning rate, common batches and noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from rayfe.config import EquilibrationConfig
from rayfe.data.device_path import DeviceExamples, DevicePath
from rayfe.data.randomness import derived_seed, generator
from rayfe.model.objective import Noise, draw_noise
from rayfe.records import Point, Reading, Split, Weights
from rayfe.training.replicas import Replicas
from rayfe.training.update import Descent

HEAD_DRAWS = 8
"""Draws of z per example through the classifier."""
FINITE_CHECK = 50
"""Updates between looks at whether the loss is finite."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """Examples and noise on which J is read during an equilibration, the same at every reading."""

    examples: DeviceExamples
    noise: Noise
    updates: frozenset[int]
    """Numbers of updates before which a reading is taken; the number of all updates: at the end."""
    names: tuple[str, ...]
    """Names of the replicas."""


def draw_probe(
    path: DevicePath, t: float, *, size: int, updates: frozenset[int], names: tuple[str, ...], latent: int, seed: int
) -> Probe:
    """A fixed part of p(x, t): the first draws of a path's batches, from random numbers that every step of a seed shares."""
    like = path.present(t)[0].examples(slice(0, 1), t).x
    n = min(size, len(path))
    examples = next(path.batches(t, n, updates=1, rng=generator(like.device, seed, "probe examples")))
    rng = generator(like.device, seed, "probe")
    noise = draw_noise(rng, n=n, latent=latent, decoder_draws=2, head_draws=8, dtype=like.dtype)
    return Probe(examples=examples, noise=noise, updates=updates, names=names)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    finite: bool
    preconditioner: Weights | None
    readings: tuple[Reading, ...]
    updates: int
    """Updates done; fewer than asked for if the loss became non-finite."""


class Keeper(Protocol):
    """Keeps the state of a long training, so that a later process can go on in the middle of it."""

    def load(self) -> dict[str, Any] | None:
        """The state that was kept last; None if the training begins."""

    def due(self, update: int, updates: int) -> bool:
        """Whether the state before `update` is to be kept."""

    def save(self, state: dict[str, Any]) -> None: ...


def train(
    replicas: Replicas,
    points: Sequence[Point],
    batches: Iterable[DeviceExamples],
    *,
    updates: int,
    learning_rate: Callable[[float], float],
    config: EquilibrationConfig,
    latent: int,
    noise: torch.Generator,
    preconditioner: Weights | None,
    probe: Probe,
    annealed: bool = False,
    keeper: Keeper | None = None,
    watch: Callable[[int, Sequence[Reading]], None] | None = None,
) -> Trained:
    """Minimise J = R + lam D + gamma C of every replica over `batches`, of which there are `updates`.

    `learning_rate(u)` is the rate at u = (update + 1/2) / updates. Unless it ends at 0 (`annealed`, a long training),
    schedule `average` makes the mean of the late iterates the result. `preconditioner` is what the last training left.

    Stochastic layers draw from the seed of `noise` and the number of the update, without advancing `noise`. With what
    `keeper` has kept the training goes on there, and ends with the same bytes. `watch` hears of every update.
    """
    readings = read_probe(replicas, points, probe, update=0) if 0 in probe.updates else []
    descent = Descent(replicas, points, config, preconditioner, updates=updates, annealed=annealed)
    kept = keeper.load() if keeper else None
    begin, readings = _restore(kept, descent, noise) if kept else (0, readings)
    for update, batch in enumerate(batches):
        if update < begin:
            continue
        if keeper and update > begin and keeper.due(update, updates):
            keeper.save(_state(update, descent, noise, readings))
        if update > 0 and update in probe.updates:
            descent.write_back()
            readings += read_probe(replicas, points, probe, update=update)
        if watch:
            watch(update, readings)
        set_rate(descent.optimizer, learning_rate((update + 0.5) / updates))
        draws = _draws(noise, len(batch), latent, batch.x.dtype)
        total = descent.update(update, batch, draws, seed=derived_seed(noise.initial_seed(), "masks", update))
        if update % FINITE_CHECK == 0 and not torch.isfinite(total):
            return Trained(finite=False, preconditioner=None, readings=tuple(readings), updates=update)
    left = descent.finish()
    last = read_probe(replicas, points, probe, update=updates)
    finite = all(torch.isfinite(torch.tensor(reading.F)) for reading in last)
    return Trained(finite=finite, preconditioner=left, readings=(*readings, *last), updates=updates)


def _draws(noise: torch.Generator, n: int, latent: int, dtype: torch.dtype) -> Noise:
    return draw_noise(noise, n=n, latent=latent, decoder_draws=1, head_draws=HEAD_DRAWS, dtype=dtype)


def _state(update: int, descent: Descent, noise: torch.Generator, readings: list[Reading]) -> dict[str, Any]:
    """Everything that the rest of a training depends on, as tensors and plain values."""
    return {
        "update": update,
        "noise": noise.get_state(),
        "readings": [dataclasses.asdict(reading) | {"split": str(reading.split)} for reading in readings],
        **descent.state(),
    }


def _restore(state: dict[str, Any], descent: Descent, noise: torch.Generator) -> tuple[int, list[Reading]]:
    """The opposite of `_state`: sets weights, optimizer and noise; returns the next update and the readings."""
    descent.restore(state)
    noise.set_state(state["noise"].cpu())
    readings = [
        Reading(**{**fields, "split": Split(fields["split"]), "point": Point(**fields["point"])})
        for fields in state["readings"]
    ]
    return state["update"], readings


@torch.no_grad()
def read_probe(replicas: Replicas, points: Sequence[Point], probe: Probe, *, update: int) -> list[Reading]:
    """R, D, C of every replica on the probe in training mode: batch-norm statistics of the probe itself, dropout on.

    What dropout draws is the same at every reading, like the noise.
    """
    functionals = replicas.functionals(probe.examples.x, probe.examples.y, probe.noise)
    means = [torch.stack([one.mean() for one in value.double()]) for value in functionals]
    errors = [value.double().std(-1) / len(probe.examples) ** 0.5 for value in functionals[:3]]
    found = torch.stack([*means, *errors], dim=-1).tolist()
    return [
        Reading(
            replica=name,
            split=Split.PROBE,
            point=point,
            update=update,
            R=R,
            D=D,
            C=C,
            accuracy=accuracy,
            R_se=R_se,
            D_se=D_se,
            C_se=C_se,
        )
        for name, point, (R, D, C, accuracy, R_se, D_se, C_se) in zip(probe.names, points, found, strict=True)
    ]


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
