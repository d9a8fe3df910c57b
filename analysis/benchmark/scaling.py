"""What a sweep does in a second: walks on an embedded Ray, by how many trajectories and how many evaluators there are."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rayfe.config import RunConfig
from rayfe.data.datasets import load
from rayfe.data.paths import PathData
from rayfe.on_ray.sweep import run_on_ray
from rayfe.records import StepRecord
from rayfe.storage.store import load_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """One sweep after its first row."""

    trajectories: int
    evaluators: int
    rows: int
    """Steps committed after the first one; starts are steps, too."""
    seconds: float
    """From the first row to the last, of all trajectories together."""

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds


def walk_on_ray(config: RunConfig) -> tuple[list[float], float]:
    """Walk every trajectory of `config`; returns when each row came (seconds on a clock of its own) and the seconds of work
    after the start that the longest trajectory took.

    Raises:
        RuntimeError: a trajectory failed.
    """
    data = PathData(kind="still", source=load(config.data))
    came: list[float] = []

    def note(row: StepRecord) -> None:
        came.append(time.monotonic())

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        if failed := run_on_ray(config, data, str(path), "all", note, lambda text: None):
            raise RuntimeError(f"a walk on Ray failed: {failed}")
        seconds = load_rows(path).groupby("trajectory")["seconds"]
        return came, float((seconds.max() - seconds.min()).max())


def measure_scaling(
    base: RunConfig, trajectories: Sequence[int], evaluators: Sequence[int], tell: Callable[[str], None]
) -> list[Sweep]:
    """Sweeps over seeds of one walk, by number of trajectories and of evaluators (one thread each)."""
    found: list[Sweep] = []
    for count in trajectories:
        for pool in evaluators:
            config = dataclasses.replace(base, seed=tuple(range(count)), evaluators=pool, backend="ray", threads=1)
            came, _ = walk_on_ray(config)
            sweep = Sweep(trajectories=count, evaluators=pool, rows=len(came) - 1, seconds=came[-1] - came[0])
            found.append(sweep)
            tell(f"{count} trajectories, {pool} evaluators: {sweep.rows_per_second:.3f} steps/s, {sweep.seconds:.0f} s")
    return found
