"""What a page says and shows: surface, charts, images, failures, configuration; no place of this machine in it."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import rayfe
from rayfe.cli.command import main as main_of_rayfe
from rayfe.config import configure
from rayfe.data.paths import load_path
from rayfe.figures.styles import PALETTE
from rayfe.records import StepRecord
from rayfe.records.kinds import REJECTED, STOPS
from rayfe.report.charts import baseline_charts, walk_charts
from rayfe.report.charts_transfer import transfer_charts
from rayfe.report.failures import ENDS, REASONS, failures, reasons
from rayfe.report.images import Album, grid
from rayfe.report.keys import dark_colors, on_dark
from rayfe.report.lead import gives, take_of
from rayfe.report.page import embedded, page_of, report_of
from rayfe.report.plots import Chart, series_of
from rayfe.report.surface_chart import lower_hull
from rayfe.report.table import columns_of, lines_of
from rayfe.report.view import RunView, view_of
from rayfe.results.printed import place_of
from rayfe.results.walk_summary import verdict
from rayfe.storage.store import Store

RESULTS = Path(__file__).parents[2] / "analysis" / "results"


def frame(rows: list[StepRecord]) -> pd.DataFrame:
    return pd.DataFrame([dataclasses.asdict(row) for row in rows])


def drawn(charts: Callable[..., list[Chart]], rows: pd.DataFrame) -> list[Chart]:
    """Charts of rows that are stored nowhere."""
    view = RunView(store=Store("none"), manifest={}, config=configure(), rows=rows, readings=pd.DataFrame(), standing={})
    return charts(view, series_of(rows))


def test_lower_hull_holds_the_points_of_a_convex_surface_and_none_above_it() -> None:
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 5)))
    below = np.stack([x, y, x**2 + y**2], axis=1)
    above = below[12:13] + [0.0, 0.0, 0.5]
    used = set(lower_hull(np.concatenate([below, above])).ravel().tolist())
    assert used == set(range(25))


def test_a_line_or_a_plane_spans_no_surface() -> None:
    line = np.linspace(0, 1, 9)[:, None] * [1.0, 2.0, 3.0]
    assert len(lower_hull(line)) == 0
    assert len(lower_hull(line * [1, 0, 1])) == 0
    assert len(lower_hull(line[:3])) == 0


def test_charts_are_valid_plotly_figures(exact: Callable[..., StepRecord]) -> None:
    from plotly.graph_objects import Figure

    walks = frame([exact(step, 0.25 * 1.2**step, gamma0=gamma) for gamma in (4.0, 8.0) for step in range(5)])
    moved = {"process": "geodesic", "k": -0.4, "end_R": 5.0, "end_D": 20.0, "end_gamma": 6.0, "line_miss": 0.1, "F_t": 3.0}
    transfer = frame([exact(step, 0.25 * 1.2**step, t=step / 4, line_miss_se=0.01, **moved) for step in range(5)])
    stopped = pd.concat(
        [walks, walks.iloc[-1:].assign(step=5, accepted=False, kind="stop", reason="gamma_zero")], ignore_index=True
    )
    charts = [*drawn(walk_charts, stopped), *drawn(transfer_charts, transfer), *drawn(baseline_charts, walks)]
    assert len(charts) == 7 + 8 + 5
    for chart in charts:
        Figure(data=chart.data, layout=chart.layout)  # raises at a property that plotly.js does not know
    assert any("stop gamma_zero" in trace["name"] for chart in charts for trace in chart.data if "name" in trace)


def legs(exact: Callable[..., StepRecord]) -> pd.DataFrame:
    """A walk that leaps, comes back over two of its lam with a lower F, and goes there again."""
    lam = [0.25, 0.3, 1.0, 0.3, 0.25, 0.3]
    ways = ["there", "there", "there", "back", "back", "there_again"]
    rows = [
        exact(step, at, leg=way, kind="leap" if at == 1.0 else "step")
        for step, (at, way) in enumerate(zip(lam, ways, strict=True))
    ]
    return frame([dataclasses.replace(row, R=row.R - row.step * 0.1) for row in rows if row.R is not None])


def test_ways_of_a_walk_differ_in_colour_and_symbol_and_a_leap_is_no_gap(exact: Callable[..., StepRecord]) -> None:
    charts = {chart.name: chart for chart in drawn(walk_charts, legs(exact))}
    for name in ("rate-distortion", "multipliers", "constraint", "free-energy"):
        traces = charts[name].data
        curves = [trace for trace in traces if trace["mode"] == "lines+markers"]
        looks = {(trace["marker"]["color"], trace["marker"]["symbol"]) for trace in curves}
        assert len(looks) == 3, name
        (leap,) = (trace for trace in traces if trace["name"].endswith("leap"))
        assert leap["line"]["dash"] == "dot"
        assert all(None not in trace["x"] for trace in traces)
    lowest = [trace for trace in charts["rate-distortion"].data if "lowest F" in trace["name"]]
    assert [len(trace["x"]) for trace in lowest] == [3]
    assert charts["rate-distortion"].data.index(lowest[0]) > 3  # over the ways


def test_models_of_one_training_are_told_as_ranges_and_joined_along_one_gamma(
    exact: Callable[..., StepRecord], tmp_path: Path
) -> None:
    points = [(1.0, 4.0), (2.0, 4.0), (2.0, 8.0), (1.0, 8.0)]
    rows = frame(
        [
            exact(step, lam, process="conditioned", C_target=None, trajectory="one", R=3.0 + step % 3, D=9.0, gamma=gamma)
            for step, (lam, gamma) in enumerate(points)
        ]
    )
    config = configure(process="conditioned", lam=(1.0, 2.0), gamma=(4.0, 8.0))
    view = RunView(store=Store(tmp_path), manifest={}, config=config, rows=rows, readings=pd.DataFrame(), standing={})
    assert gives(view) == "4 models of one training, lam 1 to 2, gamma 4 to 8: R 3 to 5 nats, D 9."
    assert verdict(view.summary.iloc[0].to_dict()) == "models of one training: 4; lam 1 to 2; gamma 4 to 8; R 3 to 5; D 9"
    assert place_of(view.summary) == "over all models"
    (line,) = lines_of(view, [])
    cells = dict(zip(columns_of(view), line.cells, strict=True))
    assert [cells[name] for name in ("models", "lam", "gamma", "R", "D", "validation accuracy")] == [
        *("4", "1 to 2", "4 to 8", "3 to 5", "9", "90.0% to 91.5%")
    ]
    charts = {chart.name: chart.data for chart in walk_charts(view, series_of(rows))}
    assert [trace["y"] for trace in charts["multipliers"]] == [[4.0, 4.0], [8.0, 8.0]]
    assert [trace["x"] for trace in charts["rate-distortion"]] == [[3.0, 4.0], [3.0, 5.0]]
    (training,) = (trace["x"] for trace in charts["loss"] if trace["name"].endswith("training"))
    assert training == [1.0, 2.0, None, 1.0, 2.0]


@pytest.mark.parametrize(("charts", "column"), [(walk_charts, "lam"), (transfer_charts, "t"), (baseline_charts, "examples")])
def test_charts_along_the_way_have_the_axis_that_a_reader_asks_for(
    exact: Callable[..., StepRecord], charts: Callable[..., list[Chart]], column: str
) -> None:
    rows = frame([exact(step, 0.25 * 1.2**step, t=step / 4) for step in range(5)])
    found = {chart.name: chart for chart in drawn(charts, rows)}
    unit = 1e-6 if column == "examples" else 1.0
    for name in ("constraint", "loss", "accuracy", "free-energy"):
        np.testing.assert_allclose(found[name].data[0]["x"], unit * rows[column].to_numpy(), rtol=1e-5)
        assert "steps" not in found[name].layout["xaxis"]["title"]["text"]


@pytest.mark.parametrize(("gammas", "number"), [((4.0,), 0), ((4.0, 8.0), 0), ((4.0, 4.1, 8.0), 0), ((4.0, 8.0, 16.0), 1)])
def test_a_surface_needs_curves_at_three_levels_of_C(
    exact: Callable[..., StepRecord], gammas: tuple[float, ...], number: int
) -> None:
    rows = frame([exact(step, 0.25 * 1.2**step, gamma0=gamma) for gamma in gammas for step in range(5)])
    assert sum(chart.is_3d for chart in drawn(walk_charts, rows)) == number


def test_the_band_of_the_constraint_is_the_tolerance_of_each_trajectory(exact: Callable[..., StepRecord]) -> None:
    rows = frame([exact(step, 0.25 * 1.2**step, gamma0=gamma) for gamma in (4.0, 400.0) for step in range(3)])
    view = RunView(
        store=Store("none"),
        manifest={},
        config=configure(tolerance=0.01, tolerance_floor=0.02),
        rows=rows,
        readings=pd.DataFrame(),
        standing={},
    )
    (chart,) = (chart for chart in walk_charts(view, series_of(rows)) if chart.name == "constraint")
    levels = rows.groupby("trajectory")["C"].first()
    bands = [shape["y1"] for shape in chart.layout["shapes"] if shape["type"] == "rect"]
    np.testing.assert_allclose(bands, sorted(100.0 * np.maximum(0.01, 0.02 / levels)))


def test_colours_of_a_dark_page_stand_out_from_it() -> None:
    for color in PALETTE:
        bright, dark = (np.array([int(one[i : i + 2], 16) for i in (1, 3, 5)]) for one in (on_dark(color), "#1e2227"))
        assert (luminance(bright) + 0.05) / (luminance(dark) + 0.05) >= 4.4, color
    assert dark_colors('["#000000","rgba(0,114,178,0.2)","#ffffff"]').keys() == {"#000000", "rgba(0,114,178,"}


def luminance(rgb: np.ndarray) -> float:
    """WCAG's, by its formula."""
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in rgb / 255.0]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_page_says_what_the_run_gives_and_how_to_get_it_before_it_judges(stored_run: Callable[..., Store]) -> None:
    store = stored_run()
    view = view_of(store)
    main = page_of(view, Album().gallery(view)).main
    places = [
        main.index(text) for text in ("10 models on 2 curves", 'id="chart-rate-distortion"', 'id="take"', 'id="certificates"')
    ]
    assert places == sorted(places)
    take = take_of(view, store.url())
    assert take is not None and take.is_stored and view.recommended is not None
    model = eval(take.python, {"rayfe": rayfe})
    wanted = rayfe.load_model(store.url(), str(view.recommended["trajectory"]), int(view.recommended["step"]))
    for one, other in zip(model.parameters(), wanted.parameters(), strict=True):
        assert one.equal(other)


