"""Hostile runs, one wrong thing each, under every look and under what goes on with them; `make hostile`.

Nothing is imported, nothing outside is changed, nothing steers a terminal, an error is one line, memory and time are bounded.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hostile import all_cases
from lookers import ON, changes, commands, faults, prepared
from rayfe.cli.job_command import main as job

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

SHARE = int(os.environ.get("EVERY", "1"))
"""Every so many cases are tried."""


def test_no_hostile_run_does_more_than_be_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, wrong = tmp_path / "good", {}
    assert job("isoc", [*ON, "--out", str(good)]) == 0
    monkeypatch.syspath_prepend(tmp_path / "place" / "run")
    cases = list(all_cases(good).items())[::SHARE]
    for number, (name, case) in enumerate(cases):
        run = prepared(good, tmp_path / "place", case)
        looks = commands(run) | (changes(run) if number % 10 == 0 else {})
        if found := faults(run, looks):
            wrong[name] = found
            print(name, found, flush=True)
    print(f"{len(cases)} hostile runs, {len(wrong)} of them did something", flush=True)
    assert not wrong
