"""What an attempt starts from is worked out once, and where a trajectory stands is said in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analytic_walks import SURFACE, A, C, transfer, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import configure
from rayfe.storage.store import Store
from rayfe.trajectory import walk_state
from rayfe.trajectory.driver import advance, open_trajectory
from rayfe.trajectory.standing import Phase, standing


def test_the_leg_is_derived_once_an_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure(lam=(0.25,), gamma=(4.0,), steps=60, both_ways=True, lam_end=1.0)
    calls, derive = [0], walk_state.current_way

    def counted(*arguments: Any) -> Any:
        calls[0] += 1
        return derive(*arguments)

    monkeypatch.setattr(walk_state, "current_way", counted)
    (start,) = config.trajectories().values()
    store = Store(str(tmp_path))
    trajectory = open_trajectory(config, start, store)
    while trajectory.finished is None:
        advance(trajectory, AnalyticBackend(A), store)
    assert trajectory.rows[-1].leg == "there_again"
    assert calls[0] == len(trajectory.rows)  # once after each row, the last one too


@pytest.mark.parametrize(
    ("options", "phase", "text"),
    [
        ({}, Phase.ENDED, "ended: lam_end 3.5"),
        ({"steps": 3}, Phase.ENDED, "ended: 3 steps"),
        ({"seek": ("C=0.9", "D=30")}, Phase.ENDED, "ended: reached"),
        ({"process": "fixed-gamma"}, Phase.ENDED, "ended: lam_end 3.5"),
        ({"time_budget": 1e-9}, Phase.ENDED, "ended: 1e-09 seconds"),
    ],
)
def test_the_driver_and_whoever_reads_rows_are_told_the_same(
    tmp_path: Path, options: dict[str, Any], phase: Phase, text: str
) -> None:
    rows, end = walk(tmp_path, AnalyticBackend(A), **options)
    found = standing(rows, configure(**({"lam": (0.25,), "gamma": (4.0,)} | options)))
    assert (found.end, found.phase, found.text) == (end, phase, text)


def test_a_stop_a_baseline_and_what_has_not_ended(tmp_path: Path) -> None:
    rows, end = walk(tmp_path / "stop", AnalyticBackend(C), lam=(2.0,), lam_end=50.0)
    config = configure(lam=(2.0,), lam_end=50.0)
    assert standing(rows, config).end == end and standing(rows, config).phase is Phase.STOPPED
    going = standing(rows[:3], config)
    assert (going.phase, going.is_over, going.text) == (Phase.RUNNING, False, "at step 2 of at most 100")
    assert standing([], config).phase is Phase.WAITING
    assert str(standing(rows[:3], config, failed="WalkFailed: x")) == "failed: WalkFailed: x"
    options: dict[str, Any] = {"method": "scratch", "method_epochs": 5.0}
    rows, end = transfer(tmp_path / "baseline", AnalyticBackend(SURFACE), **options)
    found = standing(rows, configure(lam=(2.0,), gamma=(8.0,), **options))
    assert (found.end, found.text) == (end, "ended: 5 epochs")
