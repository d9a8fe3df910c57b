"""Events as JSON lines."""

from __future__ import annotations

import io
import json
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rayfe.cli.job_command import main
from rayfe.records import InTraining, StepRecord
from rayfe.run.logs import JsonLog

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ROW = StepRecord(
    trajectory="lam1-gamma4-seed0",
    step=3,
    attempt=0,
    accepted=True,
    outcome="OK",
    process="iso-classification",
    lam=1.5,
    gamma=3.0,
    t=0.0,
    R=2.0,
    excess=math.nan,
    examples=10.0,
    seconds=1.0,
    seed=0,
)


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_event_is_one_line_that_says_when_and_where() -> None:
    stream = io.StringIO()
    with JsonLog(stream, now=lambda: NOW) as log:
        log.row(ROW)
        log.event("lost an evaluator\nof two lines")
    found = lines(stream)
    assert [line["event"] for line in found] == ["begin", "row", "event", "end"]
    assert all(line["time"] == "2026-01-02T03:04:05.000+00:00" and line["pid"] and line["host"] for line in found)
    assert found[2]["message"] == "lost an evaluator\nof two lines"


def test_a_row_has_the_columns_that_were_measured() -> None:
    stream = io.StringIO()
    JsonLog(stream).row(ROW)
    (row,) = lines(stream)
    assert (row["trajectory"], row["step"], row["accepted"], row["R"]) == ("lam1-gamma4-seed0", 3, True, 2.0)
    assert "excess" not in row and "D" not in row


def test_an_end_by_an_error_says_which() -> None:
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), JsonLog(stream):
        raise KeyboardInterrupt
    assert lines(stream)[-1]["error"] == "KeyboardInterrupt"


def test_a_run_with_json_logs_has_json_alone_on_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["digits-smoke", "--backend", "inline", "--steps", "1", "--equilibration.first-epochs", "5", "--tolerance", "0.9"]
    assert main("isoc", [*words, "--log-format", "json", "--out", str(tmp_path / "run")]) == 0
    found = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["event"] for line in found][0 :: len(found) - 1] == ["begin", "end"]
    assert [line["step"] for line in found if line["event"] == "row"] == [0, 1]


def test_a_training_is_an_event_with_its_share() -> None:
    stream = io.StringIO()
    now = InTraining(trajectory="a", step=0, updates=25, all_updates=100, epochs=4.0, C=None, seconds=40.0, seconds_left=120.0)
    JsonLog(stream).training(now)
    (found,) = lines(stream)
    assert (found["event"], found["share"], found["seconds_left"]) == ("training", 0.25, 120.0)
    assert "C" not in found
