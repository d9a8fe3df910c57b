"""A look that computes without end is ended and named; one that waits for a busy machine is not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import lookers


def _computes(to: Path) -> None:
    while True:
        pass


def test_looks_have_a_limit_of_cpu_time_each_and_none_of_wall_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookers, "SECONDS", 1)
    waits = lookers._silent(lambda to: time.sleep(2.5))
    found = lookers.faults(tmp_path / "run", {"waits": waits, "computes": _computes, "waits again": waits})
    assert found == {"computes": "killed: SIGXCPU"}
