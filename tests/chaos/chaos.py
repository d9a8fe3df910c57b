"""Random kills over everything that a run consists of: `python tests/chaos/chaos.py analytic|trained --out DIR`.

A Ray cluster of a head and two nodes on this machine walks 8 trajectories of 12 steps, while evaluators, trial workers, the
pool, a node (all its processes; another joins) and the driver (`kill -9`, then the same command) are killed in an order
that `--seed` draws. In the end every row is there once, and rows, readings and weights equal those of an undisturbed run in
one process. Prints a line a kill and a summary; exits with 1 and the difference if they are not equal.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

import rayfe
from rayfe.storage.store import Store, load_readings

ROOT = Path(__file__).resolve().parents[2]
JOB = ROOT / "tests" / "helpers" / "instrumented_job.py"
TRAINED = ["--model.hidden", "16", "--equilibration.first-epochs", "10", "--equilibration.epochs", "5"]
TRAINED += ["--measure.head-draws", "32", "--tolerance", "0.3", "--threads", "1"]
ACTORS = {"evaluator": {"Evaluator"}, "trial": {"TrajectoryTrial", "ResourceTrainable"}, "pool": {"EvaluatorPool"}}
"""Classes of actors as Ray names their processes; a trial is at times called by the class that Tune wraps it in."""
PATIENCE = 120.0
"""Seconds for a victim to appear, or for a row to be committed, before the run is taken to hang."""
FAST_DEATHS = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="kill what a run consists of, and compare its rows")
    parser.add_argument("walk", choices=["analytic", "trained"])
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--drivers", type=int, default=4, help="how many of the kills are the driver")
    parser.add_argument("--nodes", type=int, default=2, help="nodes beside the head")
    parser.add_argument("--gamma", nargs="+", default=["4", "5", "6", "8"])
    parser.add_argument("--steps", default="12")
    parser.add_argument("--delay", default="0.5", help="seconds that every answer is held back")
    parser.add_argument("--pause", type=float, default=0.5, help="at most so many seconds between a row and a kill")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def command(asked: argparse.Namespace, out: Path, backend: str, delay: str) -> list[str]:
    walk = ["digits-smoke", "--lam", "0.25", "--step-length", "0.1", "--steps", asked.steps, "--gamma", *asked.gamma]
    walk += ["--seed", "0", "1", "--backend", backend, "--out", str(out), *(TRAINED if asked.walk == "trained" else [])]
    return [sys.executable, str(JOB), asked.walk, delay, str(asked.out / f"answers-{backend}"), *walk]


class Chaos:
    """A cluster, a driver that is started whenever it was killed, and the kills."""

    def __init__(self, asked: argparse.Namespace, rng: random.Random) -> None:
        from ray.cluster_utils import Cluster

        self._asked, self._rng = asked, rng
        os.makedirs(Path(tempfile.gettempdir(), "ray"), exist_ok=True)  # Cluster notes its address there
        head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 << 20, "_system_config": FAST_DEATHS}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(asked.nodes):
            self._add_node()
        self.driver = self._start_driver()
        self.killed: collections.Counter[str] = collections.Counter()

    def _add_node(self) -> None:
        self.cluster.add_node(num_cpus=2, object_store_memory=80 << 20)

    def _start_driver(self) -> subprocess.Popen[bytes]:
        environment = os.environ | {"RAY_ADDRESS": self.cluster.address, "PYTHONPATH": str(ROOT)}
        words = command(self._asked, self._asked.out / "run", "ray", self._asked.delay)
        with open(self._asked.out / "driver.log", "a") as log:
            return subprocess.Popen(words, env=environment, stdout=log, stderr=subprocess.STDOUT)

    def kill(self, kind: str) -> str:
        """Kill one of `kind`; returns what it was. Waits for one to appear."""
        self.killed[kind] += 1
        if kind == "driver":
            self.driver.kill()
            self.driver.wait()
            pid, self.driver = self.driver.pid, self._start_driver()
            return f"pid {pid}"
        if kind == "node":
            node = self._rng.choice(sorted(self.cluster.worker_nodes, key=lambda node: node.unique_id))
            self.cluster.remove_node(node, allow_graceful=False)
            self._add_node()
            return node.unique_id
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.check_driver()
            if found := self._actors(ACTORS[kind]):
                victim = self._rng.choice(found)
                victim.kill()
                return f"pid {victim.pid}"
            time.sleep(0.1)
        raise SystemExit(f"no {kind} to kill for {PATIENCE:g} s")

    def _actors(self, names: set[str]) -> list[Any]:
        """Processes of the cluster's actors of these classes."""
        import psutil  # comes inside Ray

        found = []
        for node in [self.cluster.head_node, *self.cluster.worker_nodes]:
            for raylet in node.all_processes.get("raylet", []):
                try:
                    workers = psutil.Process(raylet.process.pid).children(recursive=True)
                    found += [worker for worker in workers if _title(worker) in names]
                except psutil.Error:
                    continue
        return sorted(found, key=lambda process: process.pid)

    def check_driver(self) -> None:
        code = self.driver.poll()
        if code is not None:
            raise SystemExit(
                f"the driver ended with {code} after {self.killed.total()} kills; see {self._asked.out}/driver.log"
            )

    def end(self) -> None:
        self.driver.kill()
        self.driver.wait()
        self.cluster.shutdown()


