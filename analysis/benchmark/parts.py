"""Where the time of a walk's steps goes: training, measuring, settling, weights on disk, the rest."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rayfe.backend.inline import InlineBackend
from rayfe.config import RunConfig
from rayfe.data.datasets import load
from rayfe.records import (
    Commit,
    DifferentiateRequest,
    EquilibrateRequest,
    MeasureRequest,
    Request,
    SettleRequest,
    StepRecord,
    TakeUpRequest,
)
from rayfe.records.backend import Backend, Relay
from rayfe.storage.store import Store
from rayfe.trajectory import driver

PARTS: Mapping[type, str] = MappingProxyType(
    {
        EquilibrateRequest: "train",
        MeasureRequest: "measure",
        SettleRequest: "settle",
        DifferentiateRequest: "measure",
        TakeUpRequest: "train",
    }
)
"""What answering a kind of request counts as."""


class TimedBackend(Relay):
    """A backend that notes how long each kind of request takes."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self.seconds = dict.fromkeys(PARTS.values(), 0.0)

    def answer(self, request: Request) -> Any:
        began = time.perf_counter()
        found = self._inner.answer(request)
        self.seconds[PARTS[type(request)]] += time.perf_counter() - began
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
    backend = TimedBackend(InlineBackend(config, load(config.data)))
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
