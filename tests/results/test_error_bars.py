"""The noise of steps, that of training in it: unbiased on noise alone, and their coverage on noisy walks of a known surface."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest

from rayfe import error_bars
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import RunConfig, StencilConfig, configure
from rayfe.results.error_bars import NORMAL
from rayfe.results.walk_summary import summarize, verdict
from rayfe.surface.closed_form import PowerSurface
from rayfe.surface.local_fit import scatter
from rayfe.trajectory.driver import attempted
from rayfe.trajectory.trajectory import Trajectory

SURFACE = PowerSurface(kappa=10.0, a=1 / 3, b=1 / 3)
CONFIG = configure(
    step_length=0.25,
    refresh=1,
    tolerance=0.05,
    neighbours=StencilConfig(gamma_delta=0.1),
    seed=tuple(range(500)),
)
NOISE = 0.01


def walk(backend: AnalyticBackend, config: RunConfig, seed: int) -> pd.DataFrame:
    """Rows of one walk, in memory."""
    trajectory = Trajectory(config, next(s for s in config.trajectories().values() if s.seed == seed), [], state=None, carry={})
    while trajectory.finished is None:
        commit = attempted(trajectory, backend)
        trajectory.committed(commit.record, commit)
    return pd.DataFrame([dataclasses.asdict(row) for row in trajectory.rows])


@functools.cache
def noisy_walks() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The steps after the start of 500 walks with training noise, and their bars."""
    backend = AnalyticBackend(SURFACE, training_noise=NOISE)
    walks = [walk(backend, configure(CONFIG, seed=(seed,)), seed) for seed in range(500)]
    rows = pd.concat(walks, ignore_index=True)
    after = rows[rows["accepted"] & (rows["step"] > 0)]
    return after, error_bars(rows).loc[after.index]


def truth(row: pd.Series, name: str) -> float:
    """The surface's own value at the row's lam and the C that its walk holds; C before the settle: where it was trained."""
    if name == "C_before_settle":
        return SURFACE.C(row["lam"], row["gamma"] - row["settle_shift"])
    gamma = SURFACE.gamma_on_iso_c(row["lam"], row["C_target"])
    return gamma if name == "gamma" else getattr(SURFACE, name)(row["lam"], gamma)


@pytest.mark.parametrize("name", ["gamma", "D", "R", "C_before_settle", "C_gamma"])
def test_bars_cover_the_surface_as_often_as_they_say(name: str) -> None:
    """500 walks with training noise: two-sided 95 % bars contain the noise-free value in 90 to 98 % of the steps."""
    rows, bars = noisy_walks()
    off = np.abs(rows[name] - rows.apply(truth, axis=1, name=name)) / bars[f"{name}_noise_se"]
    assert np.isfinite(off).all()
    assert rows["trajectory"].nunique() == 500
    assert 0.90 <= np.mean(off <= NORMAL) <= 0.98, np.mean(off <= NORMAL)


def test_errors_of_the_draws_alone_cover_almost_nothing_of_it() -> None:
    rows, _ = noisy_walks()
    off = np.abs(rows["D"] - rows.apply(truth, axis=1, name="D"))
    assert np.mean(off <= NORMAL * rows["D_se"]) < 0.1


@pytest.mark.parametrize("n", [5, 6, 9, 25])
def test_the_scatter_of_noise_on_a_quadratic_is_unbiased(n: int) -> None:
    rng, x = np.random.default_rng(0), np.cumsum(np.random.default_rng(1).uniform(0.5, 2.0, n))
    curve = 3.0 - 2.0 * x + 0.3 * x**2
    found = [scatter(x, curve + 0.2 * rng.standard_normal(n)) for _ in range(1500)]
    squares = np.array([one.sd**2 for one in found])
    assert squares.mean() == pytest.approx(0.04, abs=4 * squares.std() / np.sqrt(1500))
    freedom = found[0].freedom
    assert squares.var() / squares.mean() ** 2 == pytest.approx(2.0 / freedom, rel=0.2)
    assert scatter(x, curve).sd == pytest.approx(0.0, abs=1e-5)


def test_too_few_values_have_no_bar() -> None:
    assert np.isnan(scatter(np.arange(4.0), np.zeros(4)).sd)
    rows = walk(AnalyticBackend(SURFACE), configure(CONFIG, steps=2, seed=(0,)), 0)
    assert error_bars(rows).isna().all(axis=None)


def test_the_curve_of_an_exact_walk_is_hardly_noise() -> None:
    """What bends beyond a quadratic within seven steps of 0.25 in log lam is a few thousandths of the value at most."""
    rows = walk(AnalyticBackend(SURFACE), configure(CONFIG, seed=(0,), tolerance=1e-3), 0)
    bars = error_bars(rows)
    for name in ("gamma", "D", "R"):
        assert (bars[f"{name}_training_se"].dropna() < 2e-3 * rows[name].max()).all()


@pytest.mark.parametrize("sign", [{"kind": "renewal"}, {"kind": "leap"}])
def test_a_renewal_begins_another_curve_and_does_not_widen_the_bars(sign: dict[str, str]) -> None:
    rows = walk(AnalyticBackend(SURFACE), configure(CONFIG, seed=(0,)), 0)
    half = len(rows) // 2
    jumped = rows.copy()
    jumped.loc[half:, ["D", "gamma"]] += [-5.0, 3.0]
    jumped.loc[half, list(sign)] = list(sign.values())
    for name in ("D", "gamma"):
        assert error_bars(jumped)[f"{name}_training_se"].max() < 0.02 * rows[name].max()


def test_bars_add_the_draws_and_leave_out_what_was_rejected() -> None:
    rows = walk(AnalyticBackend(SURFACE, training_noise=NOISE, noise=1e-3), configure(CONFIG, seed=(3,)), 3)
    rejected = pd.DataFrame([rows.iloc[-1].to_dict() | {"accepted": False, "D": 1e6, "step": 99}])
    bars = error_bars(pd.concat([rows, rejected], ignore_index=True))
    both = np.hypot(bars["D_training_se"], rows["D_se"])
    np.testing.assert_allclose(bars["D_noise_se"].iloc[:-1], both.iloc[:-1])
    assert bars.iloc[-1].isna().all()
    assert error_bars(pd.DataFrame(columns=rows.columns)).empty


def test_a_summary_says_the_error_of_the_draws_and_that_it_is_no_more() -> None:
    rows = walk(AnalyticBackend(SURFACE, training_noise=NOISE, noise=1e-3), configure(CONFIG, seed=(3,)), 3)
    line = summarize(rows, 0.05).iloc[0]
    assert line["D_se_end"] == rows["D_se"].iloc[-1] > 0.0
    assert f"-> {line['D_end']:#.3g} (± {line['D_se_end']:.1g} by the draws of z alone) while R" in verdict(line)


def test_the_noise_of_steps_does_not_hold_what_a_branch_does() -> None:
    """Why it is no error of D: every other model of a second way is 10 % lower, and its noise is what it was."""
    rows = walk(AnalyticBackend(SURFACE, training_noise=NOISE), configure(CONFIG, seed=(0,)), 0)
    moved = rows.assign(D=0.9 * rows["D"])
    noise = error_bars(moved)["D_noise_se"]
    np.testing.assert_allclose(noise, 0.9 * error_bars(rows)["D_noise_se"])
    assert (0.1 * rows["D"] > 2.0 * noise).all()
