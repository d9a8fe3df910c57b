"""Where the time of a walk's steps goes: training, measuring, settling, weights on disk, the rest."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rayfe import driver
from rayfe.backend.base import Backend
from rayfe.backend.inline import InlineBackend
from rayfe.config import RunConfig
from rayfe.data.datasets import load
from rayfe.data.paths import PathData
from rayfe.records import (
    Commit,
    Differentiated,
    DifferentiateRequest,
    Equilibrated,
    EquilibrateRequest,
    Measured,
    MeasureRequest,
    Settled,
    SettleRequest,
    StepRecord,
)
from rayfe.store import Store, load_rows

Answer = TypeVar("Answer")


class Timed(Backend):
    """A backend that notes how long each kind of request takes."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self.seconds = {"train": 0.0, "measure": 0.0, "settle": 0.0}

    def equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        return self._time("train", lambda: self._inner.equilibrate(request))

    def measure(self, request: MeasureRequest) -> Measured:
        return self._time("measure", lambda: self._inner.measure(request))

    def settle(self, request: SettleRequest) -> Settled:
        return self._time("settle", lambda: self._inner.settle(request))

    def differentiate(self, request: DifferentiateRequest) -> Differentiated:
        return self._time("measure", lambda: self._inner.differentiate(request))

    def _time(self, part: str, answer: Callable[[], Answer]) -> Answer:
        began = time.perf_counter()
        found = answer()
        self.seconds[part] += time.perf_counter() - began
        return found


class TimedStore(Store):
    """A store that notes how long its writing takes."""

    seconds = 0.0

    def commit(self, trajectory: str, commit: Commit) -> StepRecord:
        began = time.perf_counter()
        record = super().commit(trajectory, commit)
        self.seconds += time.perf_counter() - began
        return record


def time_walk(config: RunConfig) -> dict[str, float]:
    """Seconds by part over all steps after the start: train, measure, settle, disk, rest."""
    ((name, start),) = config.trajectories().items()
    backend = Timed(InlineBackend(config, load(config.data)))
    with tempfile.TemporaryDirectory() as folder:
        store = TimedStore(folder)
        trajectory = driver.open_trajectory(config, start, store)
        driver.advance(trajectory, backend, store)
        backend.seconds = dict.fromkeys(backend.seconds, 0.0)
        store.seconds, began = 0.0, time.perf_counter()
        while trajectory.finished is None:
            driver.advance(trajectory, backend, store)
        total = time.perf_counter() - began
    parts = backend.seconds | {"disk": store.seconds}
    return parts | {"rest": total - sum(parts.values())}


def ray_seconds(config: RunConfig) -> float:
    """Seconds of the same steps on an embedded Ray: a trial and an evaluator in processes of their own."""
    from rayfe.sweep import run_on_ray

    data = PathData(kind="still", source=load(config.data))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        failed = run_on_ray(config, data, str(path), "all", lambda row: None, lambda text: None)
        if failed:
            raise RuntimeError(f"the walk on Ray failed: {failed}")
        rows = load_rows(path)
    return float(rows["seconds"].max() - rows["seconds"].min())
