"""Training on the target instead of a transfer: rows like a walk's, multipliers that never move."""

import dataclasses
import math

import pytest

from analytic_walks import SURFACE, transfer
from rayfe.backend.analytic import AnalyticBackend
from rayfe.backend.inline import InlineBackend
from rayfe.config import DataConfig, EquilibrationConfig, MeasureConfig, ModelConfig, PathConfig, configure
from rayfe.data.paths import coupled, load_path
from rayfe.storage.store import Store
from rayfe.trajectory.driver import advance, open_trajectory


@pytest.mark.parametrize("method", ["finetune", "scratch", "joint"])
def test_a_baseline_trains_at_its_own_t_and_never_moves_the_multipliers(tmp_path, method):
    rows, end = transfer(tmp_path, AnalyticBackend(SURFACE), method=method, method_epochs=5.0)
    assert end == "trained"
    assert [row.step for row in rows] == list(range(16))
    assert {(row.lam, row.gamma, row.t) for row in rows} == {(2.0, 8.0, 0.5 if method == "joint" else 1.0)}
    assert {row.process for row in rows} == {method}
    examples = [row.examples for row in rows]
    assert examples == sorted(set(examples))
    if method == "scratch":
        assert rows[0].C_target is None
    else:
        assert rows[-1].C_target == pytest.approx(SURFACE.C(2.0, 8.0))
        assert not math.isnan(rows[0].C)


@pytest.mark.parametrize("method", ["finetune", "scratch", "joint"])
def test_a_baseline_trains_on_the_same_examples_whatever_the_path_is(tmp_path, method):
    """Joint training on images that are blends of two, with labels of both, would be something else."""
    base = configure(
        lam=(1.0,),
        process="constant-rate",
        threads=1,
        data=DataConfig(name="digits:0-4"),
        path=PathConfig(target="digits:5-9", pairing="order"),
        model=ModelConfig(hidden=16, latent=4),
        measure=MeasureConfig(head_draws=8),
        equilibration=EquilibrationConfig(first_epochs=2, epochs=1, batch=64),
    )
    rows = {}
    for kind in ("mixture", "displacement"):
        transfer = configure(base, path=dataclasses.replace(base.path, kind=kind))
        config = configure(transfer, method=method, method_epochs=2.0)
        data = coupled(load_path(config), config, lambda text: None)
        store, (start,) = Store(str(tmp_path / kind)), config.trajectories().values()
        trajectory, backend = open_trajectory(config, start, store), InlineBackend(config, data)
        while trajectory.finished is None:
            advance(trajectory, backend, store)
        rows[kind] = [dataclasses.replace(row, seconds=0.0) for row in trajectory.rows]
        both = sum(len(end.train.y) for end in (data.source, data.target) if end is not None)
    assert rows["displacement"] == rows["mixture"]
    assert (rows["mixture"][-1].read_size == both) == (method == "joint")