def _title(process: Any) -> str:
    """Class of the actor that a process is: Ray writes `ray::Class.method` in the place of its command line."""
    import psutil

    try:
        words = process.cmdline()
    except psutil.Error:
        return ""
    return words[0].removeprefix("ray::").partition(".")[0] if words and words[0].startswith("ray::") else ""


def kinds_of(asked: argparse.Namespace, rng: random.Random) -> list[str]:
    """What is killed, in random order: one node, some drivers and pools, and of the rest three evaluators for two trials."""
    kinds = ["node", *["driver"] * asked.drivers, *["pool"] * (asked.kills // 20)]
    rest = asked.kills - len(kinds)
    kinds += ["trial"] * (2 * rest // 5) + ["evaluator"] * (rest - 2 * rest // 5)
    rng.shuffle(kinds)
    return kinds


def rows_in(run: Path) -> int:
    store = Store(run)
    return sum(len(store.rows(name)) for name in store.trajectories())


def disturb(asked: argparse.Namespace) -> Chaos:
    """Run to the end, with a kill after every new row until all kills are done."""
    rng = random.Random(asked.seed)
    chaos = Chaos(asked, rng)
    began = time.monotonic()
    try:
        before = 0
        for number, kind in enumerate(kinds_of(asked, rng), start=1):
            end = time.monotonic() + PATIENCE
            while (now := rows_in(asked.out / "run")) <= before:
                chaos.check_driver()
                if time.monotonic() > end:
                    raise SystemExit(f"no row for {PATIENCE:g} s after {number - 1} kills; see {asked.out}/driver.log")
                time.sleep(0.1)
            before = now
            time.sleep(rng.uniform(0.0, asked.pause))
            chaos.check_driver()
            what = chaos.kill(kind)
            print(f"{time.monotonic() - began:6.1f} s, {now} rows, kill {number}: {kind} ({what})", flush=True)
        code = chaos.driver.wait(timeout=600)
        if code != 0:
            raise SystemExit(f"the driver ended with {code}; see {asked.out}/driver.log")
    finally:
        chaos.end()
    return chaos


def compare(asked: argparse.Namespace) -> int:
    """Number of rows; raises AssertionError if anything but seconds differs from an undisturbed run in one process."""
    disturbed, whole = asked.out / "run", asked.out / "undisturbed"
    environment = {name: value for name, value in os.environ.items() if name != "TMPDIR"} | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command(asked, whole, "inline", "0"), env=environment, check=True, stdout=subprocess.DEVNULL)
    frames = [rayfe.load_run(path).drop(columns="seconds") for path in (whole, disturbed)]
    assert not frames[1].duplicated(["trajectory", "step", "attempt"]).any()
    pd.testing.assert_frame_equal(*frames, check_exact=True)
    pd.testing.assert_frame_equal(load_readings(whole), load_readings(disturbed), check_exact=True)
    for state in frames[0].state.dropna():
        assert (whole / state).read_bytes() == (disturbed / state).read_bytes(), state
    return len(frames[0])


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the cluster and the driver are to go with it
    asked = arguments()
    asked.out = asked.out.resolve()
    asked.out.mkdir(parents=True, exist_ok=True)
    for name, value in {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}.items():
        os.environ.setdefault(name, value)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="c", dir="/tmp") as folder:
        os.environ["TMPDIR"] = folder  # what killed drivers leave goes with it
        chaos = disturb(asked)
    seconds = time.monotonic() - began
    rows = compare(asked)
    kills = ", ".join(f"{count} {kind}" for kind, count in sorted(chaos.killed.items()))
    print(
        f"{chaos.killed.total()} kills ({kills}) in {seconds:.0f} s; {rows} rows equal to the undisturbed run's, each once",
        flush=True,
    )


if __name__ == "__main__":
    main()
