"""analysis/ and the figures of transfers: numbers on made-up frames, files of runs on a closed-form surface."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import configure
from rayfe.figures import book, drawing, frames, transfer, walks
from rayfe.records import StepRecord
from rayfe.storage.store import Store, load_rows
from rayfe.surface.closed_form import MovingPowerSurface
from rayfe.trajectory.driver import advance, open_trajectory

SURFACE = MovingPowerSurface(kappa=10.0, a=0.3, b=1 / 3, kappa_t=3.0, a_t=0.1)
CONFIG = configure(lam=(2.0,), gamma=(8.0,), stencil="paper", process="geodesic", step_length=0.25)
RUNS = {
    "geodesic": CONFIG,
    "pole": configure(CONFIG, k=-0.2, step_length=0.02),
    "constant-rate": configure(CONFIG, process="constant-rate", lam_dot=-1.0, stencil="iso"),
    "finetune": configure(CONFIG, method="finetune", method_epochs=6.0),
    "scratch": configure(CONFIG, method="scratch", method_epochs=6.0),
    "joint": configure(CONFIG, method="joint", method_epochs=6.0),
    "walk": configure(lam=(0.25,), gamma=(4.0,), steps=2),
}
IN_T = {"constraint_in_t.png", "multipliers_in_t.png", "fig4a_equilibration.png"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run directories by what they hold."""
    folder = tmp_path_factory.mktemp("runs")
    for name, config in RUNS.items():
        store = Store(str(folder / name))
        (start,) = config.trajectories().values()
        trajectory = open_trajectory(config, start, store)
        while trajectory.finished is None:
            advance(trajectory, AnalyticBackend(SURFACE), store)
    return {name: str(folder / name) for name in RUNS}


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / "analysis" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def steps(process: str, *, seed: int = 0, n: int = 3, **columns: object) -> pd.DataFrame:
    """Made-up accepted rows of one trajectory; a column is a list, one value a row, or one value for all."""
    rows = []
    for step in range(n):
        own = {name: value[step] if isinstance(value, list) else value for name, value in columns.items()}
        values: dict[str, object] = {"R": 1.0, "D": 10.0 - step, "C": 0.1, "val_C": 0.2, "target_C": 0.3, "C_target": 0.1}
        values |= {"lam": 2.0, "gamma": 8.0, "drift_se": 0.001, "target_accuracy": 0.9, "val_accuracy": 0.95}
        values |= {"t": 1.0, "examples": 100.0 * (step + 1), "seconds": 1.0, "outcome": "OK", "accepted": True, "attempt": 0}
        values |= {"trajectory": f"{process}-seed{seed}", "seed": seed, "step": step, "process": process}
        rows.append(dataclasses.asdict(StepRecord(**(values | own))))  # type: ignore[arg-type]
    return pd.DataFrame(rows)


def curve(axes: Axes, label: str) -> tuple[list[float], list[float]]:
    line = next(line for line in axes.get_lines() if line.get_label() == label)
    return [float(x) for x in np.asarray(line.get_xdata())], [float(y) for y in np.asarray(line.get_ydata())]


def legend(figure: Figure) -> list[str]:
    found = figure.axes[0].get_legend()
    return [] if found is None else [text.get_text() for text in found.get_texts()]


# --- compare ------------------------------------------------------------------------------------------------------


def test_methods_are_compared_by_mean_and_standard_error_over_seeds():
    compare = script("compare")
    pooled = pd.concat(
        [steps("finetune", seed=seed, target_accuracy=accuracy) for seed, accuracy in enumerate((0.90, 0.94, 0.98))]
    )
    (line,) = compare.over_seeds(compare.trajectory_lines(pooled, None)).to_dict("records")
    assert (line["method"], line["trajectories"], line["examples"]) == ("finetune", 3, 300.0)
    assert line["target_accuracy"] == pytest.approx(0.94)
    assert line["target_accuracy_se"] == pytest.approx(0.04 / 3**0.5)
    assert (line["D"], line["val_C"], line["target_C"]) == (8.0, pytest.approx(0.2), pytest.approx(0.3))


