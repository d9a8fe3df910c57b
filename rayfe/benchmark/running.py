"""Runs of one method in a folder of its own, from the common start; each goes on where it stopped."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rayfe import driver
from rayfe.backend.base import Backend
from rayfe.benchmark.methods import ConstrainedPath, Grid, Heuristic, WarmGrid
from rayfe.benchmark.points import PointByPoint
from rayfe.benchmark.settings import SCRATCH, WALKS, Settings, configured
from rayfe.config import RunConfig, Start, flat, require
from rayfe.records import Commit, StepRecord
from rayfe.store import Store
from rayfe.trajectory import Trajectory, WalkFailed
from rayfe.walk import Walk

__all__ = ["CommonStart", "MakeBackend", "OnRow", "WalkFailed", "common_start", "plain", "run_method", "step_length"]

CLASSES: dict[str, type[PointByPoint]] = {"warm-grid": WarmGrid, "heuristic": Heuristic} | dict.fromkeys(SCRATCH, Grid)
"""Classes by method; the others are constrained paths."""
OnRow = Callable[[StepRecord], None]
MakeBackend = Callable[[RunConfig], Backend]
"""A backend for a configuration; the data are the same for all."""


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


def common_start(base: RunConfig, folder: str, make: MakeBackend, on_row: OnRow) -> CommonStart:
    """Train the start as a walk does, or read it if it is there."""
    store = Store(folder)
    describe(store, {"method": "start", "config": portable(base)})
    ((name, start),) = base.trajectories().items()
    trajectory = driver.open_trajectory(base, start, store)
    if not trajectory.accepted:
        on_row(driver.advance(trajectory, make(base), store))
    return CommonStart(store=store, row=trajectory.accepted[0])


def run_method(
    base: RunConfig,
    settings: Settings,
    begin: CommonStart,
    folder: str,
    make: MakeBackend,
    *,
    budget: float,
    limit: float | None,
    on_row: OnRow,
) -> float:
    """Run one method to its end, or until it has used `limit` training examples after the start; returns how many it used."""
    settings = settings.scaled(budget)
    config = configured(base, settings, budget=budget)
    store = Store(folder)
    describe(store, {"method": settings.method, "budget": budget, "settings": plain(settings), "config": portable(config)})
    backend: Backend | None = None
    used = 0.0
    for trajectory in trajectories(config, settings, begin, store):
        first = trajectory.accepted[0].examples
        while trajectory.finished is None and (limit is None or used + trajectory_examples(trajectory) - first < limit):
            backend = backend or make(config)
            on_row(driver.advance(trajectory, backend, store))
        used += trajectory_examples(trajectory) - first
    return used


def step_length(lam: float, lam_end: float, points: int) -> float:
    """The length of steps in log lam with which `points` of them lead from lam to lam_end."""
    return math.log(lam_end / lam) / points


def trajectory_examples(trajectory: Trajectory) -> float:
    """Training examples so far, the start's included."""
    return trajectory.rows[-1].examples


def trajectories(config: RunConfig, settings: Settings, begin: CommonStart, store: Store) -> Iterator[Trajectory]:
    """The trajectories of a method, each with the common start as step 0: one, or one per lam from scratch."""
    ((name, start),) = config.trajectories().items()
    if settings.method in WALKS:
        begin.begin(store, name)
        rows = store.recover(name)
        accepted = [row for row in rows if row.accepted][-1]
        yield Walk(config, start, rows, state=store.state(accepted), carry=store.carry(accepted))
        return
    kind = CLASSES.get(settings.method, ConstrainedPath)
    starts = [start]
    if settings.method in SCRATCH:
        path = ConstrainedPath(config, start, [], state=None, carry={}, settings=settings)
        starts = [Start(lam=float(lam), gamma=start.gamma, seed=start.seed) for lam in path.lams]
    for one in starts:
        begin.begin(store, one.name)
        rows = store.recover(one.name)
        accepted = [row for row in rows if row.accepted][-1]
        state, carry = store.state(accepted), store.carry(accepted)
        yield kind(config, one, rows, state=state, carry=carry, settings=settings)


def plain(settings: Settings) -> dict[str, object]:
    """Settings as JSON holds them."""
    return dataclasses.asdict(settings)


def portable(config: RunConfig) -> dict[str, object]:
    """Fields of a configuration that define rows, as JSON holds them."""
    left_out = ("out", "data.root", "steps", "backend", "evaluators", "keep_states", "time_budget")
    return {name: list(v) if isinstance(v, tuple) else v for name, v in flat(config).items() if name not in left_out}


def describe(store: Store, manifest: dict[str, object]) -> None:
    """Write run.json; UsageError if the folder holds a run of other settings."""
    if not store.exists():
        store.create(manifest)
        return
    stored = store.read_config()
    different = next((name for name in manifest if stored.get(name) != manifest[name]), None)
    require(different is None, "out", store.url(), f"holds a run with another {different}; use another --out")
