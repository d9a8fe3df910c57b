"""Trainings in slots are those that `train` does alone, whatever company they have."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
import torch

from rayfe.config import EquilibrationConfig, ModelConfig
from rayfe.data.device_path import DeviceExamples, DevicePath, Mixture, Still
from rayfe.data.randomness import Counted, derived_seed, generator
from rayfe.model.objective import noise_of
from rayfe.model.protocol import build
from rayfe.model.weights import weights_of
from rayfe.records import Point, Weights
from rayfe.training.fleet import Fleet
from rayfe.training.fleet_slots import BLOCK, Job
from rayfe.training.replicas import Stacked
from rayfe.training.train import CountedNoise, Probe, Trained, Training, train

BATCH, LATENT, CPU = 16, 3, torch.device("cpu")
SHAPES = {"mlp": (20,), "resnet": (1, 8, 8)}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A training by what makes it another one."""

    seed: int
    updates: int = 50
    rate: float = 3e-3
    annealed: bool = False
    replicas: int = 2
    carried: Weights | None = None
    stop: int | None = None
    """Update at which the rate becomes infinite."""


def examples(name: str, dtype: torch.dtype) -> DeviceExamples:
    rng = generator("cpu", "examples", name)
    return DeviceExamples(x=torch.rand(70, *SHAPES[name], generator=rng, dtype=dtype), y=torch.randint(3, (70,), generator=rng))


def path_of(name: str, dtype: torch.dtype, *, mixture: bool = False) -> DevicePath:
    whole = examples(name, dtype)
    return Mixture(whole.take(slice(0, 50)), whole.take(slice(50, 70))) if mixture else Still(whole)


def training_of(asked: Asked, name: str, dtype: torch.dtype, config: EquilibrationConfig) -> Training:
    model = (
        ModelConfig(name=name, hidden=8, width=2, latent=LATENT) if name == "resnet" else ModelConfig(hidden=8, latent=LATENT)
    )
    models = [build(model, input_shape=SHAPES[name], classes=3, seed=asked.seed).to(dtype) for _ in range(asked.replicas)]
    data = examples(name, dtype)
    noise = noise_of(data.number, key=1, latent=LATENT, decoder_draws=2, head_draws=4, dtype=dtype)
    names = tuple(map(str, range(asked.replicas)))
    return Training(
        replicas=Stacked(models),
        points=[Point(lam=0.5 + 0.1 * asked.seed, gamma=4.0 + i) for i in range(asked.replicas)],
        updates=asked.updates,
        learning_rate=lambda u: np.inf if asked.stop is not None and u * asked.updates > asked.stop else asked.rate * (1.1 - u),
        config=config,
        preconditioner=asked.carried,
        probe=Probe(examples=data, noise=noise, updates=frozenset({0, 7}), names=names),
        annealed=asked.annealed,
    )


class Kind:
    """What the trainings of a fleet have in common."""

    def __init__(
        self, name: str, dtype: torch.dtype, optimizer: Literal["adam", "soap"], *, mixture: bool = False, slots: int = 4
    ) -> None:
        self.name, self.dtype = name, dtype
        self.config = EquilibrationConfig(optimizer=optimizer, schedule="average", batch=BATCH)
        self.path, self.slots = path_of(name, dtype, mixture=mixture), slots

    def job(self, asked: Asked) -> Job:
        order, noise = (derived_seed(asked.seed, what) for what in ("order", "noise"))
        training = training_of(asked, self.name, self.dtype, self.config)
        return Job(training=training, t=0.1 * asked.seed, batch=BATCH, latent=LATENT, order=order, noise=noise)

    def alone(self, asked: Asked) -> tuple[Trained, tuple[Weights, ...]]:
        job = self.job(asked)
        batches = self.path.batches(job.t, BATCH, updates=asked.updates, rng=Counted(torch.tensor(job.order)))
        trained = train(job.training, batches, CountedNoise(job.noise, LATENT, CPU))
        return trained, job.training.replicas.weights()

    def together(self, *waves: Sequence[Asked]) -> list[tuple[Trained, tuple[Weights, ...]]]:
        """Each wave begins a block after the one before."""
        fleet, jobs = Fleet(self.slots, self.path), [[self.job(asked) for asked in wave] for wave in waves]
        futures: list[Future[Trained]] = []
        for wave in jobs:
            for job in wave:
                futures.append(Future())
                fleet._waiting.append((job, futures[-1]))
            fleet._block()
        while fleet._busy or fleet._waiting:
            fleet._block()
        return [
            (future.result(), job.training.replicas.weights())
            for future, job in zip(futures, [job for wave in jobs for job in wave], strict=True)
        ]


def check_equal(found: tuple[Trained, tuple[Weights, ...]], wanted: tuple[Trained, tuple[Weights, ...]], within: float) -> None:
    (one, weights), (other, truth) = found, wanted
    assert (one.finite, one.updates, len(one.readings)) == (other.finite, other.updates, len(other.readings))
    assert [reading.F for reading in one.readings] == pytest.approx([reading.F for reading in other.readings], rel=within)
    for a, b in zip(weights, truth, strict=True):
        for name, value in b.items():
            np.testing.assert_allclose(a[name], value, rtol=0, atol=within * (1.0 + np.abs(value).max()), err_msg=name)
    if other.preconditioner is not None:
        assert one.preconditioner is not None
        assert one.preconditioner.keys() == other.preconditioner.keys()
        for name, value in other.preconditioner.items():
            if name.startswith("ahead"):
                np.testing.assert_allclose(one.preconditioner[name], value, rtol=0, atol=within, err_msg=name)


@pytest.mark.parametrize(
    "name, optimizer, dtype, within",
    [
        ("mlp", "soap", torch.float64, 1e-8),
        ("mlp", "adam", torch.float64, 1e-8),
        ("mlp", "adam", torch.float32, 1e-5),
        ("resnet", "soap", torch.float64, 1e-8),
    ],
)
def test_each_training_is_the_one_that_is_done_alone(name: str, optimizer: Any, dtype: torch.dtype, within: float) -> None:
    """Three of four slots, which begin at different times, end within blocks, and differ in all that trainings differ in."""
    kind = Kind(name, dtype, optimizer, mixture=name == "mlp")
    carried = kind.alone(Asked(seed=3, updates=12))[0].preconditioner
    asked = [Asked(seed=0), Asked(seed=1, updates=23, annealed=True, rate=1e-3), Asked(seed=2, updates=37, carried=carried)]
    found = kind.together(asked[:1], asked[1:2], asked[2:])
    for one, request in zip(found, asked, strict=True):
        check_equal(one, kind.alone(request), within)
