"""figures.py on walks along the exact iso-C line of surface A (MATH.md section 8): F = kappa lam^a gamma^b."""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from rayfe.config import configure
from rayfe.figures import book, frames, walks
from rayfe.figures.drawing import BANDS, captioned
from rayfe.figures.frames import band_of
from rayfe.figures.transfer import constraint_in_t
from rayfe.records import ReadingRecord, StepRecord
from rayfe.records.older import told
from rayfe.results.frames import level_of

A = B = 1 / 3
KAPPA = 20.0
ANALYSIS = Path(__file__).parents[2] / "analysis"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ANALYSIS.parent)}
NAMES = {
    "fig2a_rate_distortion.png",
    "fig2b_multipliers.png",
    "fig2c_validation_loss.png",
    "fig4a_equilibration.png",
    "fig4b_free_energy.png",
    "dimensions.png",
    "constraint.png",
}


def walk(*, start: float = 4.0, steps: int = 5, seed: int = 0, se: float = 1e-6) -> pd.DataFrame:
    """Rows on the exact surface from (0.25, start) to lam = 2, C constant."""
    rows = []
    for step, lam in enumerate(0.25 * 8 ** (np.arange(steps + 1) / max(steps, 1))):
        gamma = start * (lam / 0.25) ** (A / (1 - B))
        F = KAPPA * lam**A * gamma**B
        functionals = {"R": F * (1 - A - B), "D": A * F / lam, "C": B * F / gamma, "F": F}
        validation = {"val_C": 1.2 * B * F / gamma, "val_accuracy": 0.92 + 0.01 * step}
        errors = {"R_se": 0.0, "D_se": se, "C_se": se, "drift_se": se if step else 0.0}
        errors["C_target"] = B * KAPPA * 0.25**A * start ** (B - 1)
        key = {"trajectory": f"lam0.25-gamma{start:g}-seed{seed}", "step": step, "attempt": 0, "seed": seed, "accepted": True}
        cost = {"examples": float(step), "seconds": float(step), "outcome": "OK", "process": "iso-classification"}
        rows.append(StepRecord(lam=float(lam), gamma=float(gamma), **key, **functionals, **validation, **errors, **cost))
    return pd.DataFrame([dataclasses.asdict(row) for row in told(rows)])


