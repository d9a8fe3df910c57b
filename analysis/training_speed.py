"""How fast training and reading are in the ways there are, and where they end: ratios of CPU seconds of interleaved pairs.

    python analysis/training_speed.py [--against FOLDER] [--batch 512] [--pairs 7] [--epochs 1] [--ways always bf16] [--seeds 0 1 2]

FOLDER holds another checkout, whose plain loop is what the ways are compared with; without it that is the first way. Each way trains
the MNIST MLP with SOAP in a process of its own, on one thread, each training from where the last ended. What is timed is a whole
request: updates, readings of the probe, what the optimizer hands on. `peak` is the rate of one product of the model by oneDNN.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
WAYS = ("never", "onednn", "update", "always", "bf16")
BEFORE = "against"
LONG = 2.0
"""Epochs of the training that losses are compared after."""
PEAK = 100
"""Products that are timed."""


def answers(way: str, batch: int, epochs: float) -> None:
    """Answer the lines of standard input, each a JSON list of words, by a line of numbers; by whichever checkout is imported."""
    from rayfe import config
    from rayfe.backend.inline import InlineBackend
    from rayfe.data.datasets import load
    from rayfe.records import EquilibrateRequest, MeasureRequest, Point, Replica, Split, StepKey

    make: Any = getattr(config, "configure", config.RunConfig)

    def backend_for(epochs: float) -> Any:
        common: dict[str, Any] = {} if way == BEFORE else {"compile": way}
        equilibration = config.EquilibrationConfig(
            optimizer="soap", schedule="average", learning_rate=6e-3, batch=batch, epochs=epochs, **common
        )
        made = make(threads=1, backend="inline", equilibration=equilibration)
        return InlineBackend(made, load(made.data))

    def begun(seed: int) -> tuple[StepKey, Replica]:
        key = StepKey(trajectory="speed", seed=seed, step=1, attempt=0)
        return key, Replica(name="centre", point=Point(lam=0.5, gamma=4.0), weights=None)

    backend, long, left = backend_for(epochs), None, None
    key, replica = begun(0)
    for line in sys.stdin:
        what, *given = json.loads(line)
        before = time.process_time()
        if what == "train":
            trained = backend.answer(EquilibrateRequest(key=key, replicas=(replica,), preconditioner=left))
            replica, left = Replica(name="centre", point=replica.point, weights=trained.weights[0]), trained.preconditioner
        elif what == "read":
            backend.answer(
                MeasureRequest(key=key, replicas=(replica,), splits=(Split.TRAIN, Split.VALIDATION), purpose="speed")
            )
        seconds = time.process_time() - before
        found = [seconds]
        if what == "end":
            long = long or backend_for(LONG)
            of, start = begun(given[0])
            (weights,) = long.answer(EquilibrateRequest(key=of, replicas=(start,))).weights
            one = Replica(name="centre", point=start.point, weights=weights)
            reading = long.answer(MeasureRequest(key=of, replicas=(one,), splits=(Split.TRAIN,), purpose="speed")).readings[0]
            found = [reading.F, reading.C, reading.C_se]
        print(json.dumps(found), flush=True)


class Process:
    """A process that trains in one way, by the code of a checkout."""

    def __init__(self, way: str, build: Path, arguments: argparse.Namespace) -> None:
        words = [__file__, "--answers", way, "--batch", str(arguments.batch), "--epochs", str(arguments.epochs)]
        env = os.environ | {"PYTHONPATH": str(build), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, *words], cwd=build, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, *words: Any) -> list[float]:
        assert self._process.stdin and self._process.stdout
        print(json.dumps(words), file=self._process.stdin, flush=True)
        while not (line := self._process.stdout.readline()).startswith("["):
            if not line:
                raise RuntimeError("a process that trains has ended")
        found: list[float] = json.loads(line)
        return found


def peak(batch: int) -> float:
    """GFLOP/s of the product of a batch with the first matrix of the model by oneDNN, the best tenth; by this process's CPU seconds."""
    import torch

    from rayfe.training.machine import keep_pages, products

    torch.set_num_threads(1)
    keep_pages()
    x, weight, seconds = torch.rand(batch, 784), torch.rand(784, 256), []
    with products(onednn=True):
        for _ in range(PEAK):
            before = time.thread_time()
            x @ weight
            seconds.append(time.thread_time() - before)
    return 2e-9 * batch * weight.numel() / sorted(seconds)[PEAK // 10]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--what", nargs="+", choices=("train", "read"), default=("train", "read"))
    parser.add_argument("--seeds", type=int, nargs="*", default=[])
    parser.add_argument("--answers", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answers:
        return answers(arguments.answers, arguments.batch, arguments.epochs)
    builds = {BEFORE: arguments.against.resolve()} if arguments.against else {}
    processes = {
        way: Process(way, build, arguments) for way, build in {**builds, **dict.fromkeys(arguments.ways, HERE)}.items()
    }
    basis, *others = processes
    print(f"batch {arguments.batch}, against {basis}; a product of the model reaches {peak(arguments.batch):.0f} GFLOP/s")
    for what in arguments.what:
        first = {way: process.ask(what)[0] for way, process in processes.items()}
        rounds = [{way: process.ask(what)[0] for way, process in processes.items()} for _ in range(arguments.pairs)]
        for way in processes:
            ratios = sorted(one[basis] / one[way] for one in rounds)
            seconds = statistics.median(one[way] for one in rounds)
            shown = f"{ratios[0]:.2f} {statistics.median(ratios):.2f} {ratios[-1]:.2f}"
            print(f"{what:5} {way:8} {shown} times as fast, {seconds:.3f} s, the first {first[way]:.1f} s", flush=True)
    for seed in arguments.seeds:
        F, C, C_se = processes[basis].ask("end", seed)
        print(f"seed {seed} {basis}: F {F:.4f}, C {C:.5f} +- {C_se:.5f}")
        for way in others:
            own_F, own_C, _ = processes[way].ask("end", seed)
            print(f"seed {seed} {way}: F {100 * (own_F / F - 1):+.3f} %, C {100 * (own_C / C - 1):+.3f} %", flush=True)
    return None


if __name__ == "__main__":
    main()
