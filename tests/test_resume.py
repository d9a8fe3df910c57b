"""Nothing is lost: a real model walked in parts, and a driver that is killed, end with the rows of an undisturbed run."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

import rayfe

JOB = Path(__file__).parent.parent / "jobs" / "isoc.py"
WALK = [
    "digits-smoke",
    *("--backend", "inline", "--threads", "1", "--tolerance", "0.3", "--gamma", "4", "6", "--measure.head-draws", "32"),
    *("--model.hidden", "16", "--equilibration.first-epochs", "10", "--equilibration.epochs", "5"),
]


def start(out: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(JOB), *WALK, *options, "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(out: Path, *options: str) -> None:
    process = start(out, *options)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors


def rows(out: Path) -> pd.DataFrame:
    return rayfe.load_run(out).drop(columns="seconds")


def test_a_killed_driver_and_a_longer_second_run_end_with_the_rows_of_an_undisturbed_one(tmp_path):
    finish(tmp_path / "whole", "--steps", "4")
    finish(tmp_path / "parts", "--steps", "1")
    process = start(tmp_path / "parts", "--steps", "4")
    steps = tmp_path / "parts" / "steps"
    deadline = time.monotonic() + 120
    while len(rayfe.load_run(tmp_path / "parts")) < 5 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    finish(tmp_path / "parts", "--steps", "4")
    pd.testing.assert_frame_equal(rows(tmp_path / "whole"), rows(tmp_path / "parts"), check_exact=True)
    assert len(pd.read_parquet(steps)) == len(rows(tmp_path / "whole")) >= 10
    for name in ("steps", "readings"):
        for file in (tmp_path / "whole" / name).iterdir():
            assert name == "steps" or file.read_bytes() == (tmp_path / "parts" / name / file.name).read_bytes()
