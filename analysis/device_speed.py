"""How fast the device of this machine trains trajectories together, as a Markdown table; ten minutes on a GPU.

python analysis/device_speed.py [--counts 1 4 16 64] [--updates 400] [--minutes 5]                                   # on a GPU
python analysis/device_speed.py --preset digits-smoke --counts 1 2 --updates 20 --minutes 0.2 --walk-count 2         # on a CPU

Each line has a process of its own, so that its memory is its own. `starts` trains so many first equilibria side by side, as an
evaluator does for as many trajectories. `walk` is a whole run with as many trajectories, for some minutes. `digits` is a short run
twice, without a GPU and with what there is: how far its rows are apart.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import tyro

from rayfe.config import RunConfig, Start, configure
from rayfe.config.presets import PRESETS

JOB = Path(__file__).parents[1] / "jobs" / "isoc.py"
GAMMAS = (2.0, 8.0)
"""Ends of the starts' gamma, which are in equal ratios."""
COLUMNS = ("what", "trajectories", "examples/s", "times one", "GiB", "GiB by check", "seconds", "note")
Line = dict[str, Any]
Way = Literal["never", "update"]


def main(
    preset: str = "mnist-walk",
    counts: tuple[int, ...] = (1, 4, 16, 64),
    updates: int = 400,
    ways: tuple[Way, ...] = ("never", "update"),
    minutes: float = 5.0,
    walk_count: int = 64,
) -> None:
    """`updates` of each start; `minutes` of the walk of `walk_count` trajectories."""
    print(f"{device_name()}, torch {metadata.version('torch')}, preset {preset}\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    one: float | None = None
    for line in lines(preset, counts, updates, ways, minutes, walk_count):
        rate = line.get("examples/s")
        one = one or rate
        if rate and one:
            line["times one"] = rate / one
        print(f"| {' | '.join(shown(line.get(name)) for name in COLUMNS)} |", flush=True)


def lines(
    preset: str, counts: tuple[int, ...], updates: int, ways: tuple[Way, ...], minutes: float, walk_count: int
) -> Iterator[Line]:
    """What is measured, one after the other; the first is a start alone."""
    for way in ways:
        for count in counts if way == ways[0] else counts[:1]:
            yield apart(starts, preset, count, updates, way)
    yield walk(preset, walk_count, minutes)
    yield digits()


def apart(measure: Callable[..., Line], *arguments: Any) -> Line:
    """What `measure` returns, in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as processes:
        return processes.submit(measure, *arguments).result()


def starts(preset: str, count: int, updates: int, way: Way) -> Line:
    """Train `count` first equilibria side by side, for so many updates after as many that are not timed."""
    from rayfe.backend.inline import InlineBackend
    from rayfe.data.paths import epoch_of, load_path
    from rayfe.records import Annealing, EquilibrateRequest, Point, Replica, StepKey

    config = configured(preset, count, compile=way)
    data = load_path(config)
    backend, meeting = InlineBackend(config, data), threading.Barrier(count)
    epochs = updates * config.equilibration.batch_of(annealed=True) / epoch_of(data, config)

    def train(start: Start) -> float:
        key = StepKey(trajectory=f"gamma{start.gamma:g}", seed=start.seed, step=0, attempt=0)
        new = Replica(name="centre", point=Point(lam=start.lam, gamma=start.gamma), weights=None)
        annealing = Annealing(epochs=max(epochs, config.equilibration.first_epochs), begin=0.0, end=epochs)
        examples = 0.0
        for _ in range(2):
            meeting.wait()
            began = time.perf_counter()
            examples = backend.answer(EquilibrateRequest(key=key, replicas=(new,), annealing=annealing)).examples
            meeting.wait()  # the slowest
            seconds.append(time.perf_counter() - began)
        return examples

    seconds: list[float] = []
    with ThreadPoolExecutor(count) as threads:
        examples = sum(threads.map(train, config.trajectories().values()))
    last = max(seconds[count:])
    used = {"GiB": memory(), "GiB by check": by_check(config, data)}
    return {"what": f"starts, compile {way}", "trajectories": count, "examples/s": examples / last, "seconds": last, **used}


def configured(preset: str, count: int, **equilibration: Any) -> RunConfig:
    """The preset with `count` starts, which are trained together."""
    gammas = spread(count)
    together = {} if count == 1 else {"trajectories_per_evaluator": count}
    return configure(PRESETS["isoc"][preset](), gamma=gammas, backend="inline", equilibration=equilibration, **together)


def spread(count: int) -> tuple[float, ...]:
    """So many values of gamma."""
    low, high = map(math.log, GAMMAS)
    return tuple(round(math.exp(low + (high - low) * (i + 0.5) / count), 4) for i in range(count))


def memory() -> float:
    """GiB that this process has used at most: of the GPU, or of the machine."""
    import torch

    from rayfe.data.memory import peak_bytes

    return (torch.cuda.max_memory_reserved() if torch.cuda.is_available() else peak_bytes()) / 2**30


def by_check(config: RunConfig, data: Any) -> float:
    """GiB that `python -m rayfe check` names."""
    from rayfe.run.memory import memory_of

    return memory_of(config, data).of(config.service.slots) / 2**30


def walk(preset: str, count: int, minutes: float) -> Line:
    """A run of `count` trajectories that start no further step after so many minutes."""
    together = () if count == 1 else ("--trajectories-per-evaluator", str(count))
    gammas = map(str, spread(count))
    budget = ("--time-budget", f"{60 * minutes:g}", "--certificate-share", "0")
    rows, seconds = carried_out(preset, "--gamma", *gammas, *budget, *together)
    examples = rows.groupby("trajectory")["examples"].max().sum()
    note = f"{rows['accepted'].sum()} accepted steps, {rows['trajectory'].nunique()} trajectories with rows"
    return {"what": "walk", "trajectories": count, "examples/s": examples / seconds, "seconds": seconds, "note": note}


def digits() -> Line:
    """digits-smoke without a GPU and with what there is."""
    short = ("digits-smoke", "--steps", "1", "--threads", "1", "--certificate-share", "0")
    (here, seconds), (there, _) = carried_out(*short), carried_out(*short, CUDA_VISIBLE_DEVICES="")
    apart_by = {name: float((here[name] / there[name] - 1.0).abs().max()) for name in ("R", "D", "C")}
    note = ", ".join(f"{name} {off:.1g}" for name, off in apart_by.items())
    return {"what": "digits, rows apart from a CPU's", "trajectories": 1, "seconds": seconds, "note": note}


def carried_out(*words: str, **environment: str) -> tuple[Any, float]:
    """The rows of a job of its own, and its seconds."""
    import rayfe

    with tempfile.TemporaryDirectory() as folder:
        out, began = f"{folder}/run", time.perf_counter()
        command = [sys.executable, str(JOB), *words, "--backend", "inline", "--out", out]
        subprocess.run(command, env=os.environ | environment, check=True, stdout=subprocess.DEVNULL)
        return rayfe.load_run(out), time.perf_counter() - began


def device_name() -> str:
    """The GPU, or the CPU where there is none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU ({platform.machine()})"


def shown(value: Any) -> str:
    """A cell of the table."""
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return "" if value is None else str(value)


if __name__ == "__main__":
    tyro.cli(main)
