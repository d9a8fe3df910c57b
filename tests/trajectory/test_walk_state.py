"""What an attempt starts from is worked out once, and where a trajectory stands is said in one place."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from analytic_walks import SURFACE, A, C, transfer, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import configure
from rayfe.storage.store import Store
from rayfe.trajectory import walk_state
from rayfe.trajectory.driver import advance, open_trajectory
from rayfe.trajectory.standing import State, standing


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
    ("options", "where"),
    [
        ({}, "lam_end 3.5"),
        ({"steps": 3}, "3 steps"),
        ({"seek": ("C=0.9", "D=30")}, "reached"),
        ({"process": "fixed-gamma"}, "lam_end 3.5"),
        ({"time_budget": 1e-9}, "1e-09 seconds"),
    ],
)
def test_the_driver_and_whoever_reads_rows_are_told_the_same(tmp_path: Path, options: dict[str, Any], where: str) -> None:
    rows, end = walk(tmp_path, AnalyticBackend(A), **options)
    found = standing(rows, configure(**({"lam": (0.25,), "gamma": (4.0,)} | options)))
    assert (found.end, found.state, found.where) == (end, State.FINISHED, where)


def test_a_stop_a_baseline_and_what_has_not_ended(tmp_path: Path) -> None:
    rows, end = walk(tmp_path / "stop", AnalyticBackend(C), lam=(2.0,), lam_end=50.0)
    config = configure(lam=(2.0,), lam_end=50.0)
    assert standing(rows, config).end == end and standing(rows, config).state is State.FINISHED
    going = standing(rows[:3], config)
    assert (going.state, going.is_over, going.where) == (State.STOPPED, False, "at step 2 of at most 100")
    assert str(standing(rows[:3], config, in_work=True)) == "running: at step 2 of at most 100"
    assert standing(rows, config, in_work=True).state is State.FINISHED
    assert str(standing([], config)) == "stopped: not started"
    assert str(standing([], config, in_work=True)) == "running: not started"
    assert str(standing(rows[:3], config, failed="WalkFailed: x", in_work=True)) == "failed: WalkFailed: x"
    then = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    assert standing(rows[:3], config, last=then).dated == "stopped: at step 2 of at most 100; last row 2026-01-02 02:04:05 UTC"
    options: dict[str, Any] = {"method": "scratch", "method_epochs": 5.0}
    rows, end = transfer(tmp_path / "baseline", AnalyticBackend(SURFACE), **options)
    found = standing(rows, configure(lam=(2.0,), gamma=(8.0,), **options))
    assert (found.end, found.where) == (end, "5 epochs")