def test_equal_examples_take_the_last_model_before_and_no_model_is_no_number():
    compare = script("compare")
    late = steps("geodesic", examples=[500.0, 600.0, 700.0])
    early = steps("scratch", C_target=None)
    lines = compare.trajectory_lines(pd.concat([late, early]), 250.0).set_index("method")
    assert lines.loc["scratch", ["examples", "D"]].to_list() == [200.0, 9.0]
    assert np.isnan(lines.loc["geodesic", "D"])
    table = compare.over_seeds(lines.reset_index()).set_index("method")
    assert table["trajectories"].to_dict() == {"geodesic": 0, "scratch": 1}
    assert np.isnan(table.loc["scratch", "D_se"])


def test_the_largest_drift_counts_the_way_up_to_the_row():
    compare = script("compare")
    rows = steps("finetune", C=[0.3, 0.11, 0.05])
    assert compare.trajectory_lines(rows, None)["largest_drift"].item() == pytest.approx(2.0)
    rows = steps("geodesic", C=[0.1, 0.11, 0.05])
    assert compare.trajectory_lines(rows, 200.0)["largest_drift"].item() == pytest.approx(0.1)
    assert np.isnan(compare.trajectory_lines(steps("scratch", C_target=None), None)["largest_drift"].item())


def test_methods_are_compared_by_default_where_the_first_of_all_trajectories_ends():
    rejected = steps("geodesic", seed=1, n=1, accepted=False, examples=50.0)
    rows = pd.concat([steps("geodesic"), steps("geodesic", seed=1, n=2), steps("scratch"), rejected])
    assert script("compare").fewest_examples(rows) == 200.0


def test_starts_are_never_averaged_and_runs_only_where_their_seeds_differ():
    compare = script("compare")
    base = steps("geodesic").assign(run="one")
    other = steps("geodesic", D=1.0).assign(run="two", trajectory="two")

    def table(*frames: pd.DataFrame) -> pd.DataFrame:
        return compare.over_seeds(compare.trajectory_lines(pd.concat(frames), None))

    assert table(base, other.assign(seed=1))["trajectories"].to_list() == [2]
    assert table(base, other)[["run", "trajectories", "D"]].values.tolist() == [["one", 1, 8.0], ["two", 1, 1.0]]
    assert table(base, other.assign(seed=1, gamma=9.0))["gamma"].to_list() == [8.0, 9.0]


def test_the_printed_table_fits_a_hundred_columns():
    compare = script("compare")
    pairs = [(gamma, seed) for gamma in range(9) for seed in (0, 1)]
    frames = [steps("finetune", seed=s, D=1.0 + s / 7, gamma=float(g), trajectory=f"{g} {s}") for g, s in pairs]
    table = compare.over_seeds(compare.trajectory_lines(pd.concat(frames), None))
    text = compare.readable(table.assign(run="a run of a long name"))
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("(2, ") == 9
    assert "1.071 ± 0.07" in text


def test_compare_prints_and_writes_a_line_a_table_and_method(runs, tmp_path: Path, capsys):
    names = ("geodesic", "constant-rate", "finetune", "scratch", "joint")
    out = tmp_path / "new" / "folder"
    assert script("compare").main(tuple(runs[name] for name in names), out) == 0
    table = pd.read_csv(out / "compare.csv")
    rows = {name: load_rows(runs[name]) for name in names}
    fewest = min(frame["examples"].max() for frame in rows.values())
    assert table["when"].unique().tolist() == ["end", f"at {fewest:.6g} examples"]
    assert table.groupby("when").size().to_list() == [5, 5]
    end = table[table["when"] == "end"].set_index("method")
    assert end.loc["geodesic", "D"] == pytest.approx(rows["geodesic"]["D"].iloc[-1], rel=1e-5)
    assert np.isnan(end.loc["scratch", "largest_drift"])
    assert "joint" in capsys.readouterr().out


# --- figures ------------------------------------------------------------------------------------------------------


