"""Runs of one method in a folder of its own, from the common start; each goes on where it stopped."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.benchmark.methods import ConstrainedPath, EnvelopeGrid, Grid, Heuristic, TrainOnce, WarmGrid, box_of, over
from analysis.benchmark.points import Curve, PointByPoint, lams
from analysis.benchmark.registry import Method, method_of
from analysis.benchmark.settings import Settings, configured
from rayfe.config import RunConfig, Start, require
from rayfe.exceptions import WalkFailed
from rayfe.records import Commit, Kind, Point, StepRecord
from rayfe.records.backend import Backend
from rayfe.storage.manifest import stored_manifest
from rayfe.storage.store import Store
from rayfe.surface.stencil import neighbours
from rayfe.trajectory import driver
from rayfe.trajectory.trajectory import Trajectory

__all__ = ["Bench", "Here", "OnRow", "WalkFailed", "here", "plain", "run_method"]

PATHS: dict[str, type[PointByPoint]] = {"warm-grid": WarmGrid, "heuristic": Heuristic}
"""Classes by family; others that train along lam are constrained paths."""
GRIDS: dict[str, type[Grid]] = {"grid": Grid, "envelope": EnvelopeGrid}
"""Classes of families of models from scratch."""
THIRD = 3
"""The envelope has models from scratch at every third lam."""
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


@dataclass(frozen=True, kw_only=True)
class Here:
    """One start, and where runs from it go."""

    base: RunConfig
    folder: Path
    """Of the start and of all runs from it, a folder each."""
    begin: CommonStart
    bench: Bench


def here(base: RunConfig, folder: str | Path, bench: Bench, on_row: OnRow) -> Here:
    """Train the start in `folder`/start as a walk does, or read it if it is there."""
    store = Store(Path(folder) / "start")
    describe(store, {"method": "start"}, base, bench)
    ((name, start),) = base.trajectories().items()
    trajectory = driver.open_trajectory(base, start, store)
    if not trajectory.accepted:
        on_row(driver.advance(trajectory, bench.make(base), store))
    begin = CommonStart(store=store, row=trajectory.accepted[0])
    return Here(base=base, folder=Path(folder), begin=begin, bench=bench)


def run_method(
    here: Here, settings: Settings, name: str, *, budget: float = 1.0, limit: float = math.inf, on_row: OnRow = lambda row: None
) -> None:
    """Run one method in the folder `name` to its end, or until each of its trajectories has used `limit` examples after the start."""
    method, settings = method_of(settings.method), settings.scaled(budget)
    config, bench, store = configured(here.base, settings), here.bench, Store(here.folder / name)
    describe(store, {"method": settings.method, "budget": budget, "settings": plain(settings)}, config, bench)
    starts = points_of(config, method)
    backend: Backend | None = None
    gamma = starts[0].gamma
    for start in starts:
        trajectory = open_point(config, settings, here.begin, store, start, gamma)
        while trajectory.finished is None and trajectory.rows[-1].examples - trajectory.rows[0].examples < limit:
            backend = backend or bench.make(config)
            on_row(driver.advance(trajectory, backend, store))
        gamma = trajectory.accepted[-1].gamma


LEAST_BUDGET = 0.1
"""Budget below which no run is worth its readings."""


def budget_for(examples: float, rows: pd.DataFrame, base: RunConfig, settings: Settings, budget: float) -> float | None:
    """The budget with which a method uses about so many `examples` in all, to two digits, from its `rows` at another `budget`: readings,
    settles, renewals and leaps cost the same at any. None: there would be no training to speak of.

    A walk trains a point together with its neighbours; what settles by a stencil of its own trains all of that once more.
    """
    steps, config = rows[rows["kind"] == Kind.STEP], configured(base, settings)
    method = method_of(settings.method)
    stencils = 0 if method.from_scratch else int((steps["response_age"] == 0).sum())
    models = len(steps) if method.family in GRIDS or not method.from_scratch else 1
    more = len(neighbours(Point(lam=1.0, gamma=1.0), config.asked.stencil, config.neighbours)) - (1 if method.walks else 0)
    trained = (models + more * stencils) * settings.scaled(budget).epochs * rows["read_size"].max()
    found = float(f"{budget * (1.0 + (examples - total_examples(rows, settings)) / trained):.2g}")
    return found if found >= LEAST_BUDGET else None


def total_examples(rows: pd.DataFrame, settings: Settings) -> float:
    """Examples of a run in all; the start is part of what needs one."""
    ends = rows.groupby("trajectory")["examples"].agg(["min", "max"])
    return float((ends["max"] - (ends["min"] if method_of(settings.method).from_scratch else 0.0)).sum())


def points_of(config: RunConfig, method: Method) -> list[Start]:
    """Starts of a method's trajectories: one, or from scratch one per lam."""
    (start,) = config.trajectories().values()
    if method.family not in GRIDS:
        return [start]
    every = lams(config, start)
    chosen = every[::-1][::THIRD][::-1] if method.family == "envelope" else every
    return [Start(lam=float(lam), gamma=start.gamma, seed=start.seed) for lam in chosen]


def open_point(
    config: RunConfig, settings: Settings, begin: CommonStart, store: Store, start: Start, gamma: float
) -> Trajectory:
    """A trajectory as far as its rows go; the common start is its step 0. A model from scratch is first tried at `gamma`, that of the
    lam before."""
    begin.begin(store, start.name)
    method = method_of(settings.method)
    if method.walks:
        return driver.open_trajectory(config, start, store)
    rows = store.recover(start.name)
    accepted = [row for row in rows if row.accepted][-1]
    state, carry = store.state(accepted), store.carry(accepted)
    course: Curve
    if method.family in GRIDS:
        course = GRIDS[method.family](settings=settings, guess=gamma)
    elif method.family == "conditioned":
        box = box_of(config, start)
        course = TrainOnce(settings=settings, becomes=over(box), gammas=box.gamma)
    else:
        course = PATHS.get(method.family, ConstrainedPath)(settings=settings)
    return Trajectory(config, start, rows, state=state, carry=carry, course=course)


def plain(settings: Settings) -> dict[str, object]:
    """Settings as JSON holds them; without `settling` where nothing is said of it."""
    return {name: value for name, value in dataclasses.asdict(settings).items() if name != "settling" or value is not None}


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
