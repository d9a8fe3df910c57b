"""Runs of one method in a folder of its own, from the common start; each goes on where it stopped."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from analysis.benchmark.methods import ConstrainedPath, Grid, Heuristic, WarmGrid
from analysis.benchmark.points import PointByPoint, lams
from analysis.benchmark.settings import SCRATCH, WALKS, Settings, configured
from rayfe.config import RunConfig, Start, require
from rayfe.exceptions import WalkFailed
from rayfe.records import Commit, StepRecord
from rayfe.records.backend import Backend
from rayfe.storage.manifest import stored_manifest
from rayfe.storage.store import Store
from rayfe.trajectory import driver
from rayfe.trajectory.trajectory import Trajectory

__all__ = ["Bench", "CommonStart", "OnRow", "WalkFailed", "common_start", "plain", "run_method", "step_length"]

CLASSES: dict[str, type[PointByPoint]] = {"warm-grid": WarmGrid, "heuristic": Heuristic, "grid": Grid}
"""Classes by method; the others are constrained paths."""
OnRow = Callable[[StepRecord], None]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all runs of a benchmark share besides the start: their data."""

    make: Callable[[RunConfig], Backend]
    """A backend for a configuration."""
    manifest: Callable[[RunConfig], dict[str, Any]]
    """run.json of a run with that configuration, without the method."""


@dataclass(frozen=True, kw_only=True)
class CommonStart:
    """The trained start: its row, weights and what the first step needs."""

    store: Store
    row: StepRecord

    def begin(self, store: Store, trajectory: str) -> None:
        """Copy the start as step 0 of a trajectory that has no rows."""
        if store.recover(trajectory):
            return
        record = dataclasses.replace(self.row, trajectory=trajectory, state=None, state_sha256=None, carry_sha256=None)
        commit = Commit(record=record, readings=(), state=self.store.state(self.row), carry=self.store.carry(self.row))
        store.commit(trajectory, commit)


def common_start(base: RunConfig, folder: str, bench: Bench, on_row: OnRow) -> CommonStart:
    """Train the start as a walk does, or read it if it is there."""
    store = Store(folder)
    describe(store, {"method": "start"}, base, bench)
    ((name, start),) = base.trajectories().items()
    trajectory = driver.open_trajectory(base, start, store)
    if not trajectory.accepted:
        on_row(driver.advance(trajectory, bench.make(base), store))
    return CommonStart(store=store, row=trajectory.accepted[0])


def run_method(
    base: RunConfig,
    settings: Settings,
    begin: CommonStart,
    folder: str,
    bench: Bench,
    *,
    budget: float,
    limit: float | None,
    on_row: OnRow,
) -> float:
    """Run one method to its end, or until it has used `limit` training examples after the start; returns how many it used.

    Points that are independent of each other have equal parts of the limit.
    """
    settings = settings.scaled(budget)
    config = configured(base, settings)
    store = Store(folder)
    describe(store, {"method": settings.method, "budget": budget, "settings": plain(settings)}, config, bench)
    starts = points_of(config, settings)
    each = None if limit is None else limit / len(starts)
    backend: Backend | None = None
    used = 0.0
    for start in starts:
        trajectory = open_point(config, settings, begin, store, start)
        while within(trajectory, each):
            backend = backend or bench.make(config)
            on_row(driver.advance(trajectory, backend, store))
        used += used_examples(trajectory)
    return used


def within(trajectory: Trajectory, limit: float | None) -> bool:
    """Whether there is another step to take, and fewer examples were used than `limit`."""
    return trajectory.finished is None and (limit is None or used_examples(trajectory) < limit)


def used_examples(trajectory: Trajectory) -> float:
    """Training examples after the start."""
    return trajectory.rows[-1].examples - trajectory.rows[0].examples


def points_of(config: RunConfig, settings: Settings) -> list[Start]:
    """Starts of a method's trajectories: one, or from scratch one per lam."""
    (start,) = config.trajectories().values()
    if settings.method not in SCRATCH:
        return [start]
    return [Start(lam=float(lam), gamma=start.gamma, seed=start.seed) for lam in lams(config, start)]


def open_point(config: RunConfig, settings: Settings, begin: CommonStart, store: Store, start: Start) -> Trajectory:
    """A trajectory as far as its rows go; the common start is its step 0."""
    begin.begin(store, start.name)
    if settings.method in WALKS:
        return driver.open_trajectory(config, start, store)
    rows = store.recover(start.name)
    accepted = [row for row in rows if row.accepted][-1]
    state, carry = store.state(accepted), store.carry(accepted)
    course = CLASSES.get(settings.method, ConstrainedPath)(settings=settings)
    return Trajectory(config, start, rows, state=state, carry=carry, course=course)


def step_length(lam: float, lam_end: float, points: int) -> float:
    """The length of steps in log lam with which `points` of them lead from lam to lam_end."""
    return math.log(lam_end / lam) / points


def plain(settings: Settings) -> dict[str, object]:
    """Settings as JSON holds them."""
    return dataclasses.asdict(settings)


def describe(store: Store, method: Mapping[str, object], config: RunConfig, bench: Bench) -> None:
    """Write run.json, or see that the one that is there has the same in it.

    Raises:
        UsageError: the folder holds a run of another method, other settings, another configuration or other data.
    """
    if store.exists():
        stored = store.read_config()
        different = next((name for name, value in method.items() if stored.get(name) != value), None)
        require(different is None, "out", store.url(), f"holds a run of another {different}; use another ``out``")
    manifest = bench.manifest(config)
    if stored_manifest(store, manifest, config) is None:
        store.create({**manifest, **method})
