"""Cost of looking at runs of many trajectories: CPU seconds and memory of `report` and `status`, of this build and of another.

    python analysis/looking.py --trajectories 10 100 400 [--against FOLDER]

FOLDER holds another checkout. Both builds look at the same run, in turn. The run has the first rows of analysis/results/mnist-walk,
under as many names.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rayfe.records import StepRecord
from rayfe.storage.parquet import encode
from rayfe.storage.store import Store

HERE = Path(__file__).resolve().parents[1]
SOURCE = HERE / "analysis" / "results" / "mnist-walk"


def make(count: int, to: Path, *, steps: int) -> None:
    """A run of `count` trajectories with the first `steps` accepted steps after the start, each slightly another."""
    source, store = Store(SOURCE), Store(to)
    (name, *_) = source.trajectories()
    run, rows = source.read_config(), [row for row in source.rows(name) if row.step <= steps]
    gammas = [rows[0].gamma * (1 + i / 1000) for i in range(count)]
    own = {"gamma": gammas, "lam": [rows[0].lam], "seed": [rows[0].seed], "steps": steps}
    store.create(run | {"config": run["config"] | own})
    for gamma in gammas:
        part, trajectory = gamma / gammas[0], f"lam{rows[0].lam:.15g}-gamma{gamma:.15g}-seed{rows[0].seed}"
        moved = [dataclasses.replace(row, trajectory=trajectory, gamma=row.gamma * part) for row in rows]
        (to / "steps").mkdir(exist_ok=True)
        (to / "steps" / f"{trajectory}.parquet").write_bytes(encode(moved, StepRecord))


def cost(build: Path, *words: str) -> tuple[float, float]:
    """CPU seconds and MB of `python -m rayfe WORDS` by a checkout."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rayfe", *words],
        cwd=build,
        env=os.environ | {"PYTHONPATH": str(build)},
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(words)} of {build} failed")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trajectories", type=int, nargs="+", default=[10, 100, 400])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--against", type=Path, help="another checkout")
    chosen = parser.parse_args()
    builds = {"this": HERE} | ({"other": chosen.against.resolve()} if chosen.against else {})
    print("| trajectories | build | report, CPU s | MB | status, CPU s | MB |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for count in chosen.trajectories:
            run, page = str(Path(folder, str(count))), str(Path(folder, "page.html"))
            make(count, Path(run), steps=chosen.steps)
            for name, build in builds.items():
                costs = [*cost(build, "report", run, "--to", page), *cost(build, "status", run)]
                print(f"| {count} | {name} | {costs[0]:.1f} | {costs[1]:.0f} | {costs[2]:.1f} | {costs[3]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
