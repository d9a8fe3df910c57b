"""SIGTERM ends a command within two seconds, with what it started; from Python signals are the caller's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import rayfe
from rayfe.config import RunConfig
from untrained_job import walk

ROOT = Path(__file__).resolve().parents[1]
STUBBORN = """
import subprocess, sys, time
from rayfe.signals import Terminated, handle_sigterm
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
callers = subprocess.Popen(["sleep", "60"], **quiet)
with handle_sigterm():
    own = subprocess.Popen(["sleep", "60"], **quiet)
    try:
        print(callers.pid, own.pid, flush=True)
        time.sleep(60)
    except Terminated:
        time.sleep(60)  # stands for foreign code that returns late
"""


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_command_that_does_not_let_go_ends_within_two_seconds_with_what_it_started_and_nothing_else() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    callers, own = (int(word) for word in process.stdout.readline().split())
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    try:
        assert time.monotonic() - began < 2.0
        assert process.returncode == 143
        assert errors == "stopped by SIGTERM; the same command goes on from the last committed step\n"
        assert (lives(callers), lives(own)) == (True, False)
    finally:
        os.kill(callers, signal.SIGKILL)


@pytest.mark.usefixtures("cwd")
def test_a_walk_from_python_leaves_the_callers_handlers_in_place(runner: Any) -> None:
    seen = []

    def looks(config: RunConfig, *rest: Any) -> dict[str, str]:
        seen.append((signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), sys.excepthook))
        return walk(config, *rest)

    def own(number: int, frame: object) -> None: ...

    before = signal.signal(signal.SIGTERM, own)
    try:
        runner(looks)
        rayfe.walk("digits-smoke", steps=1, quiet=True)
        assert seen == [(own, signal.getsignal(signal.SIGINT), sys.excepthook)]
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)
