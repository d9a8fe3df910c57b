"""Dimensions of z along a walk: events where they should be, thresholds from synthetic rows, and what older rows give."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rayfe.figures.drawing import png
from rayfe.figures.walks import dimensions
from rayfe.records import StepRecord
from rayfe.report.charts import dimensions as chart
from rayfe.report.plots import series_of
from rayfe.results.dimensions import dimension_events, rates_of, thresholds
from rayfe.storage.parquet import table_of
from stored_steps import step_record


def rows_of(lam: list[float], rates: list[tuple[float, ...] | None]) -> pd.DataFrame:
    records = [
        step_record(step, lam=at, gamma=0.0, R_dims=read, R=1.0, D=1.0, C=1.0, F=2.0)
        for step, (at, read) in enumerate(zip(lam, rates, strict=True))
    ]
    return table_of(records, StepRecord).to_pandas()


def test_a_dimension_comes_in_and_goes_out_between_rows_at_its_lam() -> None:
    events = dimension_events(rows_of([1.0, 2.0, 4.0], [(0.5, 0.0), (0.5, 0.02), (0.5, 0.0)]))
    assert events[["step", "dimension", "event"]].to_numpy().tolist() == [[1, 1, "in"], [2, 1, "out"]]
    assert events["lam"].to_numpy() == pytest.approx([2**0.5, 2**1.5])


def test_rejected_attempts_and_rows_without_rates_make_no_event() -> None:
    rows = rows_of([1.0, 2.0, 3.0], [(0.0,), (0.5,), (0.5,)])
    rows.loc[1, "accepted"] = False
    assert dimension_events(rows)["step"].tolist() == [2]
    assert dimension_events(rows_of([1.0, 2.0, 3.0], [(0.0,), None, (0.5,)])).empty
    assert dimension_events(rows_of([1.0, 2.0], [None, None])).empty


def test_thresholds_of_water_filling_are_found_from_noisy_rows() -> None:
    begins, lam = np.array([0.5, 0.8, 1.3]), np.geomspace(0.4, 6.0, 30)
    noise = 1.0 + 0.01 * np.random.default_rng(0).standard_normal((30, 3))
    rates = np.maximum(0.5 * np.log(lam[:, None] / begins), 0.0) * noise
    order = [2, 0, 1]
    found = thresholds(rows_of(lam.tolist(), [tuple(row[order]) for row in rates]))
    assert found["lam"].to_numpy() == pytest.approx(begins, rel=0.01)
    assert found["dimension"].tolist() == [1, 2, 0]
    assert (found["rows"] >= 3).all()


def test_rows_of_an_older_version_have_no_rates() -> None:
    rows = rows_of([1.0, 2.0], [(0.1,), (0.2,)]).drop(columns="R_dims")
    assert rates_of(rows).shape == (2, 0)
    assert dimension_events(rows).empty
    assert thresholds(rows).empty
    assert dimension_events(pd.DataFrame()).empty


def test_figure_and_panel_show_a_line_a_dimension_and_its_events() -> None:
    rows = rows_of([1.0, 2.0, 4.0], [(0.5, 0.0), (0.7, 0.2), (0.9, 0.4)])
    axes = dimensions(rows).axes[0]
    assert [len(line.get_xdata()) for line in axes.get_lines()] == [3, 3, 1, 0]
    assert png(dimensions(rows)) == png(dimensions(rows))
    shown = chart(rows, series_of(rows))
    assert [trace["mode"] for trace in shown.data] == ["lines+markers", "lines+markers", "markers"]
    assert shown.data[1]["y"] == [0.0, 0.2, 0.4]
    assert shown.data[2]["text"] == ["dimension 1 in"]
