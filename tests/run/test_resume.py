"""Nothing is lost: a real model walked in parts, and a driver that is killed, end with the rows of an undisturbed run."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import rayfe
from rayfe.cli.job_command import main

JOB = Path(__file__).parents[1] / "helpers" / "instrumented_job.py"
WALK = [
    "digits-smoke",
    *("--backend", "inline", "--threads", "1", "--tolerance", "0.5", "--gamma", "4", "6", "--measure.head-draws", "16"),
    *("--model.hidden", "16", "--equilibration.first-epochs", "6", "--equilibration.epochs", "3", "--certificate-share", "0"),
]


def rows(out: Path) -> pd.DataFrame:
    return rayfe.load_run(out).drop(columns="seconds")


def examples(log: Path) -> float:
    """Training examples of all answers, those included whose step was never committed."""
    return sum(float(line.split()[-1]) for line in log.read_text().splitlines())


def test_a_killed_driver_and_a_longer_second_run_end_with_the_rows_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts, log = tmp_path / "whole", tmp_path / "parts", tmp_path / "log"
    assert main("isoc", [*WALK, "--steps", "3", "--out", str(whole)]) == 0
    job = runpy.run_path(str(JOB))
    monkeypatch.setattr("rayfe.run.runner.run", job["run"](job["Make"]("trained", 0.0, str(log))))
    assert main("isoc", [*WALK, "--steps", "1", "--out", str(parts)]) == 0
    begun = len(log.read_text().splitlines())

    command = [sys.executable, str(JOB), "trained", "0.2", str(log), *WALK, "--steps", "3", "--out", str(parts)]
    environment = os.environ | {"PYTHONPATH": str(JOB.parents[2])}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    while len(log.read_text().splitlines()) < begun + 5:  # an answer is on its way
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()

    assert main("isoc", [*WALK, "--steps", "3", "--out", str(parts)]) == 0
    pd.testing.assert_frame_equal(rows(whole), rows(parts), check_exact=True)
    assert len(pd.read_parquet(parts / "steps")) == len(rows(whole)) >= 8
    for file in (whole / "readings").glob("[!.]*"):
        assert file.read_bytes() == (parts / "readings" / file.name).read_bytes()

    by_walk = [walk.examples for _, walk in rows(whole).groupby("trajectory")]
    needed, one_step = sum(walk.max() for walk in by_walk), max(walk.diff().max() for walk in by_walk)
    assert needed < examples(log) <= (needed + one_step) * (1.0 + 1e-12)  # sums are rounded


def test_a_run_that_arrived_may_be_sent_back_but_not_called_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    walk = [*WALK, "--lam-end", "1.25", "--steps", "9"]
    assert main("isoc", [*walk, "--both-ways", "--out", str(whole)]) == 0
    assert main("isoc", [*walk, "--out", str(parts)]) == 0
    one_way = rows(parts)
    assert main("isoc", [*walk, "--both-ways", "--out", str(parts)]) == 0
    pd.testing.assert_frame_equal(rows(whole), rows(parts), check_exact=True)
    there = rows(parts)["step"] <= one_way["step"].max()
    assert 0 < there.sum() == len(one_way) < len(rows(parts))
    capsys.readouterr()
    assert main("isoc", [*walk, "--out", str(parts)]) == 2
    assert "--both-ways" in capsys.readouterr().err
