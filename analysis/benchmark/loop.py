"""FLOP/s of the training loop, and of a matrix product that does nothing else."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from dataclasses import dataclass
from typing import Literal

import torch
from torch.utils.flop_counter import FlopCounterMode

from rayfe.config import EquilibrationConfig, ModelConfig
from rayfe.data.device_path import DeviceExamples, Still
from rayfe.data.memory import peak_bytes
from rayfe.data.randomness import generator
from rayfe.model.objective import Noise, draw_noise
from rayfe.model.posterior import Widths
from rayfe.model.protocol import build
from rayfe.records import Point
from rayfe.training.replicas import Looped, Replicas, make_replicas
from rayfe.training.train import HEAD_DRAWS, DrawnNoise, Probe, Training, train

SIZE = 2048
"""Rows and columns of the matrices whose product is the peak."""
FEATURES, CLASSES, EXAMPLES = 784, 10, 20_000
CPU = torch.device("cpu")
Optimizer = Literal["adam", "soap"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """One training of `replicas` models, medians over repeats."""

    replicas: int
    batch: int
    optimizer: Optimizer
    compiled: bool
    seconds: float
    """Of one update."""
    flops: float
    """Floating-point operations of one update's matrix products, forward and backward; those of an optimizer are not in it."""

    @property
    def examples_per_second(self) -> float:
        """Training examples of all replicas."""
        return self.replicas * self.batch / self.seconds

    @property
    def flops_per_second(self) -> float:
        return self.flops / self.seconds


def gemm_peak(repeats: int) -> float:
    """FLOP/s of the fastest of some products of two square float32 matrices."""
    a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    out = torch.empty(SIZE, SIZE)
    torch.mm(a, b, out=out)
    best = float("inf")
    for _ in range(max(3, repeats)):
        began = time.perf_counter()
        torch.mm(a, b, out=out)
        best = min(best, time.perf_counter() - began)
    return 2.0 * SIZE**3 / best


def examples(n: int = EXAMPLES) -> Still:
    """Random images of MNIST's shape: what they show does not matter for the time."""
    rng = generator(CPU, "benchmark loop")
    x = torch.rand(n, FEATURES, generator=rng)
    return Still(DeviceExamples(x=x, y=torch.randint(CLASSES, (n,), generator=rng)))


def models(count: int, *, compiled: bool = False) -> Replicas:
    """Replicas of the model of the MNIST presets."""
    made = [build(ModelConfig(), input_shape=(FEATURES,), classes=CLASSES, seed=0) for _ in range(count)]
    return make_replicas(made, CPU, compiled=compiled)


def time_training(
    count: int, batch: int, *, updates: int, repeats: int, optimizer: Optimizer = "adam", compiled: bool = False
) -> Timed:
    """Time `updates` updates of `count` replicas as an equilibration does them, after a warm-up."""
    data, config = examples(), EquilibrationConfig(batch=batch, optimizer=optimizer)
    run_training(models(count, compiled=compiled), data, config, updates=5)
    times = []
    for _ in range(repeats):
        replicas = models(count, compiled=compiled)
        began = time.perf_counter()
        run_training(replicas, data, config, updates=updates)
        times.append((time.perf_counter() - began) / updates)
    seconds, flops = statistics.median(times), count * update_flops(batch)
    return Timed(replicas=count, batch=batch, optimizer=optimizer, compiled=compiled, seconds=seconds, flops=flops)


def training_bytes(count: int, batch: int, *, optimizer: Optimizer) -> int:
    """Peak memory that training `count` replicas adds to a process of its own which has torch and the images already."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_added_bytes, (count, batch, optimizer))


def _added_bytes(count: int, batch: int, optimizer: Optimizer) -> int:
    data, before = examples(), peak_bytes()
    run_training(models(count), data, EquilibrationConfig(batch=batch, optimizer=optimizer), updates=3)
    return peak_bytes() - before


def run_training(replicas: Replicas, data: Still, config: EquilibrationConfig, *, updates: int) -> None:
    """The training loop itself on a probe of two examples, so that it alone is timed."""
    points = [Point(lam=0.25, gamma=4.0 + i) for i in range(replicas.count)]
    training = Training(
        replicas=replicas,
        points=points,
        updates=updates,
        learning_rate=lambda u: 1e-3,
        config=config,
        preconditioner=None,
        probe=_probe(data, replicas.count),
    )
    batches = data.batches(0.0, config.batch, updates=updates, rng=generator(CPU, "order"))
    train(training, batches, DrawnNoise(generator(CPU, "noise"), Widths(latent=ModelConfig().latent)))


def _probe(data: Still, count: int) -> Probe:
    two = data.strata[0].examples(slice(0, 2), 0.0)
    noise = _noise(2, config=EquilibrationConfig())
    return Probe(examples=two, noise=noise, updates=frozenset(), names=tuple(str(i) for i in range(count)))


def _noise(n: int, *, config: EquilibrationConfig) -> Noise:
    return draw_noise(
        generator(CPU, "noise"),
        n=n,
        widths=Widths(latent=ModelConfig().latent),
        decoder_draws=1,
        head_draws=HEAD_DRAWS,
        dtype=torch.float32,
    )


def update_flops(batch: int) -> float:
    """Floating-point operations of one model's matrix products in one update."""
    replicas, data = models(1), examples(batch)
    assert isinstance(replicas, Looped)
    part = data.strata[0].examples(slice(0, batch), 0.0)
    noise = _noise(batch, config=EquilibrationConfig())
    with FlopCounterMode(display=False) as counter:
        R, D, C, _ = replicas.functionals(part.x, part.y, noise)
        (R.mean() + 0.25 * D.mean() + 4.0 * C.mean()).backward()
    return float(counter.get_total_flops())
