"""The training loop of an equilibration: replicas at their points, one learning rate, common batches and noise."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from rayfe.config import EquilibrationConfig
from rayfe.data.device_path import DeviceExamples, DevicePath
from rayfe.data.randomness import derived_seed, generator
from rayfe.model.objective import Noise, draw_noise, noise_of
from rayfe.model.posterior import Widths
from rayfe.records import Point, Reading, Split, Weights
from rayfe.training.reading import of_task
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
    path: DevicePath, t: float, *, size: int, updates: frozenset[int], names: tuple[str, ...], widths: Widths, seed: int
) -> Probe:
    """A fixed part of p(x, t): the first draws of a path's batches, from random numbers that every step of a seed shares."""
    like = path.present(t)[0].examples(slice(0, 1), t).x
    n = min(size, len(path))
    examples = next(path.batches(t, n, updates=1, rng=generator(like.device, seed, "probe examples")))
    rng = generator(like.device, seed, "probe")
    noise = draw_noise(rng, n=n, widths=widths, decoder_draws=2, head_draws=8, dtype=like.dtype)
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


class TrainingNoise(abc.ABC):
    """The noise of a training's updates, which are asked for in turn."""

    def __init__(self, seed: int, widths: Widths) -> None:
        self.seed, self.widths = seed, widths

    @abc.abstractmethod
    def __call__(self, update: int, n: int, dtype: torch.dtype) -> Noise:
        """That of n examples."""


class DrawnNoise(TrainingNoise):
    """From a generator of torch, which goes on from update to update. On GPUs of another model it draws other numbers."""

    def __init__(self, rng: torch.Generator, widths: Widths) -> None:
        super().__init__(rng.initial_seed(), widths)
        self._rng = rng

    def __call__(self, update: int, n: int, dtype: torch.dtype) -> Noise:
        return draw_noise(self._rng, n=n, widths=self.widths, decoder_draws=1, head_draws=HEAD_DRAWS, dtype=dtype)


class CountedNoise(TrainingNoise):
    """A function of the seed, the update and the place in its batch, the same on every device."""

    def __init__(self, seed: int, widths: Widths, device: torch.device) -> None:
        super().__init__(seed, widths)
        self._device = device

    def __call__(self, update: int, n: int, dtype: torch.dtype) -> Noise:
        updates = torch.full((), update, device=self._device)
        return noise_of_updates(updates, n, key=self.seed, widths=self.widths, dtype=dtype)


def noise_of_updates(updates: Tensor, n: int, *, key: int | Tensor, widths: Widths, dtype: torch.dtype) -> Noise:
    """Noise of n examples each for the numbers (...) int64 of updates, by one key or keys (...): (..., draws, n, columns)."""
    places = updates[..., None] * n + torch.arange(n, device=updates.device)
    return noise_of(places, key=key, widths=widths, decoder_draws=1, head_draws=HEAD_DRAWS, dtype=dtype)


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """What is to be done: minimise J = R + lam D + gamma C + sigma S of every replica by so many `updates`.

    `learning_rate(u)` is the rate at u = (update + 1/2) / updates. Unless it ends at 0 (`annealed`, a long training),
    schedule `average` makes the mean of the late iterates the result. `preconditioner` is what the last training left.
    `watch` hears of every update, or of some.
    """

    replicas: Replicas
    points: Sequence[Point]
    updates: int
    learning_rate: Callable[[float], float]
    config: EquilibrationConfig
    preconditioner: Weights | None
    probe: Probe
    annealed: bool = False
    watch: Callable[[int, Sequence[Reading]], None] | None = None