def test_the_line_for_a_shell_gets_the_recommended_model(stored_run: Callable[..., Store], tmp_path: Path) -> None:
    view = view_of(stored_run())
    take = take_of(view, view.store.url())
    assert take is not None
    words = shlex.split(take.shell)
    assert words[:3] == ["python", "-m", "rayfe"]
    words[words.index("--to") + 1] = str(tmp_path / "model.pt2")
    assert main_of_rayfe(words[3:]) == 0
    assert f"# Model of step {take.step}, trajectory {take.trajectory}" in (tmp_path / "model.pt2.md").read_text()


def test_every_reason_of_the_stepper_is_explained() -> None:
    assert set(REJECTED) == set(REASONS)
    assert set(STOPS) <= set(ENDS)


def test_rejected_rows_and_stops_are_listed_with_their_reason(exact: Callable[..., StepRecord]) -> None:
    rows = [exact(0, 0.25), exact(1, 0.3, accepted=False, reason="drift", C=float("nan"), C_target=None)]
    rows += [exact(1, 0.3, attempt=1), exact(2, 0.4, accepted=False, kind="stop", reason="gamma_zero")]
    listed = failures(frame(rows))
    assert [(row.step, row.attempt, row.reason, row.is_stop) for row in listed] == [
        (1, 0, "drift", False),
        (2, 0, "gamma_zero", True),
    ]
    assert listed[0].drift == "not measured"
    assert {reason.name: reason.count for reason in reasons(frame(rows))} == {"drift": 1, "gamma_zero": 1}


