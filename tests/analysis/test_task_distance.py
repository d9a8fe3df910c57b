"""The examples that fine-tuning needs, and their rank correlation, against cases that can be worked out by hand."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

spec = importlib.util.spec_from_file_location("task_distance", Path(__file__).parents[2] / "analysis" / "task_distance.py")
assert spec is not None and spec.loader is not None
script = importlib.util.module_from_spec(spec)
sys.modules["task_distance"] = script  # dataclasses look their module up
spec.loader.exec_module(script)


def test_the_need_is_where_the_line_in_log_C_crosses_the_goal():
    trained_on, C = np.array([0.0, 100.0, 200.0]), np.array([4.0, 1.0, 0.25])
    assert script.needed(trained_on, C, 0.5) == pytest.approx(150.0)
    assert script.needed(trained_on, C, 1.0) == pytest.approx(100.0)
    assert script.needed(trained_on, C, 5.0) == 0.0
    assert script.needed(trained_on, C, 0.2) == np.inf


def test_rank_correlation_is_scipys_and_has_none_where_nothing_varies():
    from scipy.stats import spearmanr

    x, y = np.random.default_rng(0).integers(0, 5, (2, 12))
    assert script.spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert np.isnan(script.spearman(np.ones(12), y))
    assert script.spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 5.0, np.inf])) == pytest.approx(1.0)


def test_classes_are_counted_by_their_numbers():
    assert script.classes_in("0-4") == {0, 1, 2, 3, 4}
    assert script.classes_in("0,2,7") == {0, 2, 7}


def rows():
    """Six splits of one data set: the need grows with the length, and lies on a line of C = exp(-examples / 100)."""
    splits = [("0-4", "5-9"), ("5-9", "0-4"), ("1-5", "6-9"), ("0-4", "1-5"), ("0-4", "2-6"), ("0-4", "3-7")]
    transfers, finetunings = [], []
    for place, (source, target) in enumerate(splits):
        for seed in (0, 1):
            split = {"data": "digits", "source": source, "target": target, "seed": seed}
            goal = np.exp(-0.5 * (place + 1)) / 1.02
            transfers.append(split | {"C_end": goal, "t_end": 1.0, "length": 1.0 + place, "ends": 2.0 - 0.1 * place})
            finetunings += [split | {"step": n, "trained_on": 100.0 * n, "C": np.exp(-float(n))} for n in range(8)]
    return pd.DataFrame(transfers), pd.DataFrame(finetunings)


def test_the_table_and_its_correlations(monkeypatch):
    monkeypatch.setattr(script, "DRAWS", 500)
    table = script.table_of(*rows())
    assert table["needed"].to_numpy() == pytest.approx([50.0, 100.0, 150.0, 200.0, 250.0, 300.0])
    assert table["new"].tolist() == [5, 5, 4, 1, 2, 3] and (table["reached"] == 2).all()
    found = script.correlations(table).set_index(["splits", "predictor"])
    assert found.loc[("all", "length"), "rho"] == pytest.approx(1.0)
    assert found.loc[("all", "from end to end"), "rho"] == pytest.approx(-1.0)
    assert found.loc[("all", "length"), "p"] < 0.02
    assert np.isnan(found.loc[("all", "C of the source's model"), "rho"])


def test_the_stored_table_is_made_of_the_stored_rows():
    stored = pd.read_csv(script.RESULTS / "table.csv")
    table = script.table_of(*(pd.read_csv(script.RESULTS / name) for name in ("transfers.csv", "finetunings.csv")))
    assert stored["needed"].to_numpy() == pytest.approx(table["needed"].to_numpy(), rel=1e-3)
    assert len(table) == 12 and (table["seeds"] == 3).all()


def test_no_two_labels_of_the_stored_figure_overlap():
    figure = script.draw(pd.read_csv(script.RESULTS / "table.csv"))
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 12
    assert [(i, j) for i, one in enumerate(boxes) for j, two in enumerate(boxes[:i]) if one.overlaps(two)] == []
