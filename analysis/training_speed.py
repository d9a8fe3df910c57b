"""How fast training and reading are in the ways there are, as ratios of CPU seconds of interleaved pairs (docs/performance.md).

python analysis/training_speed.py [--batch 512] [--pairs 7] [--epochs 1] [--ways never always]

Each way trains the MNIST MLP of preset mnist-walk in a process of its own, on one thread, each training from where the last
ended. What is timed is a whole request: updates, readings of the probe, what the optimizer hands on.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import statistics
import time
from multiprocessing.connection import Connection
from typing import Any, Literal

import tyro

from rayfe.config import RunConfig, configure
from rayfe.config.presets import mnist_walk

PLAIN = "never, memory given back"
"""As before: the allocator gives large blocks back to the system after each update."""
WAYS: dict[str, Literal["never", "onednn", "update", "always"]] = {
    PLAIN: "never",
    "never": "never",
    "onednn": "onednn",
    "update": "update",
    "always": "always",
}


def configuration(way: str, *, batch: int, epochs: float) -> RunConfig:
    preset = mnist_walk()
    changed = dataclasses.replace(preset.equilibration, compile=WAYS[way], batch=batch, epochs=epochs)
    return configure(preset, threads=1, device="cpu", backend="inline", equilibration=changed)


def work(way: str, options: dict[str, Any], pipe: Connection) -> None:
    """Answers `train` and `read` with (CPU seconds, F)."""
    import rayfe.training.machine
    from rayfe.backend.inline import InlineBackend
    from rayfe.data.datasets import load
    from rayfe.records import EquilibrateRequest, MeasureRequest, Point, Replica, Split, StepKey

    if way == PLAIN:
        rayfe.training.machine.keep_pages = lambda: None
    config = configuration(way, **options)
    backend = InlineBackend(config, load(config.data))
    key = StepKey(trajectory="speed", seed=0, step=1, attempt=0)
    replica, left = Replica(name="centre", point=Point(lam=0.5, gamma=4.0), weights=None), None
    with rayfe.training.machine.products(onednn=config.equilibration.by_onednn):
        while (what := pipe.recv()) != "end":
            began = time.process_time()
            if what == "train":
                trained = backend.equilibrate(EquilibrateRequest(key=key, replicas=(replica,), preconditioner=left))
                replica, left = dataclasses.replace(replica, weights=trained.weights[0]), trained.preconditioner
                F = trained.readings[-1].F
            else:
                splits = (Split.TRAIN, Split.VALIDATION)
                request = MeasureRequest(key=key, replicas=(replica,), splits=splits, purpose="speed")
                F = backend.measure(request).readings[0].F
            pipe.send((time.process_time() - began, F))


def main(batch: int = 512, pairs: int = 7, epochs: float = 1.0, ways: tuple[str, ...] = tuple(WAYS)) -> None:
    """`ways` are compared with the first of them."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    for way in ways:
        pipes[way], other = context.Pipe()
        options = {"batch": batch, "epochs": epochs}
        context.Process(target=work, args=(way, options, other), daemon=True).start()

    def ask(way: str, what: str) -> tuple[float, float]:
        pipes[way].send(what)
        answer: tuple[float, float] = pipes[way].recv()
        return answer

    for what in ("train", "read"):
        first = {way: ask(way, what)[0] for way in ways}
        rounds = [{way: ask(way, what) for way in ways} for _ in range(pairs)]
        for way in ways:
            ratios = sorted(one[ways[0]][0] / one[way][0] for one in rounds)
            low, middle, high = ratios[0], statistics.median(ratios), ratios[-1]
            print(
                f"{what}, batch {batch}, {way}: {low:.2f} {middle:.2f} {high:.2f} times as fast, "
                f"the first took {first[way]:.1f} s, F {rounds[-1][way][1]:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    tyro.cli(main)
