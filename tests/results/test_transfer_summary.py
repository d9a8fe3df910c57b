"""Summary, figures and tables of transfers and baselines, from rows of walks on a closed-form surface."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import RunConfig, configure
from rayfe.figures import book
from rayfe.figures import transfer as transfer_figures
from rayfe.results.printed import print_transfers
from rayfe.results.transfer_summary import summarize_transfers, verdict, warnings
from rayfe.storage.store import Store, load_rows
from rayfe.surface.closed_form import MovingPowerSurface
from rayfe.trajectory.driver import advance, open_trajectory

SURFACE = MovingPowerSurface(kappa=10.0, a=0.3, b=1 / 3, kappa_t=3.0, a_t=0.1)
CONFIG = configure(lam=(2.0,), gamma=(8.0,), stencil="paper", process="geodesic", step_length=0.1, refresh=2, seed=(0, 1))


def rows_of(folder: Path, config: RunConfig) -> pd.DataFrame:
    store = Store(str(folder))
    for start in config.trajectories().values():
        trajectory = open_trajectory(config, start, store)
        while trajectory.finished is None:
            advance(trajectory, AnalyticBackend(SURFACE, noise=1e-4), store)
    return load_rows(str(folder))


@pytest.fixture(scope="module")
def transfer(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return rows_of(tmp_path_factory.mktemp("transfer"), CONFIG)


@pytest.fixture(scope="module")
def finetune(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return rows_of(tmp_path_factory.mktemp("finetune"), configure(CONFIG, method="finetune", method_epochs=6.0))


def test_a_transfer_that_arrived_is_summed_up_by_its_numbers(transfer: pd.DataFrame) -> None:
    (first, _) = summarize_transfers(transfer, 0.005).to_dict("records")
    walk = transfer[(transfer.trajectory == first["trajectory"]) & transfer.accepted]
    way = (walk.D - walk.D.iloc[0]).abs().max()
    off = (walk.C / walk.C_target - 1).iloc[1:]
    assert first["t_end"] == 1.0
    assert first["bend_percent"] == pytest.approx(100 * walk.line_miss.abs().max() / way)
    assert first["drift_percent"] == pytest.approx(100 * off[off.abs().idxmax()])
    assert first["drift_ok"]
    assert first["closure_lam"] == pytest.approx(1.0, abs=0.05)
    assert first["closure_gamma"] == pytest.approx(1.0, abs=0.05)
    assert verdict(first).startswith("arrived; C off by up to")
    assert warnings(first) == []


def test_a_transfer_that_is_on_its_way_warns(transfer: pd.DataFrame) -> None:
    (line, _) = summarize_transfers(transfer[transfer.t < 0.6], 0.005).to_dict("records")
    assert line["t_end"] < 0.6
    assert np.isnan(line["closure_lam"])
    assert any("not arrived" in warning for warning in warnings(line))


def test_a_loss_that_is_held_on_training_data_alone_warns(transfer: pd.DataFrame) -> None:
    overfit = transfer.assign(val_C=2.0 * transfer.C)
    assert any("over-fitting" in warning for warning in warnings(summarize_transfers(overfit, 0.005).to_dict("records")[0]))


def test_a_transfer_that_does_not_end_at_the_targets_own_model_warns(transfer: pd.DataFrame) -> None:
    ends = transfer.assign(end_gamma=2.0 * transfer.end_gamma)
    (found,) = warnings(summarize_transfers(ends, 0.005).to_dict("records")[0])
    assert found.startswith("not closed: at t = 1 gamma is 0.5") and "lam" not in found.split("of the target")[0]


def test_a_slope_that_training_on_would_change_warns(transfer: pd.DataFrame) -> None:
    apart = summarize_transfers(transfer, 0.005).to_dict("records")[0]["ends_apart"]
    for part, warned in ((0.21, True), (0.19, False)):
        moved = transfer.assign(end_moved=np.where(transfer.step == 0, part * apart, np.nan))
        found = warnings(summarize_transfers(moved, 0.005).to_dict("records")[0])
        assert any("is mostly chance" in warning for warning in found) == warned


def test_a_bent_line_warns(transfer: pd.DataFrame) -> None:
    way = float(np.ptp(transfer.D.dropna()))
    bent = transfer.assign(line_miss=np.where(transfer.t > 0.5, 0.1 * way, 0.0))
    assert any("bent" in warning for warning in warnings(summarize_transfers(bent, 0.005).to_dict("records")[0]))


def test_a_baseline_has_no_line_and_no_test(finetune: pd.DataFrame) -> None:
    (line, _) = summarize_transfers(finetune, 0.005).to_dict("records")
    assert np.isnan(line["bend_percent"])
    assert line["drift_ok"] is None
    assert "on the target" in verdict(line)


def test_a_bend_has_its_error_and_k_from_the_user_no_closure(transfer: pd.DataFrame) -> None:
    (line, _) = summarize_transfers(transfer, 0.005).to_dict("records")
    walk = transfer[(transfer.trajectory == line["trajectory"]) & transfer.accepted]
    way = (walk.D - walk.D.iloc[0]).abs().max()
    worst = walk.line_miss.abs().idxmax()
    assert line["bend_se_percent"] == pytest.approx(100 * walk.line_miss_se[worst] / way)
    given = transfer.assign(end_gamma=np.nan, end_R=np.nan, end_D=np.nan)
    (line, _) = summarize_transfers(given, 0.005).to_dict("records")
    assert np.isnan(line["closure_lam"])
    assert "of the target's own" not in verdict(line)


def test_a_transfer_without_a_line_has_no_bend_and_no_warning(transfer: pd.DataFrame, recwarn: pytest.WarningsRecorder) -> None:
    free = transfer.assign(process="constant-rate", line_miss=None, line_miss_se=None, k=None, end_gamma=None)
    (line, _) = summarize_transfers(free, 0.005).to_dict("records")
    assert np.isnan(line["bend_percent"]) and np.isnan(line["closure_gamma"])
    assert "nan" not in verdict(line)
    assert warnings(line) == [] and len(recwarn) == 0


def test_a_baseline_is_off_the_sources_C_from_step_0_on(finetune: pd.DataFrame) -> None:
    rows = finetune.assign(C=np.where(finetune.step == 0, 3.0, 1.1) * finetune.C_target)
    (line, _) = summarize_transfers(rows, 0.005).to_dict("records")
    assert line["drift_percent"] == pytest.approx(200.0)
    scratch = rows.assign(process="scratch", C_target=None)
    assert "off the source's" not in verdict(summarize_transfers(scratch, 0.005).to_dict("records")[0])


def test_the_tables_fit_80_columns_with_names_whole(transfer: pd.DataFrame, finetune: pd.DataFrame) -> None:
    console = Console(width=80, record=True)
    trained = finetune.assign(trajectory="finetune/" + finetune.trajectory)
    print_transfers(summarize_transfers(pd.concat([transfer, trained]), 0.005), console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    named = {line.split()[0] for line in text.splitlines() if line.startswith(" ") and line.split()}
    assert {"lam2-gamma8-seed0", "finetune/lam2-gamma8-seed0"} <= named
    assert text.count("C/C0-1,") == 2  # one table of transfers, one of baselines


def test_every_figure_is_drawn_from_rows_alone(transfer: pd.DataFrame, finetune: pd.DataFrame) -> None:
    readings = pd.DataFrame()
    for rows, kinds in ((transfer, transfer_figures.FIGURES), (finetune, transfer_figures.BASELINE_FIGURES)):
        drawn = book.draw_all(rows, readings, tolerance=0.01, figures=kinds)
        assert drawn.keys() == kinds.keys()
        assert all(data.startswith(b"\x89PNG") for data in drawn.values())


def test_the_line_of_the_geodesic_has_its_slope_and_the_baseline_its_own_legend(
    transfer: pd.DataFrame, finetune: pd.DataFrame
) -> None:
    axes = transfer_figures.geodesic_plane(transfer).axes[0]
    (line, *_) = [line for line in axes.get_lines() if line.get_label() == "_line"]
    x, y = (np.asarray(values, float) for values in line.get_data())
    assert (y[1] - y[0]) / (x[1] - x[0]) == pytest.approx(transfer.k.dropna().iloc[0])
    legend = transfer_figures.accuracy(transfer, finetune).axes[0].get_legend()
    assert "fine-tuning from the source" in {text.get_text() for text in legend.get_texts()}


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / "analysis" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_methods_are_compared_at_their_ends_and_at_equal_examples(
    tmp_path: Path, transfer: pd.DataFrame, finetune: pd.DataFrame
) -> None:
    compare = script("compare")
    lines = compare.trajectory_lines(transfer, None)
    table = compare.over_seeds(pd.concat([lines, compare.trajectory_lines(finetune, None)])).set_index("method")
    ends = transfer[transfer.accepted].groupby("trajectory").last()
    assert table.loc["geodesic", "trajectories"] == 2
    assert table.loc["geodesic", "D"] == pytest.approx(ends.D.mean())
    assert table.loc["geodesic", "D_se"] == pytest.approx(ends.D.std(ddof=1) / 2**0.5)
    half = 0.5 * float(transfer.examples.max())
    seen = compare.trajectory_lines(transfer, half)
    assert (seen.examples <= half).all()
    assert (seen.t < 1.0).all()


@pytest.mark.parametrize("name", ["fig3", "fig5", "fig6", "compare"])
def test_scripts_refuse_what_is_no_run_in_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script(name).main((str(tmp_path / "nothing"),), tmp_path / "out") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["fig3", "fig5", "fig6"])
def test_scripts_write_their_figures(name: str, tmp_path: Path) -> None:
    rows_of(tmp_path / "run", configure(CONFIG, seed=(0,)))
    assert script(name).main((str(tmp_path / "run"),), tmp_path / "out") == 0
    assert len(list((tmp_path / "out").glob(f"{name}*.png"))) >= 2