def test_a_rejected_step_shows_both_conditions_of_a_geodesic(exact: Callable[..., StepRecord]) -> None:
    start = exact(0, 0.25)
    off = {"accepted": False, "reason": "drift", "C": 1.001 * float(start.C_target or 0.0), "drift_se": 0.0005}
    rows = [start, exact(1, 0.3, t=0.04, line_miss=0.21, line_miss_se=0.01, **off), exact(1, 0.3, attempt=1, **off)]
    assert [row.drift for row in failures(frame(rows))] == [
        "+0.10 ± 0.05 %; off its line by +0.21 ± 0.01 in D",
        "+0.10 ± 0.05 %",
    ]
    functional = {"C_target": None, "held_drift": 0.03, "held_drift_se": 0.001, "accepted": False, "reason": "drift"}
    assert failures(frame([exact(1, 0.3, **functional)]))[0].drift == "+3.00 ± 0.1 %"


def test_grid_puts_rows_of_images_below_each_other() -> None:
    rows = [np.zeros((3, 1, 2, 2)), np.ones((3, 1, 2, 2))]
    picture = grid(rows)
    assert picture.shape == (5, 8, 1)
    assert picture[0, 0, 0] == 0 and picture[3, 0, 0] == 255 and picture[2, 0, 0] == 128


def test_frames_show_examples_reconstructions_and_samples_of_each_step(stored_run: Callable[..., Store]) -> None:
    view = view_of(stored_run())
    gallery = Album().gallery(view)
    assert gallery.why is None
    assert gallery.rows == ("x", "reconstruction", "sample")
    frames = gallery.frames["lam0.25-gamma4-seed0"]
    assert [one.step for one in frames] == [0, 1, 2, 3, 4]
    pixels = [_pixels(one.src) for one in frames]
    assert all(picture.shape == (26, 89) for picture in pixels)
    x = load_path(view.config).source.validation.x
    assert any(np.array_equal(pixels[0][:8, :8], np.round(255 * image[0]).astype(np.uint8)) for image in x)
    assert all(np.array_equal(pixels[0][:8], other[:8]) for other in pixels)  # the same examples at every step
    assert not np.array_equal(pixels[0][9:], pixels[1][9:])


