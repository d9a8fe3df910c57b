"""analysis/retrace.py: forward and back at equal lam bracket the surface, by as much as the walk lags."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path

import pytest

from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import configure
from rayfe.storage.store import Store
from rayfe.surface.closed_form import HyperbolicSurface, PowerSurface
from rayfe.trajectory.driver import advance, open_trajectory

spec = importlib.util.spec_from_file_location("retrace", Path(__file__).parents[2] / "analysis" / "retrace.py")
assert spec is not None and spec.loader is not None
script = importlib.util.module_from_spec(spec)
sys.modules["retrace"] = script  # dataclasses look their module up
spec.loader.exec_module(script)

SURFACES = [PowerSurface(kappa=10.0, a=1 / 3, b=1 / 3), HyperbolicSurface(c=0.3, R0=1.0)]
# no predictor: it takes the steady lag away
CONFIG = configure(steps=12, predictor=False, tolerance=1e-3, refresh=1)


def retraced(folder, backend, config=CONFIG, back=3):
    """The loop at the end of a walk, and the walk's rows."""
    (start,) = config.trajectories().values()
    store = Store(str(folder))
    trajectory = open_trajectory(config, start, store)
    while trajectory.finished is None:
        advance(trajectory, backend, store)
    rows = trajectory.accepted
    returned = script.retrace(backend, config, start, rows, state=store.state(rows[-1]), carry=store.carry(rows[-1]), back=back)
    return script.loop(rows, returned), rows


@pytest.mark.parametrize("surface", SURFACES, ids=["A", "B"])
def test_both_ways_bracket_the_surface_where_the_walk_lags(tmp_path, surface):
    found, rows = retraced(tmp_path, AnalyticBackend(surface, lag=0.3))
    C0 = rows[0].C
    assert list(found["step"]) == [11, 10, 9]
    for line in found.to_dict("records"):
        gamma = surface.gamma_on_iso_c(line["lam"], C0)
        for name, value in (("D", surface.D(line["lam"], gamma)), ("R", surface.R(line["lam"], gamma))):
            low, high = sorted([line[f"{name}_forward"], line[f"{name}_back"]])
            assert low < value < high
            if line["step"] < 11:  # the first step back still has a part of the lag forward
                assert abs(line[f"{name}_middle"] - value) < 0.1 * abs(line[f"{name}_half"])
                assert abs(line[f"{name}_half"]) > 0.02 * value
        # a model that lags in both multipliers alike has the gamma of its own C
        assert (line["gamma_forward"], line["gamma_back"]) == pytest.approx((gamma, gamma), rel=3e-3)
        assert abs(line["drift_back"]) < 1e-3
        assert abs(line["F_fell"]) < 0.01 * surface.F(line["lam"], gamma)


def test_a_walk_without_lag_comes_back_the_way_it_went(tmp_path):
    lagging, _ = retraced(tmp_path / "lag", AnalyticBackend(SURFACES[0], lag=0.3))
    found, _ = retraced(tmp_path / "none", AnalyticBackend(SURFACES[0]))
    for name in ("D", "R"):
        assert (found[f"{name}_half"].abs() < 0.05 * lagging[f"{name}_half"].abs().max()).all()


def test_training_noise_alone_is_within_the_error_of_the_half_width(tmp_path):
    config = configure(CONFIG, tolerance=0.05)
    off = []
    for seed in range(20):
        own = configure(config, seed=(seed,))
        found, _ = retraced(tmp_path / str(seed), AnalyticBackend(SURFACES[0], training_noise=0.01), own, back=2)
        off += (found["D_half"] / found["D_half_se"]).tolist()
    within = sum(abs(value) <= 2.0 for value in off) / len(off)
    assert 0.88 <= within <= 1.0


def test_what_cannot_be_retraced_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 30 steps"):
        retraced(tmp_path / "short", AnalyticBackend(SURFACES[0]), back=30)
    (start,) = CONFIG.trajectories().values()
    rows = Store(str(tmp_path / "short")).rows(start.name)
    renewed = [*rows[:-1], dataclasses.replace(rows[-1], kind="renewal")]
    with pytest.raises(ValueError, match="renewal"):
        script.retrace(AnalyticBackend(SURFACES[0]), CONFIG, start, renewed, state={}, carry={}, back=2)