class Progress:
    """A training on its way: what happens between its updates, whoever does these."""

    def __init__(self, training: Training, *, lodged: bool = False) -> None:
        """`lodged`: as `Descent` has it."""
        self.training, self.update = training, 0
        """`update`: number of the next one, from 0."""
        self.readings: list[Reading] = []
        if 0 in training.probe.updates:
            self._read()
        self.descent = Descent(
            training.replicas,
            training.points,
            training.config,
            training.preconditioner,
            updates=training.updates,
            annealed=training.annealed,
            lodged=lodged,
        )

    def rate(self, update: int) -> float:
        """The learning rate of an update."""
        return self.training.learning_rate((update + 0.5) / self.training.updates)

    @property
    def pause(self) -> int:
        """Number of the next update before which there is something to do, or of all updates."""
        return min([update for update in self.training.probe.updates if update > self.update] + [self.training.updates])

    @property
    def done(self) -> bool:
        return self.update == self.training.updates

    def prepare(self) -> None:
        """What is due before the next update."""
        if self.update > 0 and self.update in self.training.probe.updates:
            self.descent.write_back()
            self._read()
        if self.training.watch:
            self.training.watch(self.update, self.readings)

    def diverged(self) -> Trained:
        """The end at an update whose J is not finite."""
        return Trained(finite=False, preconditioner=None, readings=tuple(self.readings), updates=self.update)

    def finish(self) -> Trained:
        """The end after the last update."""
        left, before = self.descent.finish(), len(self.readings)
        self._read()
        finite = all(torch.isfinite(torch.tensor(reading.F)) for reading in self.readings[before:])
        return Trained(finite=finite, preconditioner=left, readings=tuple(self.readings), updates=self.update)

    def _read(self) -> None:
        training = self.training
        self.readings += read_probe(training.replicas, training.points, training.probe, update=self.update)

    def state(self) -> dict[str, Any]:
        """Everything that the rest of a training depends on, as tensors and plain values."""
        readings = [dataclasses.asdict(reading) | {"split": str(reading.split)} for reading in self.readings]
        return {"update": self.update, "readings": readings, **self.descent.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what `state` returned."""
        self.descent.restore(state)
        self.update = state["update"]
        self.readings = [
            Reading(**{**fields, "split": Split(fields["split"]), "point": Point(**fields["point"])})
            for fields in state["readings"]
        ]


def train(
    training: Training, batches: Iterable[DeviceExamples], noise: TrainingNoise, *, keeper: Keeper | None = None
) -> Trained:
    """Train over `batches`, of which there are as many as updates.

    Stochastic layers draw from the seed of `noise` and the number of the update. With what `keeper` has kept the training goes
    on there, and ends with the same bytes.
    """
    progress = Progress(training)
    if kept := keeper.load() if keeper else None:
        progress.restore(kept)
    begin = progress.update
    for update, batch in enumerate(batches):
        draws = noise(update, len(batch), batch.x.dtype)
        if update < begin:
            continue
        progress.update = update
        if keeper and update > begin and keeper.due(update, training.updates):
            keeper.save(progress.state())
        progress.prepare()
        set_rate(progress.descent.optimizer, progress.rate(update))
        total = progress.descent.update(update, batch, draws, seed=derived_seed(noise.seed, "masks", update))
        if update % FINITE_CHECK == 0 and not torch.isfinite(total):
            return progress.diverged()
    progress.update = training.updates
    return progress.finish()


@torch.no_grad()
def read_probe(replicas: Replicas, points: Sequence[Point], probe: Probe, *, update: int) -> list[Reading]:
    """R, D, C of every replica on the probe in training mode: batch-norm statistics of the probe itself, dropout on.

    What dropout draws is the same at every reading, like the noise.
    """
    functionals = replicas.functionals(probe.examples.x, probe.examples.y, probe.noise)
    means = [torch.stack([one.mean() for one in value.double()]) for value in functionals]
    errors = [value.double().std(-1) / len(probe.examples) ** 0.5 for value in functionals[:3]]
    found = torch.stack([*means, *errors], dim=-1).tolist()
    information = replicas.information()
    known = [None] * len(found) if information is None else information.double().tolist()
    return [
        Reading(
            replica=name,
            split=Split.PROBE,
            point=point,
            update=update,
            R=R,
            D=D,
            C=C,
            S=S,
            R_se=R_se,
            D_se=D_se,
            C_se=C_se,
            **of_task(replicas.task, score),
        )
        for name, point, S, (R, D, C, score, R_se, D_se, C_se) in zip(probe.names, points, known, found, strict=True)
    ]


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
