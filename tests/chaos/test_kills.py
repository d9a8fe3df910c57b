"""A run on a closed-form surface is killed at random moments of its work on files, and goes on by the same call: no row changes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import rayfe.storage
from damages import closed_form, same_call, stored_in
from rayfe.storage.files import Files
from rayfe.storage.verification import faults

STORAGE = os.path.dirname(rayfe.storage.__file__)
SHORT = {"steps": 2}

pytestmark = pytest.mark.chaos


class Moments:
    """Counts what happens in rayfe/storage (calls, returns, system calls); at moment number `last` the process kills itself."""

    def __init__(self, last: int | None = None) -> None:
        self.count, self._last = 0, last

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if frame.f_code.co_filename.startswith(STORAGE):
            self.count += 1
            if self.count == self._last:
                os.kill(os.getpid(), signal.SIGKILL)


def counted(run: Path, last: int | None = None) -> int:
    """The same call; returns how many moments it had."""
    moments = Moments(last)
    with closed_form():
        sys.setprofile(moments)
        try:
            same_call(run, **SHORT)
        finally:
            sys.setprofile(None)
    return moments.count


def was_killed(run: Path, last: int) -> bool:
    """Whether a process that makes the same call is killed at this moment: it may end before."""
    child = os.fork()
    if child == 0:
        try:
            counted(run, last)
            os._exit(0)
        finally:
            os._exit(1)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended in (0, -signal.SIGKILL), f"the call ended with {ended}"
    return ended != 0


@pytest.mark.parametrize("kills", [10, pytest.param(1000, marks=[pytest.mark.slow])])
def test_kills_at_random_moments_change_no_row(tmp_path: Path, kills: int) -> None:
    moments, whole = counted(tmp_path / "whole"), stored_in(tmp_path / "whole")
    rng, run, killed, ends = random.Random(0), tmp_path / "run", 0, 0
    while killed < kills:
        # going on has as many moments as the whole: some calls must outlive them
        if was_killed(run, rng.randint(1, moments * 5 // 4)):
            killed += 1
            continue
        assert stored_in(run) == whole
        assert list(faults(Files(run))) == []
        shutil.rmtree(run)
        ends += 1
    with closed_form():
        same_call(run, **SHORT)
    assert stored_in(run) == whole
    print(f"\n{killed} kills among {moments} moments, in {ends + 1} runs that ended with the same rows", flush=True)
