"""What is advised where a step may have failed by its draws: the option of the condition that failed, and draws only where they do it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from analytic_walks import SURFACE, A, transfer, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import MeasureConfig, PathConfig, configure
from rayfe.exceptions import WalkFailed, in_shell_words
from rayfe.records import Held, Point, Reading, Split
from rayfe.storage.store import Store
from rayfe.surface.data_processes import line_length
from rayfe.surface.equivalence import Miss
from rayfe.surface.process import LOSS
from rayfe.trajectory.attainable import told_by_draws, why_failed
from rayfe.trajectory.draws import Limit
from rayfe.trajectory.driver import attempted
from rayfe.trajectory.trajectory import Trajectory
from stored_steps import step_record

NO_NOISE = dict.fromkeys(("R_se", "D_se", "C_se"), 0.0)
START = Reading(
    replica="settled",
    split=Split.TRAIN,
    point=Point(lam=1.0, gamma=4.0),
    update=0,
    R=5.0,
    D=20.0,
    C=0.1,
    accuracy=0.9,
    **NO_NOISE,
)
REJECTED = step_record(1, accepted=False, reason="drift")
CONFIG = configure(tolerance=0.02, measure=MeasureConfig(head_draws=100))
WITH_D = (Held(D=1.0), Held(R=1.0, D=2.0), Held(D=1.0, C=1.0))


def failed_by(held: Held, value: float, error: float) -> tuple[Limit, Miss]:
    """A condition that may be off by 2 % of its size, and by how much it is."""
    return Limit(held=held, allowed=0.02 * held.scale(START)), Miss(value=value, error=error, tolerance=0.02)


def told(held: Held, value: float, error: float) -> str | None:
    limit, miss = failed_by(held, value, error)
    text = told_by_draws(CONFIG, REJECTED, START, (limit,), (miss,))
    return None if text is None else in_shell_words(text)


def test_the_draws_that_are_named_let_the_same_miss_pass() -> None:
    text = str(told(LOSS, 0.012, 0.004))
    draws = int(text.split("--measure.head-draws ")[1].split()[0])
    assert draws == 400
    assert Miss(value=0.012, error=0.004 * math.sqrt(100 / draws), tolerance=0.02).passes
    assert "--tolerance 0.028 or more" in text


def test_draws_are_not_named_where_they_change_nothing() -> None:
    for held in WITH_D:
        assert "head-draws" not in str(told(held, 0.012, 0.004))
        assert "--tolerance 0.028 or more, and another --out" in str(told(held, 0.012, 0.004))
    assert "head-draws" not in str(told(LOSS, 0.021, 0.004))  # the miss itself is too large


def test_nothing_is_told_where_nothing_failed_or_more_draws_would_show_the_same() -> None:
    assert told(LOSS, 0.012, 0.001) is None
    assert told(LOSS, 0.2, 0.001) is None
    assert told_by_draws(CONFIG, REJECTED, START, (), ()) is None


@pytest.mark.parametrize("held", [LOSS, *WITH_D])
@pytest.mark.parametrize("reason", ["drift", "settle_range"])
@pytest.mark.parametrize(("value", "error"), [(0.012, 0.004), (-0.021, 0.001), (0.3, 0.01)])
def test_the_tolerance_that_is_named_lets_the_same_step_pass_and_is_wider_than_the_given_one(
    held: Held, reason: str, value: float, error: float
) -> None:
    limit, miss = failed_by(held, value, error)
    text = in_shell_words(why_failed(CONFIG, step_record(1, accepted=False, reason=reason), START, (limit,), (miss,)))
    wanted = float(text.split("--tolerance ")[1].split()[0].strip(","))
    assert wanted > 0.02 and dataclasses.replace(miss, tolerance=wanted).passes
    assert f"off by {100 * value:+.2g} +- {100 * error:.2g} %" in text


def test_a_floor_that_failed_is_named_and_not_the_tolerance() -> None:
    """C0 is 0.1 nats: a floor of 0.01 is 10 % of it, and wider than 2 %."""
    config = configure(tolerance=0.02, tolerance_floor=0.01)
    limit, miss = Limit(held=LOSS, allowed=0.01), Miss(value=0.12, error=0.01, tolerance=0.1)
    text = in_shell_words(why_failed(config, REJECTED, START, (limit,), (miss,)))
    assert "C is off by +12 +- 1 %" in text and "--tolerance-floor 0.016 or more" in text
    assert dataclasses.replace(miss, tolerance=0.016 / START.C).passes


@pytest.mark.parametrize("reason", ["not_equilibrated", "nonfinite"])
def test_a_training_that_failed_is_told_of_the_training(reason: str) -> None:
    text = in_shell_words(why_failed(CONFIG, step_record(1, accepted=False, reason=reason), START))
    assert "--equilibration.learning-rate" in text and "tolerance" not in text


def test_of_two_conditions_only_the_one_that_failed_is_told() -> None:
    """A geodesic at t > 0 whose C is where it was, and which is off its line by more than draws explain."""
    config = configure(
        process="geodesic", stencil="paper", lam=(2.0,), gamma=(8.0,), tolerance=0.02, path=PathConfig(target="mnist:5-9")
    )
    line = Held(D=1.0, R=-0.5)
    limits, scale = (Limit(held=LOSS, allowed=0.02 * START.C), Limit(held=line, allowed=0.1)), line.scale(START)
    misses = (
        Miss(value=0.001, error=0.001, tolerance=0.02),
        Miss(value=0.3 / scale, error=0.01 / scale, tolerance=0.1 / scale),
    )
    text = in_shell_words(why_failed(config, REJECTED, START, limits, misses))
    assert text.startswith(
        "the distance from the line is off by +15 +- 0.5 %, and may be by 5 %; give more --equilibration.epochs"
    )
    assert "C is off" not in text
    assert "--k 0.5, whose line is kept to --tolerance of D, or --process constant-rate" in text  # 0.34 of D = 20: 1.7 %


def test_a_geodesic_off_its_line_is_told_of_the_line(tmp_path: Path) -> None:
    """C passes; the line is missed by 4 +- 1 % of its length, of which it may be 5 %."""
    backend = AnalyticBackend(SURFACE)
    options = {"process": "geodesic", "tolerance": 0.01, "steps": 1}
    (start, step), _ = transfer(tmp_path, backend, **options)
    length = line_length(start.lam, start.end_R - start.R, start.end_D - start.D)
    nats = length * math.hypot(1.0, start.lam * start.k) / start.lam
    values = {"held_drift": 0.001, "held_drift_se": 0.0001, "line_miss": 0.04 * nats, "line_miss_se": 0.01 * nats}
    rejected = dataclasses.replace(step, accepted=False, reason="drift", step_length=1e-9, next_step_length=1e-9, **values)
    config, store = configure(lam=(2.0,), gamma=(8.0,), stencil="paper", **options), Store(str(tmp_path))
    (place,) = config.trajectories().values()
    stuck = Trajectory(config, place, [start, rejected], state=store.state(start), carry=store.carry(start))
    with pytest.raises(WalkFailed, match=r"the distance from the line is off by \+4 \+- 1 %, .*") as failed:
        attempted(stuck, backend)
    text = in_shell_words(failed.value.text)
    assert f"give --k {start.k:.4g}, whose line is kept to --tolerance of D, with --tolerance" in text
    assert "or --process constant-rate, and another --out" in text and "head-draws" not in text


def test_a_seek_without_C_is_not_told_of_head_draws(tmp_path: Path) -> None:
    wanted = (f"R={A.R(0.3, 4.0)!r}", f"D={A.D(0.3, 4.0)!r}")
    options = {"seek": wanted, "tolerance": 0.02, "lam": (0.25,), "gamma": (4.0,), "steps": 1}
    (start, step), _ = walk(tmp_path, AnalyticBackend(A), **options)
    values = {
        "R": A.R(0.3, 4.0),
        "D": 1.01 * A.D(0.3, 4.0),
        "D_se": 0.01 * A.D(0.3, 4.0),
        "held_drift": 0.01,
        "held_drift_se": 0.01,
    }
    rejected = dataclasses.replace(step, accepted=False, reason="not_nearer", next_step_length=1e-9, **values)
    config, store = configure(**options), Store(str(tmp_path))
    (place,) = config.trajectories().values()
    stuck = Trajectory(config, place, [start, rejected], state=store.state(start), carry=store.carry(start))
    with pytest.raises(WalkFailed, match=r"off by \+1 \+- 1 %, .* give tolerance=0.05\d? or more, and another out"):
        attempted(stuck, AnalyticBackend(A))
