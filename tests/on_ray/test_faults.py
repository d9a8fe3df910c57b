"""Faults of Ray itself and of what its workers see: one clear line, the right exit code, and the same command goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import RunConfig, configure
from rayfe.exceptions import LeaseLost, StorageFull, UsageError
from rayfe.records import StepRecord
from rayfe.records.backend import Backend
from rayfe.storage.store import Store
from rayfe.surface.closed_form import PowerSurface

ray = pytest.importorskip("ray")
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
pytestmark = pytest.mark.ray
CONFIG = configure(gamma=(4.0, 6.0), steps=1)
JOB = Path(__file__).parents[1] / "helpers" / "instrumented_job.py"


def make_analytic(config: RunConfig, dataset: object) -> Backend:
    return AnalyticBackend(PowerSurface(kappa=20.0, a=1 / 3, b=1 / 3))


def ignore(_: object) -> None: ...


def test_killing_an_agent_ends_the_embedded_ray_with_one_line_and_the_same_command_goes_on(tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")  # comes inside Ray, once that is imported
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment |= {"PYTHONPATH": str(JOB.parents[2]), "RAY_AUTH_MODE": "disabled"}
    out = tmp_path / "run"
    words = ["digits-smoke", "--steps", "2", "--lam", "0.25", "--backend", "ray", "--out", str(out)]
    command = [sys.executable, str(JOB), "analytic", "1", os.devnull, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    steps = out / "steps"
    while not (steps.exists() and list(steps.glob("*.parquet"))):
        assert process.poll() is None
        time.sleep(0.1)
    below = psutil.Process(process.pid).children(recursive=True)
    agents = [child for child in below if any("agent.py" in word for word in child.cmdline())]
    assert agents
    agents[0].kill()
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 1, errors
    (line,) = [line for line in errors.splitlines() if line.startswith("failed: ")]
    assert "the Ray that this process had started died" in line
    assert "the same command goes on" in line
    assert "Traceback" not in errors
    # workers and agents notice by themselves that their raylet is gone, within a minute
    assert psutil.wait_procs(below, timeout=200)[1] == []
    inline = [*command[:3], "0", *command[4:]]
    inline[inline.index("ray")] = "inline"
    again = subprocess.run(inline, capture_output=True, text=True, env=environment, timeout=120)
    assert again.returncode == 0, again.stderr
    (name,) = Store(out).trajectories()
    assert [row.step for row in Store(out).rows(name)] == [0, 1, 2]


@pytest.mark.usefixtures("ray_session")
def test_a_place_that_workers_do_not_see_is_refused_before_any_work() -> None:
    from rayfe.on_ray.sweep import run_on_ray

    place = f"memory://{uuid.uuid4().hex}"  # of this process alone, as a local folder is of its node
    with pytest.raises(UsageError, match=r"out='memory://.*: node [0-9.]+ does not see it; give a folder that all nodes share"):
        run_on_ray(CONFIG, None, place, "all", ignore, ignore, backend_factory=make_analytic)
    assert Store(place)._files.names("") == []


@pytest.mark.usefixtures("ray_session")
def test_a_driver_that_was_succeeded_writes_nothing(tmp_path: Path) -> None:
    from rayfe.on_ray.sweep import run_on_ray

    with Store(tmp_path).lock() as held:
        owner = held.owner
        assert run_on_ray(CONFIG, None, str(tmp_path), "all", ignore, ignore, owner=owner, backend_factory=make_analytic) == {}
    rows = [len(held.rows(name)) for name in CONFIG.trajectories()]
    longer = configure(CONFIG, steps=2)
    # the lock is of a driver that came after
    with Store(tmp_path).lock(), pytest.raises(LeaseLost, match="is held by another driver now"):
        run_on_ray(longer, None, str(tmp_path), "all", ignore, ignore, owner=owner, backend_factory=make_analytic)
    assert [len(held.rows(name)) for name in CONFIG.trajectories()] == rows == [2, 2]


class NoRoom(AnalyticBackend):
    """Stands for the commit after it: the disk is full."""

    def equilibrate(self, request: object) -> object:  # type: ignore[override]
        raise StorageFull("/run/steps/a.parquet")


def make_no_room(config: RunConfig, dataset: object) -> Backend:
    return NoRoom(PowerSurface(kappa=20.0, a=1 / 3, b=1 / 3))


@pytest.mark.usefixtures("ray_session")
def test_a_full_disk_ends_the_whole_run(tmp_path: Path) -> None:
    from rayfe.on_ray.sweep import run_on_ray

    heard: list[StepRecord] = []
    with pytest.raises(StorageFull, match="^/run/steps/a.parquet: no space left; make room"):
        run_on_ray(CONFIG, None, str(tmp_path), "all", heard.append, ignore, backend_factory=make_no_room)
    assert heard == []
