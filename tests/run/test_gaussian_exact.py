"""Real training where the surface is known: walks stay near it, and rows are a function of the configuration, exact columns too."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import rayfe
from rayfe.backend.inline import InlineBackend
from rayfe.config import DataConfig, MeasureConfig, RunConfig, configure
from rayfe.config.presets import gaussian_exact
from rayfe.data.datasets import load
from rayfe.figures.walks import rate_distortion
from rayfe.records import StepRecord
from rayfe.results.dimensions import thresholds
from rayfe.results.frames import exact_curve
from rayfe.storage.store import Store
from rayfe.trajectory.driver import advance, open_trajectory


def small(**options: object) -> RunConfig:
    """The preset on a sixth of its examples, with fewer updates."""
    preset = gaussian_exact()
    equilibration = dataclasses.replace(preset.equilibration, first_epochs=200, epochs=20, batch=250, learning_rate=6e-3)
    few = {
        "data": DataConfig(name="gaussian", train_size=4000),
        "measure": MeasureConfig(head_draws=64),
        "equilibration": equilibration,
        "lam": (1.5,),
        "backend": "inline",
    }
    return configure(preset, **(few | options))


def shorter(config: RunConfig) -> RunConfig:
    """With hardly any training, where equilibrium does not matter."""
    return configure(config, equilibration=dataclasses.replace(config.equilibration, first_epochs=4, epochs=1))


def driven(config: RunConfig, folder: Path, *, begin_again: bool = False) -> list[StepRecord]:
    """All rows of a run with one trajectory; `begin_again`: each step in a process of its own."""
    (start,), store = config.trajectories().values(), Store(str(folder))
    store.create({})
    backend = InlineBackend(config, load(config.data))
    trajectory = open_trajectory(config, start, store)
    while trajectory.finished is None:
        advance(trajectory, backend, store)
        if begin_again:
            trajectory = open_trajectory(config, start, store)
    return store.rows(start.name)


def test_a_walk_at_constant_loss_is_near_the_exact_surface_row_by_row(tmp_path: Path) -> None:
    rows = [row for row in driven(small(steps=2, step_length=0.25), tmp_path) if row.accepted]
    assert len(rows) == 3
    for row in rows:
        assert None not in (row.exact_F, row.exact_R, row.exact_D, row.exact_C, row.exact_held_gamma)
        assert row.F == pytest.approx(row.exact_F, rel=1e-2)
        assert row.R == pytest.approx(row.exact_R, rel=0.06)
        assert row.D == pytest.approx(row.exact_D, rel=0.1)
        assert row.gamma == pytest.approx(row.exact_held_gamma, rel=0.1)
        assert sum(row.R_dims) == pytest.approx(row.R, rel=1e-5)
        assert row.active_dims == sum(rate > 0.01 for rate in row.R_dims)
    frame = rayfe.load_run(tmp_path)
    curve = exact_curve(frame)
    assert curve is not None
    assert curve[0] == pytest.approx(frame["exact_held_R"].to_numpy())
    lines = {line.get_label(): line for line in rate_distortion(frame).axes[0].get_lines()}
    assert lines["exact"].get_xdata() == pytest.approx(curve[0])


def test_thresholds_of_trained_rows_are_those_of_the_eigenvalues(tmp_path: Path) -> None:
    config = small(process="fixed-gamma", gamma=(0.0,), lam=(0.6,), lam_end=1.6, step_length=0.25)
    rows = driven(config, tmp_path)
    assert all(row.exact_C is None and row.exact_held_gamma is None and row.C_target is None for row in rows)
    x = load(config.data).train.x.astype(float)
    true = np.sort(0.5 / np.linalg.eigvalsh(np.cov(x.T, bias=True)))
    found = thresholds(rayfe.load_run(tmp_path))
    assert found["lam"].to_numpy()[:3] == pytest.approx(true[:3], rel=0.1)


def test_rows_and_their_exact_columns_are_equal_after_each_step_began_again(tmp_path: Path) -> None:
    config = shorter(small(process="fixed-gamma", steps=2))
    whole = driven(config, tmp_path / "whole")
    again = driven(config, tmp_path / "again", begin_again=True)
    assert [dataclasses.replace(row, seconds=0.0) for row in again] == [dataclasses.replace(row, seconds=0.0) for row in whole]
    assert whole[0].exact_held_gamma is None
    assert whole[0].exact_C is not None


def test_classifier_of_a_walk_without_labels_stays_as_it_was_made(tmp_path: Path) -> None:
    config = shorter(small(process="fixed-gamma", gamma=(0.0,), steps=1))
    driven(config, tmp_path)
    store = Store(str(tmp_path))
    first, last = (store.state(row) for row in store.rows("lam1.5-gamma0-seed0"))
    made, now = first["classifier.weight"], last["classifier.weight"]
    untouched = (made == now).all(0)  # by dimension of z; those that took something up have none left
    assert untouched.any()
    assert not now[:, ~untouched].any()
    assert not np.array_equal(first["encoder.weight"], last["encoder.weight"])
