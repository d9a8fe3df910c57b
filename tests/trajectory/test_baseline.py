"""Training on the target instead of a transfer: rows like a walk's, multipliers that never move."""

import math

import pytest

from analytic_walks import SURFACE, transfer
from rayfe.backend.analytic import AnalyticBackend


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
