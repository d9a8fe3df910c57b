"""Progress: plain lines off a terminal, a table on one."""

from __future__ import annotations

import dataclasses
import io
import math
from typing import Any

import pytest
from rich.console import Console

from rayfe.config import configure
from rayfe.records import InTraining, StepRecord
from rayfe.run.progress import Progress, duration, line
from rayfe.trajectory.standing import seconds_left, standing

NAME = "lam0.25-gamma4-seed0"
RECORD = StepRecord(
    trajectory=NAME,
    step=3,
    attempt=0,
    accepted=True,
    outcome="OK",
    process="iso-classification",
    lam=0.37,
    gamma=4.1,
    R=7.12,
    D=27.3,
    C=0.10005,
    C_target=0.1,
    val_accuracy=0.952,
    examples=1e5,
    seconds=41.2,
    seed=0,
)
CONFIG = configure(steps=10, lam_end=4.0)


def row(step: int, **changes: object) -> StepRecord:
    return dataclasses.replace(RECORD, step=step, **({"lam": 0.25 * 1.1**step, "seconds": 100 + 10.0 * step} | changes))


def in_training(seconds: float, **changes: object) -> InTraining:
    return dataclasses.replace(
        InTraining(
            trajectory=NAME, step=0, updates=34, all_updates=100, epochs=40.0, C=0.213, seconds=seconds, seconds_left=130.0
        ),
        **changes,
    )


def shown(*, terminal: bool, rows: dict[str, list[StepRecord]] | None = None, new: tuple[StepRecord, ...] = ()) -> str:
    console = Console(file=io.StringIO(), width=140, force_terminal=terminal, color_system=None)
    with Progress(CONFIG, rows, console=console) as progress:
        for record in new:
            progress.row(record)
        progress.event("lost a worker [repeating]")
    return console.file.getvalue()


def test_a_step_is_one_plain_line() -> None:
    text = f"{NAME} step 3: lam 0.37 gamma 4.1 R 7.12 D 27.3 C drift +0.05 % val acc 95.2 % after 41 s"
    assert line(RECORD) == text
    assert shown(terminal=False, new=(RECORD,)) == f"{text}\nlost a worker [repeating]\n"


def test_rejected_attempts_and_stops_say_why() -> None:
    rejected = row(4, accepted=False, attempt=1, reason="drift", C=None, R=None, D=None, val_accuracy=None)
    assert line(rejected) == f"{NAME} step 4 attempt 1 rejected (drift): lam 0.366 gamma 4.1 after 2 min"
    assert line(row(4, accepted=False, kind="stop", reason="gamma_zero")).startswith(f"{NAME} step 4 stopped (gamma_zero): lam")


def test_a_run_that_goes_on_says_from_where() -> None:
    text = shown(terminal=False, rows={NAME: [row(0), row(1)]})
    assert text.startswith(f"{NAME}: at step 1 of at most 10, 2 min so far\n")


def test_a_terminal_shows_a_table_with_a_row_a_trajectory() -> None:
    text = shown(terminal=True, rows={NAME: [row(0)]}, new=(row(1), row(2, accepted=False, reason="drift")))
    assert "1/10" in text
    assert "+0.05" in text
    assert "retry 1" in text
    assert "lost a worker [repeating]" in text


def test_a_table_shows_trajectories_without_a_row() -> None:
    assert "not started" in shown(terminal=True)


@pytest.mark.parametrize(
    ("rows", "where"),
    [
        ([], "not started"),
        ([row(0)], "at step 0 of at most 10"),
        ([row(0), row(10)], "10 steps"),
        ([row(0), row(3, lam=4.0)], "lam_end 4"),
        ([row(0), row(1, accepted=False, kind="stop", reason="gamma_blind")], "gamma_blind"),
        ([row(0, accepted=False, reason="nonfinite")], "first equilibrium rejected"),
    ],
)
def test_standing(rows: list[StepRecord], where: str) -> None:
    assert standing(rows, CONFIG).where == where


def test_time_left_follows_the_nearer_end() -> None:
    assert seconds_left([row(0)], CONFIG) is None
    assert seconds_left([row(0), row(5)], CONFIG) == pytest.approx(50)  # half of the steps in 50 s
    half = math.sqrt(0.25 * 4.0)  # half of the way in log lam, in one step
    assert seconds_left([row(0), row(1, lam=half)], CONFIG) == pytest.approx(10)
    assert seconds_left([row(0), row(3, lam=4.0)], CONFIG) == 0


def test_durations_are_short() -> None:
    assert [duration(seconds) for seconds in (41, 720, 12240)] == ["41 s", "12 min", "3.4 h"]


def test_a_step_of_a_transfer_says_where_on_the_data_path_it_is() -> None:
    assert line(dataclasses.replace(RECORD, process="geodesic", t=0.25)).startswith(f"{NAME} step 3: t 0.25 lam 0.37 ")


def test_a_table_has_t_where_data_move() -> None:
    def table(config: Any) -> str:
        console = Console(file=io.StringIO(), width=160, force_terminal=True, color_system=None)
        with Progress(config, {NAME: [row(0, t=0.125)]}, console=console):
            pass
        return console.file.getvalue()

    transfer = configure(
        steps=10, process="geodesic", stencil="paper", path={"target": "mnist:5-9"}, data={"name": "mnist:0-4"}
    )
    assert "0.125" in table(transfer)
    assert "0.125" not in table(CONFIG)


def test_a_long_training_has_a_line_now_and_then() -> None:
    console = Console(file=io.StringIO(), width=140, force_terminal=False)
    with Progress(CONFIG, console=console) as progress:
        for seconds in (1.0, 9.0, 11.0, 29.0, 40.0, 41.5, 2.0, 12.0):  # then it was taken up again
            progress.training(in_training(seconds))
    said = console.file.getvalue().splitlines()
    assert said == [f"{NAME} step 0: 34 % of 40 epochs trained, C 0.213, about 2 min left"] * 3


def test_a_table_shows_the_training_until_its_row_is_there() -> None:
    console = Console(file=io.StringIO(), width=160, force_terminal=True, color_system=None)
    with Progress(CONFIG, console=console) as progress:
        progress.training(in_training(1.0))
        progress._live.refresh()
        assert "34 % of 40 epochs trained, C 0.213" in console.file.getvalue()
        before = len(console.file.getvalue())
        progress.row(row(0))
        assert "epochs" not in console.file.getvalue()[before:]
