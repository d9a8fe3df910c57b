"""A sweep on Ray gives the rows of the inline path, refuses what does not fit, and stops at once on signals."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import RunConfig, configure
from rayfe.on_ray.in_training import take
from rayfe.records import Equilibrated, EquilibrateRequest, InTraining, StepRecord
from rayfe.records.backend import Backend
from rayfe.run.runner import run_inline
from rayfe.storage.store import Store
from rayfe.surface.closed_form import PowerSurface

ray = pytest.importorskip("ray")
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
pytestmark = pytest.mark.ray
SURFACE = PowerSurface(kappa=20.0, a=1 / 3, b=1 / 3)
CONFIG = configure(gamma=(4.0, 5.0, 6.0), steps=3)


def make_analytic(config: RunConfig, dataset: object) -> Backend:
    return AnalyticBackend(SURFACE, noise=1e-4)


def make_slow(config: RunConfig, dataset: object) -> Backend:
    return AnalyticBackend(SURFACE, delay=1.0)


class Broken(AnalyticBackend):
    """Has a bug where gamma is 5."""

    def equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        if request.key.trajectory.startswith("lam0.25-gamma5"):
            raise ZeroDivisionError("a bug")
        return super().equilibrate(request)


def make_broken(config: RunConfig, dataset: object) -> Backend:
    return Broken(SURFACE)


class Telling(AnalyticBackend):
    """Says how far its trainings are."""

    def equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        assert self.on_training is not None
        name, step = request.key.trajectory, request.key.step
        now = InTraining(
            trajectory=name, step=step, updates=1, all_updates=2, epochs=3.0, C=None, seconds=4.0, seconds_left=4.0
        )
        self.on_training(now)
        return super().equilibrate(request)


def make_telling(config: RunConfig, dataset: object) -> Backend:
    return Telling(SURFACE, noise=1e-4)


@dataclass
class Listener:
    rows: list[StepRecord] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    def row(self, record: StepRecord) -> None:
        self.rows.append(record)

    def event(self, text: str) -> None:
        self.events.append(text)


def timeless(rows: list[StepRecord]) -> list[dict]:
    return [{name: value for name, value in dataclasses.asdict(row).items() if "second" not in name} for row in rows]


def by_trajectory(rows: list[StepRecord]) -> list[dict]:
    return timeless(sorted(rows, key=lambda row: (row.trajectory, row.step, row.attempt)))


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("slots", [1, 3])
def test_rows_on_ray_are_those_of_the_inline_path(tmp_path: Path, slots: int) -> None:
    from rayfe.on_ray.sweep import run_on_ray

    heard, on_ray = Listener(), tmp_path / "ray"
    config = configure(CONFIG, trajectories_per_evaluator=slots)
    failed = run_on_ray(config, None, str(on_ray), "all", heard.row, heard.event, backend_factory=make_analytic)
    assert failed == {} == run_inline(CONFIG, make_analytic(CONFIG, None), Store(tmp_path / "inline"), Listener())
    stored = [row for name in CONFIG.trajectories() for row in Store(on_ray).rows(name)]
    inline = [row for name in CONFIG.trajectories() for row in Store(tmp_path / "inline").rows(name)]
    assert len(inline) >= 12
    assert timeless(stored) == timeless(inline)
    assert by_trajectory(heard.rows) == by_trajectory(stored)


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("placement", ["shared", "isolated"])
def test_trainings_anywhere_say_how_far_they_are(
    tmp_path: Path, placement: Literal["shared", "isolated"], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rayfe.on_ray.sweep import run_on_ray

    # as where another cluster of this process has ended
    monkeypatch.setattr("ray.experimental.internal_kv.global_gcs_client", None)
    config = configure(CONFIG, gamma=(4.0,), steps=1, placement=placement, replicas_per_evaluator="all")
    heard, told = Listener(), []
    run = partial(run_on_ray, on_training=told.append, backend_factory=make_telling)
    assert run(config, None, str(tmp_path), "all", heard.row, heard.event) == {}
    assert told and {now.trajectory for now in told} == {"lam0.25-gamma4-seed0"}
    assert (told[-1].step, told[-1].share, told[-1].epochs) == (1, 0.5, 3.0)
    again: list[InTraining] = []
    take(again.append)
    assert again == []


@pytest.mark.usefixtures("ray_session")
def test_a_bug_fails_its_trajectory_only(tmp_path: Path) -> None:
    from rayfe.on_ray.sweep import run_on_ray
    from rayfe.on_ray.trial import FAILURES

    heard = Listener()
    config = configure(CONFIG, gamma=(4.0, 5.0), steps=1)
    failed = run_on_ray(config, None, str(tmp_path), "all", heard.row, heard.event, backend_factory=make_broken)
    assert failed == {"lam0.25-gamma5-seed0": "ZeroDivisionError: a bug"}
    assert len([text for text in heard.events if "a bug" in text]) == FAILURES
    assert len(Store(tmp_path).rows("lam0.25-gamma4-seed0")) == 2


SCRIPT = """
import sys
from rayfe.signals import handle_signals
handle_signals()
from rayfe.on_ray.sweep import run_on_ray
from test_sweep import CONFIG, make_slow
run_on_ray(CONFIG, None, sys.argv[1], "all", lambda row: print(row.step, flush=True), print, backend_factory=make_slow)
"""


def host(script: str, out: Path) -> subprocess.Popen[str]:
    """A Python of its own with a Ray of its own."""
    here = Path(__file__).resolve().parent
    environment = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "RAY_worker_niceness")}
    environment |= {"PYTHONPATH": f"{here.parents[1]}{os.pathsep}{here}", "RAY_AUTH_MODE": "disabled"}
    command = [sys.executable, "-c", script, str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


@pytest.mark.parametrize("number, code, word", [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")])
def test_a_signal_ends_the_run_and_its_ray_at_once(tmp_path: Path, number: signal.Signals, code: int, word: str) -> None:
    psutil = pytest.importorskip("psutil")  # comes inside Ray, once that is imported
    process = host(SCRIPT, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "0\n"  # the first row: everything is up
    below = psutil.Process(process.pid).children(recursive=True)
    assert len(below) > 5
    assert {one.nice() for one in below if one.is_running()} == {
        psutil.Process().nice()
    }  # none waits for other work of the machine
    process.send_signal(number)
    rest, _ = process.communicate(timeout=200)
    assert process.returncode == code, rest
    assert f"\n{word}; to go on: " in f"\n{rest}", rest  # rows of other trajectories may come before
    assert psutil.wait_procs(below, timeout=60)[1] == []


HOST = """
import subprocess, sys
import ray
import psutil  # comes inside Ray
from rayfe.on_ray.sweep import run_on_ray
from test_sweep import CONFIG, make_slow
callers = subprocess.Popen(["sleep", "300"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
def kill(row):
    for process in psutil.Process().children(recursive=True):
        if process.name() in ("raylet", "gcs_server"):
            process.kill()
try:
    run_on_ray(CONFIG, None, sys.argv[1], "all", kill, print, backend_factory=make_slow)
except RuntimeError as error:
    print(type(error).__name__, ray.is_initialized(), callers.poll())
callers.kill()
"""


@pytest.mark.slow
def test_a_ray_that_died_ends_neither_the_host_nor_what_the_host_has_started(tmp_path: Path) -> None:
    done = host(HOST, tmp_path)
    rest, _ = done.communicate(timeout=200)
    assert (done.returncode, rest.splitlines()[-1]) == (0, "RayDied False None"), rest
