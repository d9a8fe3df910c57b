"""python -m rayfe status: where every trajectory of a run stands."""

from __future__ import annotations

from typing import Any

import pytest

from rayfe.cli.command import main as rayfe_main
from rayfe.cli.job_command import main
from untrained_job import DIGITS, NAME, walk

pytestmark = pytest.mark.usefixtures("runner", "cwd")


def test_status_says_where_every_trajectory_stands(capsys: pytest.CaptureFixture[str], runner: Any) -> None:
    runner(lambda config, dataset, store, progress: walk(config, dataset, store, progress) if len(config.gamma) == 1 else {})
    assert main("isoc", [*DIGITS, "--out", "r"]) == 0
    assert main("isoc", ["digits-smoke", "--gamma", "4", "6", "--out", "r"]) == 0
    capsys.readouterr()
    assert rayfe_main(["status", "r"]) == 0
    text = capsys.readouterr().out
    assert f"{NAME}: stopped: at step 2 of at most 6; last row 20" in text
    assert f"last: {NAME} step 2: lam" in text
    assert "lam1-gamma6-seed0: stopped: not started" in text
    assert "verdict" not in text
    assert "C held, off by up to" in text


@pytest.mark.parametrize("argv", [["status", "none"], ["status"], ["report", "r"], []])
def test_status_of_nothing_is_one_line_and_exit_2(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    assert rayfe_main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
