"""Cost of looking at runs of many trajectories: CPU seconds and memory of `report` and `status`, of this build and of another.

    python analysis/looking.py --trajectories 10 100 400 [--against FOLDER]
    python analysis/looking.py --runs 20

FOLDER holds another checkout. Both builds look at the same run, in turn. The run has the first rows of analysis/results/mnist-walk,
under as many names. --runs: one page of as many runs, each with the 40 steps of a walk in analysis/results/mnist-leap.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rayfe.storage.store import Store

HERE = Path(__file__).resolve().parents[1]
RESULTS = HERE / "analysis" / "results"
STEPS = 40
"""Of each run on one page."""


def make(count: int, to: Path, *, steps: int, source: str = "mnist-walk") -> None:
    """A run of `count` trajectories with the first `steps` accepted steps of `source` after the start, each slightly another."""
    store, run = Store(to), Store(RESULTS / source).read_config()
    (stored, *_) = sorted((RESULTS / source / "steps").iterdir())
    rows = pq.read_table(stored, filters=pc.field("step") <= steps)
    lam, gamma, seed = (rows[name][0].as_py() for name in ("lam", "gamma", "seed"))
    gammas = [gamma * (1 + i / 1000) for i in range(count)]
    store.create(run | {"config": run["config"] | {"gamma": gammas, "lam": [lam], "seed": [seed], "steps": steps}})
    (to / "steps").mkdir()
    for own in gammas:
        trajectory = f"lam{lam:.15g}-gamma{own:.15g}-seed{seed}"
        states = [f"states/{trajectory}/{row['step']}.safetensors" if row["state"] else None for row in rows.to_pylist()]
        moved = _with(rows, trajectory=[trajectory] * len(rows), gamma=pc.multiply(rows["gamma"], own / gamma), state=states)
        pq.write_table(moved, to / "steps" / f"{trajectory}.parquet", write_page_checksum=True)


def _with(rows: pa.Table, **columns: Any) -> pa.Table:
    """The rows as their version stored them, with other values in some columns."""
    for name, values in columns.items():
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, rows.schema.field(at), pa.chunked_array([pa.array(values, rows.schema.field(at).type)]))
    return rows


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


def one_page(count: int, folder: Path) -> tuple[float, float]:
    """CPU seconds of `report` of `count` runs, without those of starting it, and MB of the page."""
    runs, page = [str(folder / f"run{i}") for i in range(count)], folder / "page.html"
    for run in runs:
        make(1, Path(run), steps=STEPS, source="mnist-leap")
    start, _ = cost(HERE, "report", "--help")
    return cost(HERE, "report", *runs, "--to", str(page))[0] - start, page.stat().st_size / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trajectories", type=int, nargs="+", default=[10, 100, 400])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--runs", type=int, help="one page of so many runs, and nothing else")
    chosen = parser.parse_args()
    if chosen.runs is not None:
        with tempfile.TemporaryDirectory() as folder:
            seconds, size = one_page(chosen.runs, Path(folder))
        print(f"{chosen.runs} runs of {STEPS} steps on one page: {seconds:.1f} CPU s after the start, {size:.1f} MB")
        return
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
