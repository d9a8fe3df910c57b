"""The envelope of a walk's models: the excess over it."""

import pytest

from analytic_walks import A, walk
from rayfe.backend.analytic import AnalyticBackend


def test_a_lag_shows_as_excess_over_earlier_models_only_if_they_are_better(tmp_path):
    rows, _ = walk(tmp_path / "exact", AnalyticBackend(A))
    assert max(row.excess for row in rows) == pytest.approx(0.0, abs=1e-12)
