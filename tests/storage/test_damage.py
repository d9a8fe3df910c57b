"""Any one file of a run damaged in any way: the same command says so, and ends with the same rows. `make damage`: any two files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from damages import DAMAGES, KINDS, expected, make, manifest, outcome


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def test_any_file_damaged_in_any_way_costs_no_step(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked, found = manifest(), {}
    make(tmp_path / "made" / "run", asked)

    def said() -> str:
        text = caplog.text
        caplog.clear()
        return text

    for kind in KINDS:
        for damage in DAMAGES:
            text = outcome(tmp_path / "made", tmp_path / "here", {kind: damage}, asked, said)
            if not expected({kind: damage}, text):
                found[kind, damage] = text
    assert found == {}
