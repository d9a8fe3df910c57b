"""Nodes come and go in the middle of a run: the pool follows, the rows do not change (logical GPUs, one machine)."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import RunConfig, configure
from rayfe.records import Equilibrated, EquilibrateRequest, StepRecord
from rayfe.records.backend import Backend
from rayfe.run.runner import run_inline
from rayfe.storage.store import Store
from rayfe.surface.closed_form import PowerSurface

pytest.importorskip("ray")
pytestmark = pytest.mark.cluster
HERE = Path(__file__).resolve().parent
CONFIG = configure(gamma=(4.0, 5.0, 6.0), steps=20, replicas_per_evaluator=1, refresh=1)
SURFACE = PowerSurface(kappa=20.0, a=1 / 3, b=1 / 3)
QUICK = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
SCRIPT = """
import json, sys
import ray
from rayfe.on_ray.sweep import run_on_ray
import test_nodes
ray.cloudpickle.register_pickle_by_value(test_nodes)
def tell(**line): print(json.dumps(line), flush=True)
config = test_nodes.configure(test_nodes.CONFIG, **json.loads(sys.argv[2]))
failed = run_on_ray(config, None, sys.argv[1], "all",
    lambda row: tell(step=row.step, name=row.trajectory), lambda text: tell(event=text),
    backend_factory=test_nodes.make_noting)
tell(failed=failed)
"""


@dataclasses.dataclass
class Noting(AnalyticBackend):
    """Takes a moment, and notes on which node and which GPU."""

    notes: str = ""

    def equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        import ray

        node, gpu = ray.get_runtime_context().get_node_id(), os.environ.get("CUDA_VISIBLE_DEVICES", "")
        with open(self.notes, "a") as file:
            file.write(json.dumps({"node": node, "gpu": gpu, "pid": os.getpid()}) + "\n")
        return super().equilibrate(request)


def make_noting(config: RunConfig, data: object) -> Backend:
    return Noting(SURFACE, delay=0.3, notes=os.environ["RAYFE_TEST_NOTES"])


class Silent:
    def row(self, record: StepRecord) -> None: ...

    def event(self, text: str) -> None: ...


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head with 2 CPUs; the test adds nodes. `ray.init` of nodes wants the main thread, so the driver is a process."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAYFE_TEST_NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("PYTHONPATH", f"{HERE.parents[1]}{os.pathsep}{HERE}")
    from ray.cluster_utils import Cluster

    os.makedirs(Path(tempfile.gettempdir(), "ray"), exist_ok=True)  # Cluster notes its address there
    head = {
        "num_cpus": 2,
        "num_gpus": 0,
        "include_dashboard": False,
        "object_store_memory": 80 << 20,
        "_system_config": QUICK,
        "temp_dir": tempfile.mkdtemp(prefix="r", dir="/tmp"),
    }
    nodes = Cluster(initialize_head=True, head_node_args=head)
    yield nodes
    nodes.shutdown()


@pytest.fixture
def drive(cluster: Any, tmp_path: Path) -> Iterator[Any]:
    processes: list[subprocess.Popen[str]] = []

    def start(**fields: Any) -> IO[str]:
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "run"), json.dumps(fields)]
        with open(tmp_path / "stderr", "w") as stderr:
            environment = {**os.environ, "RAY_ADDRESS": cluster.address}
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment)
        processes.append(process)
        assert process.stdout is not None
        return process.stdout

    yield start
    for process in processes:
        process.kill()
        process.wait()


def until(lines: IO[str], **wanted: Any) -> list[dict[str, Any]]:
    """Lines of the driver up to the first that has all that is wanted."""
    found = []
    for text in lines:
        if not text.startswith("{"):  # Ray's own word on the node that died
            continue
        found.append(json.loads(text))
        if all(found[-1].get(name) == value for name, value in wanted.items()):
            return found
    raise AssertionError(f"the driver ended without {wanted}; before: {found[-5:]}")


def noted(folder: Path, condition: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """What evaluators have noted as soon as it meets the condition."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        text = (folder / "notes").read_text() if (folder / "notes").exists() else ""
        found = [json.loads(line) for line in text.splitlines()]
        if condition(found):
            return found
        time.sleep(0.2)
    raise AssertionError(f"not within a minute: {found}")


def timeless(folder: Path) -> list[dict[str, Any]]:
    rows = [dataclasses.asdict(row) for name in CONFIG.trajectories() for row in Store(folder).rows(name)]
    return [{name: value for name, value in row.items() if "second" not in name} for row in rows]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("inline")
    assert run_inline(CONFIG, AnalyticBackend(SURFACE), Store(folder), Silent()) == {}
    return timeless(folder)


def test_the_pool_follows_nodes_that_come_and_go_and_rows_stay_the_same(
    cluster: Any, drive: Any, tmp_path: Path, undisturbed: list[dict[str, Any]]
) -> None:
    lines = drive()
    until(lines, step=0)
    worker = cluster.add_node(num_cpus=4, object_store_memory=80 << 20)
    until(lines, event="evaluators: 1 -> 3")
    noted(tmp_path, lambda found: len({note["node"] for note in found}) == 2)  # the new node is at work
    cluster.remove_node(worker, allow_graceful=False)
    rest = until(lines, event="evaluators: 3 -> 1") + until(lines, failed={})
    assert any("lost" in line.get("event", "") for line in rest)
    assert timeless(tmp_path / "run") == undisturbed


def test_isolated_neighbours_have_a_gpu_each_and_survive_the_loss_of_a_node(
    cluster: Any, drive: Any, tmp_path: Path, undisturbed: list[dict[str, Any]]
) -> None:
    for _ in range(2):
        worker = cluster.add_node(num_cpus=2, num_gpus=4, object_store_memory=80 << 20)
    lines = drive(placement="isolated")
    found = noted(tmp_path, lambda found: len({note["pid"] for note in found}) >= 3)
    used = {note["pid"]: (note["node"], note["gpu"]) for note in found}
    assert len(set(used.values())) == len(used)  # no two evaluators on one GPU
    assert all(gpu for _, gpu in used.values())
    cluster.remove_node(worker, allow_graceful=False)
    until(lines, failed={})
    assert timeless(tmp_path / "run") == undisturbed
