"""Walks that hold several losses on a surface that is known: multipliers, losses, draws, stops, and going on after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayfe.backend.analytic_losses import AnalyticLosses
from rayfe.config import LOSSES, configure
from rayfe.exceptions import WalkFailed
from rayfe.records import StepRecord
from rayfe.storage.store import Store
from rayfe.surface.closed_form import HyperbolicSurface, LogSurface, PowerSurface
from rayfe.trajectory.driver import advance, open_trajectory

POWER = PowerSurface(kappa=10.0, a=1 / 3, b=1 / 3)
SHARES = {2: (0.3, 0.7), 4: (0.1, 0.2, 0.3, 0.4), 7: tuple(np.full(7, 1 / 7).tolist())}


def walk(folder: Path, backend: AnalyticLosses, most: int = 1000, **options: Any) -> tuple[list[StepRecord], str | None]:
    """Rows of one walk from (0.25, 4), of at most so many attempts, and how it ended; what is stored goes on."""
    config = configure(**{"process": LOSSES, "lam": (0.25,), "gamma": (4.0,), "steps": 100} | options)
    (start,) = config.trajectories().values()
    store = Store(str(folder))
    trajectory = open_trajectory(config, start, store)
    while trajectory.finished is None and len(trajectory.rows) < most:
        advance(trajectory, backend, store)
    return store.rows(start.name), trajectory.finished


@pytest.mark.parametrize("k", SHARES)
@pytest.mark.parametrize("surface", [POWER, HyperbolicSurface(c=0.3, R0=5.0)], ids=["power", "hyperbolic"])
def test_every_loss_stays_and_every_multiplier_is_that_of_the_surface(
    k: int, surface: PowerSurface | HyperbolicSurface, tmp_path: Path
) -> None:
    """The trainings of four percent of noise are what settles have to take out again."""
    backend = AnalyticLosses(surface, shares=SHARES[k], training_noise=0.01)
    rows, end = walk(tmp_path, backend, lam_end=1.0, tolerance=0.02)
    assert end == "lam_end" and all(row.lam > 0.0 for row in rows)
    accepted = [row for row in rows if row.accepted]
    assert accepted[-1].lam == 1.0
    for row in accepted:
        assert row.losses is not None and row.multipliers is not None
        np.testing.assert_allclose(row.losses, accepted[0].losses, rtol=0.02)
        assert sum(row.losses) == pytest.approx(row.C)
        paid = np.dot(row.losses, row.multipliers)
        assert row.F == pytest.approx(row.R + row.lam * row.D + paid)
        assert row.gamma == 4.0
    exact, _ = walk(tmp_path / "exact", AnalyticLosses(surface, shares=SHARES[k]), lam_end=1.0, tolerance=1e-4)
    last = [row for row in exact if row.accepted][-1]
    for loss, multiplier, share in zip(last.losses or (), last.multipliers or (), SHARES[k], strict=True):
        assert loss == pytest.approx(share * surface.C(0.25, 4.0), rel=1e-3)
        assert surface.C(1.0, multiplier) == pytest.approx(surface.C(0.25, 4.0), rel=1e-3)


@pytest.mark.parametrize("k", SHARES)
def test_a_killed_walk_goes_on_to_the_same_rows(k: int, tmp_path: Path) -> None:
    backend = AnalyticLosses(POWER, shares=SHARES[k], training_noise=0.01, noise=1e-3)
    whole, end = walk(tmp_path / "whole", backend, lam_end=0.6, tolerance=0.02)
    assert end == "lam_end"
    for attempts in range(1, len(whole)):
        parts, _ = walk(tmp_path / "parts", backend, most=attempts, lam_end=0.6, tolerance=0.02)
        assert len(parts) == attempts
    parts, _ = walk(tmp_path / "parts", backend, lam_end=0.6, tolerance=0.02)
    assert [timeless(row) for row in parts] == [timeless(row) for row in whole]


def timeless(row: StepRecord) -> dict[str, Any]:
    return {name: getattr(row, name) for name in StepRecord.__slots__ if name != "seconds"}


def test_a_loss_that_no_longer_binds_ends_the_walk_by_name(tmp_path: Path) -> None:
    """On this surface a multiplier of constant loss falls to zero on the way."""
    surface = LogSurface(a=2.0, b=3.0, p=1.0, q=0.5, r=2.0)
    rows, end = walk(tmp_path, AnalyticLosses(surface, shares=(0.5, 0.5)), lam_end=9.0)
    assert end == "gamma_zero"
    assert rows[-1].kind == "stop" and min(rows[-1].multipliers or ()) <= 0.02 * 4.0
    vanishes = (2.0 * 0.5 / surface.C(0.25, 4.0) - 1.0) / 1.0
    assert rows[-1].lam == pytest.approx(vanishes, rel=0.1)


def test_the_excess_over_other_models_counts_each_loss_by_its_own_multiplier(tmp_path: Path) -> None:
    """Models of an exact surface bound F at each other's points, and none is lower than the equilibrium itself."""
    rows, _ = walk(tmp_path, AnalyticLosses(POWER, shares=SHARES[2]), lam_end=1.0, tolerance=1e-4)
    assert max(row.excess or 0.0 for row in rows) < 1e-3
    assert max(abs(row.first_law_residual or 0.0) for row in rows) < 0.02


def test_a_tolerance_below_the_draws_is_refused_after_the_start(tmp_path: Path) -> None:
    with pytest.raises(WalkFailed, match="must fit into the tolerance"):
        walk(tmp_path, AnalyticLosses(POWER, shares=SHARES[2], noise=0.1), tolerance=1e-3)


def test_a_small_loss_may_be_off_by_the_floor(tmp_path: Path) -> None:
    """C of the first loss is 1e-4 of the second: with a floor of a tenth of it, it is judged by that."""
    shares = (1e-4, 1.0 - 1e-4)
    floor = 0.1 * shares[0] * POWER.C(0.25, 4.0)
    backend = AnalyticLosses(POWER, shares=shares, training_noise=0.005)
    rows, end = walk(tmp_path, backend, lam_end=0.6, tolerance=0.01, tolerance_floor=floor)
    assert end == "lam_end"
    accepted = [row for row in rows if row.accepted][1:]
    drifts = np.array([row.loss_drifts for row in accepted])
    assert np.abs(drifts[:, 0]).max() <= 0.1 and np.abs(drifts[:, 1]).max() <= 0.01
    worst = np.maximum(np.abs(drifts[:, 0]) / 10.0, np.abs(drifts[:, 1]))
    np.testing.assert_allclose([abs(row.held_drift or 0.0) for row in accepted], worst, rtol=1e-6)
