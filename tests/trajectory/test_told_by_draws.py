"""What is advised where a step may have failed by its draws: the option of the condition that failed, and draws only where they do it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from analytic_walks import SURFACE, A, transfer, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import MeasureConfig, RunConfig, configure
from rayfe.exceptions import WalkFailed
from rayfe.records import Held
from rayfe.storage.store import Store
from rayfe.surface.data_processes import line_length
from rayfe.surface.equivalence import Miss
from rayfe.surface.process import LOSS
from rayfe.trajectory.attainable import told_by_draws
from rayfe.trajectory.driver import attempted
from rayfe.trajectory.trajectory import Trajectory
from stored_steps import step_record

REJECTED = step_record(1, accepted=False, reason="drift")
CONFIG = configure(tolerance=0.02, measure=MeasureConfig(head_draws=100))


def told(held: Held, value: float, error: float, tolerance: float = 0.02, config: RunConfig = CONFIG) -> str | None:
    return told_by_draws(config, REJECTED, (held,), (Miss(value=value, error=error, tolerance=tolerance),))


def test_the_draws_that_are_named_let_the_same_miss_pass() -> None:
    text = str(told(LOSS, 0.012, 0.004))
    draws = int(text.split("--measure.head-draws ")[1].split()[0])
    assert draws == 400
    assert Miss(value=0.012, error=0.004 * math.sqrt(100 / draws), tolerance=0.02).passes
    assert "--tolerance 0.028 or more" in text


def test_draws_are_not_named_where_they_change_nothing() -> None:
    for held in (Held(D=1.0), Held(R=1.0, D=2.0), Held(D=1.0, C=1.0)):
        assert "head-draws" not in str(told(held, 0.012, 0.004))
        assert "--tolerance 0.028 or more, and another --out" in str(told(held, 0.012, 0.004))
    assert "head-draws" not in str(told(LOSS, 0.021, 0.004))  # the miss itself is too large


def test_nothing_is_told_where_nothing_failed_or_more_draws_would_show_the_same() -> None:
    assert told(LOSS, 0.012, 0.001) is None
    assert told(LOSS, 0.2, 0.001) is None
    assert told_by_draws(CONFIG, REJECTED, (LOSS,), ()) is None


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
    with pytest.raises(WalkFailed, match=r"\(the distance from the line is off by \+4 \+- 1 %, .*") as failed:
        attempted(stuck, backend)
    assert "give --k, whose line is kept to --tolerance of D, or --process constant-rate, and another --out" in str(
        failed.value
    )
    assert "head-draws" not in str(failed.value)


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
    with pytest.raises(WalkFailed, match=r"off by \+1 \+- 1 %, .* give --tolerance 0.05\d? or more, and another --out"):
        attempted(stuck, AnalyticBackend(A))
