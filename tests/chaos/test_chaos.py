"""Kills over evaluators, trial workers, a node and the driver change no row: a short form here, the long one by `make chaos`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.chaos
ROOT = Path(__file__).resolve().parents[2]


def chaos(out: Path, walk: str, *options: str) -> str:
    command = [sys.executable, str(ROOT / "tests" / "chaos" / "chaos.py"), walk, "--out", str(out), *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    log = out / "driver.log"
    assert done.returncode == 0, done.stdout + done.stderr + (log.read_text() if log.exists() else "")
    return done.stdout.splitlines()[-1]


def test_a_few_kills_change_no_row(tmp_path: Path) -> None:
    few = ["--gamma", "4", "--steps", "5", "--kills", "5", "--drivers", "1", "--nodes", "1", "--delay", "0.3"]
    assert chaos(tmp_path, "analytic", *few).startswith("5 kills (1 driver, 2 evaluator, 1 node, 1 trial)")


@pytest.mark.slow
@pytest.mark.parametrize("walk", ["analytic", "trained"])
def test_fifty_kills_change_no_row(tmp_path: Path, walk: str) -> None:
    assert chaos(tmp_path, walk).startswith("50 kills (4 driver, ")


@pytest.mark.slow
def test_signals_at_many_moments_end_commands_by_one_line(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tests" / "chaos" / "signals.py"), "--out", str(tmp_path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    print(done.stdout)
    assert done.returncode == 0
    assert "WRONG" not in done.stdout and done.stdout.count(": right, ") > 150