def test_the_geodesic_plane_has_the_curve_the_line_through_the_start_and_the_target():
    rows = steps("geodesic", R=[1.0, 2.0, 3.0], D=[10.0, 8.1, 6.0], k=-2.0, end_R=4.0, end_D=4.5)
    (axes,) = transfer.geodesic_plane(rows).axes
    assert curve(axes, "geodesic (2, 8)") == ([1.0, 2.0, 3.0], [10.0, 8.1, 6.0])
    assert curve(axes, "_line") == ([1.0, 4.0], [10.0, 4.0])
    assert curve(axes, "_end") == ([4.0], [4.5])
    assert curve(axes, "_start") == ([1.0], [10.0])


def test_what_is_read_on_the_path_and_on_the_target_have_panels_apart():
    moved = steps("geodesic", t=[0.0, 0.5, 1.0], val_accuracy=[0.99, 0.98, 0.97], target_accuracy=[0.0, 0.5, 0.97])
    trained = pd.concat(
        [
            steps("finetune", target_accuracy=[0.1, 0.8, 0.96]),
            steps("scratch", target_accuracy=[0.1, 0.8, 0.90]),
            steps("scratch", seed=1, target_accuracy=[0.1, 0.8, 0.94]),
        ]
    )
    figure = transfer.accuracy(moved, trained)
    path, target = figure.axes
    assert path.get_xlabel().startswith("Position t") and target.get_xlabel() == "Training examples (millions)"
    assert curve(path, "geodesic (2, 8)") == ([0.0, 0.5, 1.0], pytest.approx([99.0, 98.0, 97.0]))
    assert [line.get_label() for line in path.get_lines()] == ["geodesic (2, 8)"]
    examples = (moved["examples"] / 1e6).to_list()
    assert curve(target, "_transfer") == (examples, pytest.approx([0.0, 50.0, 97.0]))
    ends = [float(np.asarray(line.get_ydata())[-1]) for line in target.get_lines() if line.get_label() == "_baseline"]
    assert ends == pytest.approx([96.0, 90.0, 94.0])
    assert legend(figure) == ["geodesic (2, 8)", "fine-tuning from the source", "training from scratch"]
    colours = [
        {line.get_color() for line in target.get_lines() if line.get_label() == name} for name in ("_transfer", "_baseline")
    ]
    assert not colours[0] & colours[1]


def test_a_transfer_has_an_arrow_at_its_end():
    (axes,) = transfer.geodesic_plane(steps("geodesic", R=[1.0, 2.0, 3.0], D=[10.0, 8.0, 6.0])).axes
    (arrow,) = (text for text in axes.texts if text.arrow_patch is not None)
    assert (tuple(arrow.xyann), tuple(arrow.xy)) == ((2.0, 8.0), (3.0, 6.0))


def test_baselines_alone_are_curves_and_unmeasured_ones_are_not_named():
    rows = pd.concat([steps("scratch"), steps("joint", target_accuracy=None, t=0.5)])
    figure = transfer.accuracy(rows.iloc[:0], rows)
    examples = (steps("scratch")["examples"] / 1e6).to_list()
    assert curve(figure.axes[0], "_baseline") == (examples, pytest.approx([90.0] * 3))
    assert legend(figure) == ["training from scratch"]


def test_a_baseline_on_the_target_falls_back_to_its_own_validation_split():
    rows = steps("finetune", target_C=None, val_C=[3.0, 1.0, 0.5])
    assert curve(transfer.loss(rows.iloc[:0], rows).axes[0], "_baseline")[1] == [3.0, 1.0, 0.5]


def test_constraints_are_drawn_against_t_in_per_cent():
    rows = steps(
        "geodesic",
        t=[0.0, 0.5, 1.0],
        C=[0.1, 0.101, 0.0995],
        D=[10.0, 9.0, 8.0],
        k=1.0,
        line_miss=[0.0, 0.04, -0.02],
        line_miss_se=0.01,
    )
    figure = transfer.constraint_in_t(rows, 0.005)
    upper, lower = figure.axes
    assert curve(upper, "geodesic (2, 8)") == ([0.0, 0.5, 1.0], pytest.approx([0.0, 1.0, -0.5]))
    assert curve(lower, "geodesic (2, 8)")[1] == pytest.approx([0.0, 2.0, -1.0])
    band = next(item for item in lower.collections if item.get_label() == "_band").get_paths()[0].get_extents()
    assert (band.y0, band.y1) == (pytest.approx(-2.0), pytest.approx(3.0))  # two standard errors of 0.5 % each
    assert legend(figure) == ["geodesic (2, 8)", "tolerance ±0.5 %"]


