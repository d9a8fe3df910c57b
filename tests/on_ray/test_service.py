"""What the service costs: minutes each, by `make service`; figures are printed and stand in cluster/README.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import RunConfig, configure
from rayfe.records import StepRecord
from rayfe.records.backend import Backend
from rayfe.storage.store import Store
from rayfe.surface.closed_form import PowerSurface

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow]
HERE = Path(__file__).resolve().parent
SURFACE = PowerSurface(kappa=20.0, a=1 / 3, b=1 / 3)
SECONDS = 1.0
"""What an evaluation takes where utilisation is measured."""
SCRIPT = """
import sys, tempfile
import ray, test_service
ray.cloudpickle.register_pickle_by_value(test_service)
ray.init(address="local", num_cpus=int(sys.argv[2]), num_gpus=0, include_dashboard=False, log_to_driver=False,
    object_store_memory=80 << 20, _temp_dir=tempfile.mkdtemp(prefix="r", dir="/tmp"))
getattr(test_service, sys.argv[1])(*sys.argv[3:])
"""


def make_slow(config: RunConfig, data: object) -> Backend:
    return AnalyticBackend(SURFACE, delay=SECONDS)


def make_quick(config: RunConfig, data: object) -> Backend:
    return AnalyticBackend(SURFACE)


def in_its_own_ray(name: str, *words: object, cpus: int, seconds: float = 880) -> str:
    """Run a function of this module in a process with a Ray of `cpus` logical CPUs; returns what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment |= {
        "PYTHONPATH": f"{HERE.parents[1]}{os.pathsep}{HERE}",
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    command = [sys.executable, "-c", SCRIPT, name, str(cpus), *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    return done.stdout


def run(config: RunConfig, folder: str, make: Any, on_row: Any) -> dict[str, str]:
    from rayfe.on_ray.sweep import run_on_ray

    return run_on_ray(config, None, folder, "last", on_row, print, backend_factory=make)


def utilisation(folder: str) -> None:
    """16 evaluators, 32 trajectories: their work against what they could have done while all trajectories were walking."""
    config = configure(gamma=tuple(4.0 + 0.1 * i for i in range(32)), steps=60, evaluators=16, step_length=0.03)
    rows: list[tuple[float, str]] = []
    began = time.monotonic()
    assert run(config, folder, make_slow, lambda row: rows.append((time.monotonic(), row.trajectory))) == {}
    first = {name: min(at for at, who in rows if who == name) for name in config.trajectories()}
    last = {name: max(at for at, who in rows if who == name) for name in config.trajectories()}
    begin, end = max(first.values()), min(last.values())
    inside = sum(begin < at <= end for at, _ in rows)  # a row is one evaluation
    print(f"utilisation {inside * SECONDS / (16 * (end - begin)):.3f} over {end - begin:.0f} s while all were walking")
    whole = (len(rows) + 32) * SECONDS / (16 * (rows[-1][0] - began))  # step 0 has two
    print(f"{whole:.3f} of {rows[-1][0] - began:.0f} s, {begin - began:.0f} s of starting 48 processes included")


def test_evaluators_are_busy(tmp_path: Path) -> None:
    text = in_its_own_ray("utilisation", tmp_path, cpus=21)
    assert float(text.split("utilisation ")[1].split()[0]) >= 0.9


def thousand(folder: str, stop_after: str) -> None:
    config = configure(gamma=tuple(4.0 + 0.01 * i for i in range(1000)), steps=2, evaluators=3)
    count, began = 0, time.monotonic()

    def row(record: StepRecord) -> None:
        nonlocal count
        count += 1
        if count == int(stop_after):
            print(f"killed after {count} rows, {time.monotonic() - began:.0f} s", flush=True)
            os._exit(0)

    assert run(config, folder, make_quick, row) == {}
    rows = [len(Store(folder).rows(name)) for name in config.trajectories()]
    assert rows == [3] * 1000
    print(f"{count} rows of 1000 trajectories in {time.monotonic() - began:.0f} s")


def test_a_thousand_trajectories_start_run_and_resume(tmp_path: Path) -> None:
    in_its_own_ray("thousand", tmp_path, 1200, cpus=5)
    assert "rows of 1000 trajectories" in in_its_own_ray("thousand", tmp_path, 0, cpus=5)


def memory(folder: str) -> None:
    """Resident memory of the driver over 5,000 steps of 50 trajectories, after each 500 rows."""
    import psutil

    config = configure(gamma=tuple(4.0 + 0.1 * i for i in range(50)), steps=99, evaluators=3, step_length=0.02)
    process, seen, count = psutil.Process(), [], 0

    def row(record: StepRecord) -> None:
        nonlocal count
        count += 1
        if count % 500 == 0:
            seen.append(process.memory_info().rss / 2**20)
            print(f"{count} rows: {seen[-1]:.0f} MiB", flush=True)

    assert run(config, folder, make_quick, row) == {}
    print(f"growth {seen[-1] - seen[1]:.1f} MiB from row 1000 to row {500 * len(seen)}")


def test_memory_of_the_driver_stays_flat(tmp_path: Path) -> None:
    text = in_its_own_ray("memory", tmp_path, cpus=5)
    assert "5000 rows" in text
    assert float(text.split("growth ")[1].split()[0]) < 30.0


def walked(backend: str, folder: Path) -> tuple[float, list[dict[str, Any]]]:
    """Seconds from the first request to the last commit of a walk on MNIST, and its rows."""
    command = [sys.executable, "jobs/isoc.py", "mnist-quick", "--steps", "4", "--threads", "2"]
    command += ["--evaluators", "1"] if backend == "ray" else []
    command += ["--backend", backend, "--log-format", "json", "--out", str(folder)]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | {
        "RAY_USAGE_STATS_ENABLED": "0"
    }
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=HERE.parents[1]) as job:
        assert job.stderr is not None
        lines = [(time.monotonic(), json.loads(line)) for line in job.stderr if line.startswith("{")]
    assert job.returncode == 0
    rows = [(at, line) for at, line in lines if line["event"] == "row"]
    assert len(rows) == 5
    return rows[-1][0] - rows[0][0] + rows[0][1]["seconds"], [line for _, line in rows]


def test_ray_costs_little_beside_training(tmp_path: Path) -> None:
    """By turns, so that a machine that becomes slower or faster meets both."""
    seconds: dict[str, list[float]] = {"inline": [], "ray": []}
    for turn, backend in enumerate(("inline", "ray", "ray", "inline")):
        spent, rows = walked(backend, tmp_path / f"{turn}")
        seconds[backend].append(spent)
        print(f"{backend}: {spent:.1f} s for {rows[-1]['examples'] / 1e6:.2f} M examples, C {rows[-1]['C']:.6f}")
    ratio = sum(seconds["ray"]) / sum(seconds["inline"])
    print(f"ray / inline {ratio:.3f}")
    assert ratio <= 1.05


def test_rows_do_not_depend_on_how_many_trials_run_at_a_time() -> None:
    """The configurations above differ in free fields only from those of a laptop."""
    from rayfe.config import identity

    config = configure(evaluators=16)
    assert identity(config) == identity(configure(config, evaluators=1))