def test_frames_of_a_transfer_move_from_source_to_target(stored_run: Callable[..., Store]) -> None:
    view = view_of(stored_run(transfer=True, gammas=(4.0,)))
    frames = Album().gallery(view).frames["lam0.25-gamma4-seed0"]
    data = load_path(view.config)
    assert data.target is not None
    for one, end in ((frames[0], data.source), (frames[-1], data.target)):
        shown = _pixels(one.src)[:8, :8]
        assert any(np.array_equal(shown, np.round(255 * image[0]).astype(np.uint8)) for image in end.validation.x)
    assert "t 0.5" in frames[2].caption


def test_other_data_leave_samples_only_and_say_so(stored_run: Callable[..., Store]) -> None:
    store = stored_run()
    store.create(store.read_config() | {"data_sha256": "0" * 64})
    gallery = Album().gallery(view_of(store))
    assert gallery.rows == ("sample",)
    assert gallery.why == "Only samples: the data on this machine are not those of the run."
    assert _pixels(gallery.frames["lam0.25-gamma4-seed0"][0].src).shape == (8, 89)


def test_a_damaged_weight_file_is_named_and_the_others_are_shown(stored_run: Callable[..., Store], tmp_path: Path) -> None:
    store = stored_run()
    (tmp_path / "run/states/lam0.25-gamma4-seed0/2.safetensors").write_bytes(b"nothing")
    gallery = Album().gallery(view_of(store))
    assert gallery.why is not None and "lam0.25-gamma4-seed0: its models cannot be shown (CorruptFile" in gallery.why
    assert list(gallery.frames) == ["lam0.25-gamma8-seed0"]


@pytest.mark.parametrize("name", ["mnist-walk", "mnist-walk-paper"])
def test_rows_without_weights_make_a_page_that_says_so(name: str) -> None:
    text = report_of(view_of(Store(RESULTS / name)))
    assert "No weights are stored here" in text
    assert 'id="chart-rate-distortion"' in text and "python jobs/isoc.py mnist-walk" in text


def test_page_holds_command_versions_licence_and_no_path_of_this_machine(
    stored_run: Callable[..., Store], tmp_path: Path
) -> None:
    view = view_of(stored_run())
    main = page_of(view, Album().gallery(view)).main
    assert "python jobs/isoc.py digits-smoke" in main
    assert "CC BY 4.0" in main and "torch 2" in main
    assert str(tmp_path) not in report_of(view)
    assert 'model.hidden</th><td class="text">8</td>' in main


def test_page_without_any_row_says_that_nothing_is_stored_yet(stored_run: Callable[..., Store], tmp_path: Path) -> None:
    made = stored_run()
    store = Store(tmp_path / "empty")
    store.create(made.read_config())
    assert "No step is stored yet." in report_of(view_of(store))


def test_text_of_a_run_cannot_end_a_script_or_become_markup(stored_run: Callable[..., Store]) -> None:
    store = stored_run()
    store.create(store.read_config() | {"command": "</script><img src=x onerror=alert(1)>"})
    text = report_of(view_of(store))
    assert "<img src=x" not in text
    assert embedded({"a": "</script>"}) == '{"a":"\\u003c/script>"}'


def test_nothing_in_the_page_of_ours_points_to_the_network(stored_run: Callable[..., Store]) -> None:
    from plotly.offline import get_plotlyjs

    text = report_of(view_of(stored_run())).replace(get_plotlyjs(), "")
    assert re.findall(r"https?://\S+", text) == []
    assert "default-src 'none'" in text and "connect-src 'none'" in text


def _pixels(src: str) -> np.ndarray:
    data: Any = base64.b64decode(src.removeprefix("data:image/png;base64,"))
    return np.array(Image.open(io.BytesIO(data)))


def test_a_page_says_that_its_coupling_is_missing_or_damaged(stored_run: Callable[..., Store]) -> None:
    store = stored_run(transfer=True, gammas=(4.0,), steps=2)
    view = view_of(store)
    view = dataclasses.replace(
        view, config=configure(view.config, path=dataclasses.replace(view.config.path, kind="displacement"))
    )
    path = Path(store.url()) / "couplings" / "validation.parquet"
    path.parent.mkdir()
    for damage in (lambda: None, lambda: path.write_bytes(b"no table")):
        damage()
        shown = Album().gallery(view)
        assert shown.frames and shown.rows == ("sample",)
        assert shown.why == "Only samples: the run has no whole coupling of source and target."