def test_only_geodesics_have_a_line_to_keep():
    assert len(transfer.constraint_in_t(steps("constant-rate", t=[0.0, 0.5, 1.0])).axes) == 1


def test_multipliers_are_drawn_against_t_with_the_stop(runs):
    rows = load_rows(runs["pole"])
    figure = transfer.multipliers_in_t(rows)
    accepted = rows[rows["accepted"]]
    for axes, name in zip(figure.axes, ("lam", "gamma"), strict=True):
        label = f"geodesic (2, 8), to t = {accepted['t'].iloc[-1]:.3g}"
        assert curve(axes, label) == (accepted["t"].to_list(), accepted[name].to_list())
        assert curve(axes, "_stop") == ([rows["t"].iloc[-1]], [rows[name].iloc[-1]])
    assert "stop: pole" in legend(figure)


@pytest.mark.parametrize(
    ("names", "drawn"),
    [
        (("walk",), set(walks.FIGURES)),
        (("geodesic",), set(transfer.GEODESIC) | IN_T),
        (("constant-rate",), set(transfer.CONSTANT_RATE) | IN_T),
        (("scratch", "joint"), set(transfer.BASELINE_FIGURES)),
        (("geodesic", "finetune"), set(transfer.GEODESIC) | IN_T),
        (("walk", "geodesic", "constant-rate"), {*walks.FIGURES, *transfer.GEODESIC, *transfer.CONSTANT_RATE, *IN_T}),
    ],
)
def test_the_processes_in_the_rows_choose_the_figures(runs, names: tuple[str, ...], drawn: set[str]):
    rows = frames.pool(load_rows, [runs[name] for name in names])
    assert set(book.draw_all(rows, pd.DataFrame(), tolerance=0.005)) == drawn


def test_every_figure_of_a_transfer_is_drawn_of_few_rows(runs):
    rows = load_rows(runs["geodesic"])
    for few in (rows.iloc[:0], rows.iloc[:1], rows.assign(accepted=False)):
        for draw in (*transfer.GEODESIC.values(), *transfer.CONSTANT_RATE.values(), *transfer.IN_T.values()):
            assert drawing.png(draw(few, pd.DataFrame(), 0.01)).startswith(b"\x89PNG")


# --- scripts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "run", "files"),
    [
        ("fig3", "walk", 5),
        ("fig5", "geodesic", 4),
        ("fig6", "constant-rate", 4),
    ],
)
def test_scripts_write_their_figures_and_say_where(runs, name: str, run: str, files: int, tmp_path: Path, capsys):
    more = {} if name == "fig3" else {"baselines": (runs["finetune"], runs["scratch"])}
    assert script(name).main((runs[run],), tmp_path / "out", **more) == 0
    written = {str(path) for path in (tmp_path / "out").iterdir()}
    assert len(written) == files
    assert all(Path(path).name.startswith(name) for path in written)
    assert written == set(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("name", "bad", "options", "said"),
    [
        ("fig3", "nothing", {}, "nothing"),
        ("fig5", "walk", {}, "none of transfers"),
        ("fig6", "finetune", {}, "none of transfers"),
        ("fig5", "geodesic", {"baselines": ("geodesic",)}, "none of baselines"),
        ("fig6", "nothing", {}, "nothing"),
        ("compare", "walk", {}, "no rows of transfers or baselines"),
        ("compare", "geodesic", {"examples": (0.0,)}, "must be positive"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(runs, name: str, bad: str, options: dict, said: str, tmp_path: Path, capsys):
    place = runs | {"nothing": str(tmp_path / "nothing")}
    if "baselines" in options:
        options = {"baselines": tuple(runs[run] for run in options["baselines"])}
    assert script(name).main((place[bad],), tmp_path / "out", **options) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith(f"{name}: ") and error.count("\n") == 1 and said in error
    assert not (tmp_path / "out").exists()


def test_a_run_named_twice_is_refused(runs):
    with pytest.raises(ValueError, match="named twice"):
        frames.pool(load_rows, [runs["geodesic"], runs["geodesic"] + "/"])