def named_anew(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows as they are read where they were stored without `kind` and `leg`."""
    unnamed = rows.assign(kind=None, leg=None)
    return pd.DataFrame([dataclasses.asdict(row) for row in told([StepRecord(**row) for row in unnamed.to_dict("records")])])


def with_row(rows: pd.DataFrame, **changes: object) -> pd.DataFrame:
    return pd.concat([rows, pd.DataFrame([rows.iloc[-1].to_dict() | changes])], ignore_index=True)


def readings(
    *, trajectory: str = "lam0.25-gamma4-seed0", gamma: float = 4.0, attempt: int = 0, F_end: float = 14.0
) -> pd.DataFrame:
    """Probe readings of a first equilibrium, F falling to F_end, and one later equilibration that must not be drawn."""
    functionals = {"R": 1.0, "D": 1.0, "C": 1.0, "accuracy": 0.9, "R_se": 0.0, "D_se": 0.0, "C_se": 0.0}
    key = {"trajectory": trajectory, "attempt": attempt, "split": "probe", "lam": 0.25, "gamma": gamma, "t": 0.0}
    first = [
        ReadingRecord(
            step=0, replica="centre", update=update, first=True, F=F_end * (1 + 10 / (1 + update)), **key, **functionals
        )
        for update in range(0, 1000, 100)
    ]
    later = [ReadingRecord(step=1, replica="gamma+", update=0, first=False, F=99.0, **key, **functionals)]
    return pd.DataFrame([dataclasses.asdict(row) for row in first + later])


def axes_of(figure: Figure) -> Axes:
    (axes,) = figure.axes
    return axes


def lines(figure: Figure) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Data of the lines named in the legend, by label."""
    found = {str(line.get_label()): line for line in axes_of(figure).get_lines()}
    return {
        name: (np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for name, line in found.items() if name[0] != "_"
    }


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in axes_of(figure).get_legend().get_texts()]


@pytest.mark.parametrize(
    ("draw", "x", "y", "x_label", "y_label"),
    [
        (walks.rate_distortion, "R", "D", "Rate R (nats)", "Distortion D (squared error)"),
        (walks.multipliers, "lam", "gamma", "Lambda λ", "Gamma γ"),
        (walks.validation_loss, "lam", "val_C", "Lambda λ", "Loss C (nats)"),
        (walks.free_energy_of_walk, "lam", "F", "Lambda λ", "Free energy F = R + λD + γC (nats)"),
    ],
)
def test_each_trajectory_is_a_line_of_its_accepted_rows(draw, x: str, y: str, x_label: str, y_label: str):
    rows = pd.concat([walk(start=15.0), walk()], ignore_index=True)
    rows = with_row(rows, step=6, accepted=False, reason="NOT_EQUILIBRATED", R=None, D=900.0, val_C=900.0, F=900.0)
    figure = draw(rows.sample(frac=1.0, random_state=1))
    drawn = lines(figure)
    assert list(drawn) == ["(0.25, 4)", "(0.25, 15)"]
    np.testing.assert_array_equal(drawn["(0.25, 4)"], (walk()[x], walk()[y]))
    np.testing.assert_array_equal(drawn["(0.25, 15)"], (walk(start=15.0)[x], walk(start=15.0)[y]))
    assert (axes_of(figure).get_xlabel(), axes_of(figure).get_ylabel()) == (x_label, y_label)


def test_a_leap_is_a_dotted_line_without_markers_between_two_parts_of_the_walk():
    rows = walk()
    rows["step_length"] = [None, 0.4, 0.4, 0.0, 0.4, 0.4]  # the fourth row was reached by renewals, from the third one's lam
    figure = walks.multipliers(named_anew(rows))
    drawn = [line for line in axes_of(figure).get_lines() if len(line.get_xdata())]
    assert [len(line.get_xdata()) for line in drawn] == [3, 2, 3]
    leap = drawn[1]
    assert leap.get_marker() == "None" and leap.get_color() != drawn[0].get_color() == drawn[2].get_color()
    np.testing.assert_array_equal(leap.get_xdata(), rows["lam"][2:4])
    assert legend(figure) == ["(0.25, 4)", "leap"]
    rows.loc[3, "lam"] = rows.loc[2, "lam"]  # a renewal where the walk was
    assert legend(walks.multipliers(named_anew(rows))) == ["(0.25, 4)", "lowest F at each λ"]


def there_and_back() -> pd.DataFrame:
    """Five steps up in lam with F 1 % too high, the same back, and two there again."""
    up = walk(steps=4).assign(R=lambda rows: 1.05 * rows["R"])
    down, again = walk(steps=4).iloc[-2::-1], walk(steps=4).iloc[1:3]
    rows = pd.concat([up, down, again], ignore_index=True)
    return rows.assign(step=np.arange(len(rows)), step_length=0.4)


@pytest.mark.parametrize("named", [False, True])
def test_ways_of_one_walk_differ_in_colour_and_marker_and_the_lowest_lies_over_them(named: bool):
    rows = named_anew(there_and_back())
    if named:
        rows = rows.assign(leg=["there"] * 5 + ["back"] * 4 + ["there_again"] * 2, kind="step")
    figure = walks.rate_distortion(rows)
    assert legend(figure) == ["(0.25, 4)", "(0.25, 4), back", "(0.25, 4), there again", "lowest F at each λ"]
    there, back, again, lowest = axes_of(figure).get_lines()
    assert (
        len({line.get_color() for line in (there, back, again)})
        == len({line.get_marker() for line in (there, back, again)})
        == 3
    )
    assert back.get_xdata()[0] == there.get_xdata()[-1] and again.get_xdata()[0] == back.get_xdata()[-1]
    expected = walk(steps=4)["R"].to_numpy().copy()
    expected[-1] *= 1.05  # of the end there is no other row
    np.testing.assert_allclose(lowest.get_xdata(), expected)
    assert lowest.get_zorder() > max(line.get_zorder() for line in (there, back, again))


def test_a_head_names_data_model_and_the_level_of_C_and_a_foot_says_what_bars_are():
    rows = pd.concat([walk(se=1.0), walk(start=15.0, se=1.0)], ignore_index=True)
    figure = captioned(walks.rate_distortion(rows), "digits, mlp with 8 dimensions of z", rows)
    assert figure.get_suptitle().replace("\n", " ") == "digits, mlp with 8 dimensions of z, C held at 0.69, 1.67 nats"
    assert figure.get_supxlabel() == "bars: two standard errors of the draws of z alone"
    assert walks.rate_distortion(walk(se=0.0)).get_supxlabel() == ""
    assert level_of(walk().assign(process="finetune")) == ""  # its C_target is the source's, and nothing holds it


@pytest.mark.parametrize(("se", "said"), [(1e-3, BANDS), (np.nan, "")])
def test_bands_are_spoken_of_where_they_are_drawn(se: float, said: str) -> None:
    rows = walk(se=se).assign(process="constant-rate")
    rows["t"] = np.linspace(0.0, 1.0, len(rows))
    assert constraint_in_t(rows, 0.05).get_supxlabel() == said


def test_the_band_is_the_tolerance_of_the_run_or_its_floor_in_nats():
    config = configure(tolerance=0.01, tolerance_floor=1e-5)
    assert band_of(config, walk()) == 0.01
    assert band_of(config, walk().assign(C_target=2e-4)) == pytest.approx(0.05)
    assert band_of(config, walk().assign(C_target=None)) == 0.01


def test_the_legend_names_seeds_only_where_they_differ():
    assert legend(walks.multipliers(walk(seed=3))) == ["(0.25, 4)"]
    figure = walks.multipliers(pd.concat([walk(seed=0), walk(seed=3), walk(start=6.0, seed=3)], ignore_index=True))
    assert legend(figure) == ["(0.25, 4), seed 0", "(0.25, 4), seed 3", "(0.25, 6), seed 3"]
    first, second, third = axes_of(figure).get_lines()
    assert first.get_color() == second.get_color() != third.get_color()
    assert first.get_marker() != second.get_marker() == third.get_marker()


def test_more_starts_than_colours_stay_apart():
    rows = pd.concat([walk(start=float(start)) for start in range(1, 16)], ignore_index=True)
    drawn = axes_of(walks.multipliers(rows)).get_lines()
    assert len({(to_hex(line.get_color()), line.get_linestyle()) for line in drawn}) == 15


def test_error_bars_appear_only_where_visible():
    def bars(frame: pd.DataFrame) -> list[ErrorbarContainer]:
        return [item for item in axes_of(walks.rate_distortion(frame)).containers if isinstance(item, ErrorbarContainer)]

    assert bars(walk(se=1e-6)) == []
    (bar,) = bars(walk(se=1.0))
    assert (bar.has_xerr, bar.has_yerr) == (False, True)
    (segments,) = (collection.get_segments() for collection in bar.lines[2])
    np.testing.assert_allclose([segment[1, 1] - segment[0, 1] for segment in segments], 4.0)


def test_a_found_stop_is_marked_where_it_happened_and_named():
    figure = walks.multipliers(with_row(walk(), step=6, accepted=False, kind="stop", reason="gamma_zero", lam=2.02, gamma=0.5))
    (mark,) = (line for line in axes_of(figure).get_lines() if line.get_marker() == "x")
    assert (list(mark.get_xdata()), list(mark.get_ydata())) == ([2.02], [0.5])
    assert legend(figure) == ["(0.25, 4)", "stop: gamma_zero"]


def test_a_rejected_attempt_is_not_marked_as_a_stop():
    figure = walks.multipliers(with_row(walk(), step=6, accepted=False, reason="NONFINITE"))
    assert [line.get_marker() for line in axes_of(figure).get_lines()] == ["o"]


def test_validation_loss_shows_training_loss_and_the_range_of_accuracy():
    figure = walks.validation_loss(walk())
    (training,) = (line for line in axes_of(figure).get_lines() if line.get_linestyle() == "--")
    np.testing.assert_array_equal(training.get_ydata(), walk()["C"])
    assert axes_of(figure).get_title(loc="right") == "validation accuracy 92.0–97.0 %"
    assert axes_of(figure).get_ylim()[0] == 0.0
    assert legend(figure) == ["(0.25, 4)", "on training data"]


def test_equilibration_shows_the_last_attempt_at_the_first_equilibrium():
    failed = readings(F_end=50.0)
    succeeded = readings(attempt=1)
    figure = walks.free_energy_of_equilibration(pd.concat([failed, succeeded], ignore_index=True))
    update, F = lines(figure)["(0.25, 4)"]
    np.testing.assert_array_equal(update, np.arange(0, 1000, 100))
    np.testing.assert_array_equal(F, 14.0 * (1 + 10 / (1 + update)))
    assert axes_of(figure).get_yscale() == "log"


def test_equilibration_takes_seeds_from_trajectory_names():
    frame = pd.concat([readings(), readings(trajectory="lam0.25-gamma4-seed7")], ignore_index=True)
    assert legend(walks.free_energy_of_equilibration(frame)) == ["(0.25, 4), seed 0", "(0.25, 4), seed 7"]


def test_constraint_is_zero_on_the_iso_c_line_inside_the_band():
    figure = walks.constraint(walk(se=0.0), tolerance=0.005)
    lam, drift = lines(figure)["(0.25, 4)"]
    np.testing.assert_array_equal(lam, walk()["lam"])
    np.testing.assert_allclose(drift, 0.0, atol=1e-10)
    assert legend(figure) == ["(0.25, 4)", "tolerance ±0.5 %"]
    low, high = axes_of(figure).get_ylim()
    assert low <= -0.5 and high >= 0.5


def test_constraint_bars_are_two_standard_errors_of_the_ratio():
    rows = walk(se=1e-3)
    rows.loc[3, "C"] *= 1.01
    figure = walks.constraint(rows)
    assert lines(figure)["(0.25, 4)"][1][3] == pytest.approx(1.0)
    (bar,) = (item for item in axes_of(figure).containers if isinstance(item, ErrorbarContainer))
    segments = bar.lines[2][0].get_segments()
    assert segments[0][1, 1] - segments[0][0, 1] == pytest.approx(0.0, abs=1e-9)
    expected = 4 * 100 * 1e-3
    assert segments[3][1, 1] - segments[3][0, 1] == pytest.approx(expected)


@pytest.mark.parametrize("rows", [pd.DataFrame(), walk().iloc[:0], walk(steps=0), walk().assign(accepted=False, R=None)])
@pytest.mark.parametrize("curves", [pd.DataFrame(), readings().iloc[:0], readings().iloc[:1], readings().iloc[-1:]])
def test_frames_with_little_in_them_still_give_every_picture(rows: pd.DataFrame, curves: pd.DataFrame):
    drawn = {name: draw(rows, curves, 0.005) for name, draw in walks.FIGURES.items()}
    assert set(drawn) == NAMES
    for figure in drawn.values():
        axes = axes_of(figure)
        assert axes.get_lines() or "nothing stored" in [text.get_text() for text in axes.texts]


def test_columns_without_any_value_are_drawn_as_gaps():
    rows = walk().assign(val_C=None, val_accuracy=None, D_se=None, C_se=None, drift_se=None)
    assert set(book.draw_all(rows, pd.DataFrame(), tolerance=0.005)) == NAMES


def test_png_bytes_are_deterministic_and_carry_no_software_version():
    first, second = (book.draw_all(walk(se=0.01), readings(), tolerance=0.005) for _ in range(2))
    assert first == second
    assert all(data.startswith(b"\x89PNG") and b"Software" not in data for data in first.values())


def test_drawing_leaves_rows_and_pyplot_alone():
    rows, curves = walk(), readings()
    book.draw_all(rows, curves)
    pd.testing.assert_frame_equal(rows, walk())
    pd.testing.assert_frame_equal(curves, readings())
    code = "import sys, rayfe.figures.book; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, env=ENVIRONMENT).returncode == 0


def test_pooled_runs_are_labelled_by_their_folder():
    runs = {"runs/one/": walk(), "runs/two": walk()}
    rows = frames.pool(runs.__getitem__, list(runs))
    assert legend(walks.multipliers(rows)) == ["one (0.25, 4)", "two (0.25, 4)"]
    assert frames.pool(runs.__getitem__, ["runs/two"]) is runs["runs/two"]
    with pytest.raises(ValueError, match=r"runs/empty: no rows"):
        frames.pool(lambda run: pd.DataFrame(), ["runs/empty"])


@pytest.mark.parametrize("script", ["fig2.py", "fig4.py"])
def test_a_missing_run_is_one_line_on_stderr_and_exit_2(script: str, tmp_path: Path):
    command = [sys.executable, str(ANALYSIS / script), str(tmp_path / "nothing"), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=ENVIRONMENT)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.strip().splitlines()) == 1 and "nothing" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("start", "steps"), [(1.0, 1), (0.25, 5), (0.25, 12), (0.01, 20)])
def test_numbers_along_lam_do_not_touch(start: float, steps: int):
    rows = walk(steps=steps)
    rows["lam"] = start * np.exp(np.linspace(0.0, 0.13 * steps * (3 if start < 0.1 else 1), len(rows)))
    figure = walks.multipliers(rows)
    figure.canvas.draw()
    axes = axes_of(figure)
    low, high = axes.get_xlim()
    boxes = [
        label.get_window_extent()
        for x, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
        if low <= x <= high
    ]
    assert len(boxes) >= 2
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(boxes))
