"""Running, stopped, failed and finished are told apart by whoever opens a run, also when its driver was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import rayfe
from rayfe.backend.analytic import AnalyticBackend
from rayfe.cli.command import main
from rayfe.config import RunConfig, configure
from rayfe.exceptions import CorruptFile, WalkFailed
from rayfe.records import Answer, Request, StepRecord
from rayfe.report.overview import COLUMNS
from rayfe.run.runner import run_inline
from rayfe.storage.manifest import manifest_of
from rayfe.storage.store import Store
from rayfe.surface.closed_form import PowerSurface

SURFACE = PowerSurface(kappa=20.0, a=1 / 3, b=1 / 3)
JOB = Path(__file__).parents[1] / "helpers" / "instrumented_job.py"
NAME = "lam1-gamma4-seed0"
FIELD = "``equilibration.first_epochs``"


class Deaf:
    def row(self, record: StepRecord) -> None: ...

    def event(self, text: str) -> None: ...


class Fails(AnalyticBackend):
    """At step 2 of the trajectory with gamma = 6."""

    def answer(self, request: Request) -> Answer:
        if request.key.trajectory == "lam0.25-gamma6-seed0" and request.key.step == 2:
            raise WalkFailed(f"raise {FIELD}")
        return super().answer(request)


def walk(folder: Path, backend: AnalyticBackend, config: RunConfig) -> dict[str, str]:
    from rayfe.data.paths import load_path

    store = Store(str(folder))
    store.create(manifest_of("isoc", "digits-smoke", ["digits-smoke"], config, load_path(config)))
    return run_inline(config, backend, store, Deaf())


def told(run: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert main(["status", str(run), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert list(found) == ["run", "rayfe", "title", "recommended", "trajectories"]
    assert all(list(line) == list(COLUMNS) for line in found["trajectories"])
    return found["trajectories"]


def wait_for(log: Path, answers: int, process: subprocess.Popen[bytes]) -> None:
    while not log.exists() or len(log.read_text().splitlines()) < answers:
        assert process.poll() is None, "the job has ended"
        time.sleep(0.05)


def test_a_driver_that_lives_runs_and_one_that_was_killed_has_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, log = tmp_path / "r", tmp_path / "log"
    words = ["digits-smoke", "--backend", "inline", "--steps", "3", "--out", str(out)]
    command = [sys.executable, str(JOB), "analytic", "1", str(log), *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(JOB.parents[2])})
    try:
        wait_for(log, 1, process)
        process.send_signal(signal.SIGSTOP)  # its first row is not to come while it is looked at
        (line,) = told(out, capsys)
        assert (line["state"], line["reason"], line["last_row"]) == ("running", "not started", None)
        process.send_signal(signal.SIGCONT)
        while not Store(str(out)).rows(NAME):
            time.sleep(0.05)
        (line,) = told(out, capsys)
        assert line["state"] == "running" and line["reason"].startswith("at step")
        assert f"{NAME}: running: at step" in repr(rayfe.Run(out))
    finally:
        process.kill()
        process.wait()
    (line,) = told(out, capsys)
    assert line["state"] == "stopped" and line["reason"].startswith("at step")
    assert pd.Timestamp(line["last_row"]) <= pd.Timestamp.now(tz="UTC")
    subprocess.run([*command[:3], "0", *command[4:]], check=True, stdout=subprocess.DEVNULL, env=os.environ)
    (line,) = told(out, capsys)
    assert (line["state"], line["reason"], line["steps"]) == ("finished", "3 steps", 3)


def test_what_failed_is_known_to_whoever_opens_the_run_and_gone_when_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configure(gamma=(4.0, 6.0), steps=3, data={"name": "digits"})
    failed = walk(tmp_path, Fails(SURFACE, noise=1e-4), config)
    assert failed == {"lam0.25-gamma6-seed0": f"WalkFailed: raise {FIELD}"} == Store(str(tmp_path)).failures()
    run = rayfe.Run(tmp_path)
    assert list(run.summary()["state"]) == ["finished", "failed"]
    assert run.summary()["reason"].iloc[1] == 'WalkFailed: raise equilibration={"first_epochs": ...}'
    assert 'failed: WalkFailed: raise equilibration={"first_epochs": ...}; last row' in repr(run)
    assert told(tmp_path, capsys)[1]["reason"] == "WalkFailed: raise --equilibration.first-epochs"
    assert walk(tmp_path, AnalyticBackend(SURFACE, noise=1e-4), config) == {}
    assert list(run.summary()["state"]) == ["finished", "finished"] and Store(str(tmp_path)).failures() == {}


def test_a_summary_has_the_numbers_of_the_rows(tmp_path: Path) -> None:
    config = configure(gamma=(4.0, 6.0), steps=3, data={"name": "digits"})
    walk(tmp_path, AnalyticBackend(SURFACE, noise=1e-4), config)
    run = rayfe.Run(tmp_path)
    found = run.summary()
    assert list(found.columns) == list(COLUMNS) and list(found["trajectory"]) == run.trajectories
    for _, line in found.iterrows():
        rows = run.accepted[run.accepted["trajectory"] == line["trajectory"]]
        drift = rows["C"] / rows["C_target"] - 1.0
        assert line["drift"] == pytest.approx(drift.iloc[drift.abs().argmax()])
        assert line["steps"] == 3 and all(line[name] == rows[name].iloc[-1] for name in ("lam", "gamma", "R", "D", "C"))
        assert line["recommended_step"] == run.step(trajectory=line["trajectory"]).step


def test_a_damaged_note_of_failures_is_told_and_the_same_command_replaces_it(tmp_path: Path) -> None:
    config = configure(steps=1, data={"name": "digits"})
    walk(tmp_path, AnalyticBackend(SURFACE, noise=1e-4), config)
    (tmp_path / "failed.json").write_text("[")
    with pytest.raises(CorruptFile, match="failed.json: is not JSON"):
        rayfe.Run(tmp_path).summary()
    walk(tmp_path, AnalyticBackend(SURFACE, noise=1e-4), config)
    assert list(rayfe.Run(tmp_path).summary()["state"]) == ["finished"]
