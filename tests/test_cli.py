"""Command line: bad input stops before any work with one line; a run ends with rows, figures, a summary and its exit code."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rayfe
from rayfe.__main__ import main as rayfe_main
from rayfe.cli import main
from rayfe.config import EquilibrationConfig, RunConfig, UsageError, flat
from rayfe.presets import OTHER_JOB, PRESETS
from rayfe.records import Commit, StepRecord
from rayfe.store import Store

NAME = "lam1-gamma4-seed0"
DIGITS = ["digits-smoke", "--steps", "2"]
CROWD = 50


class _Terminated(BaseException):
    pass


@pytest.fixture(autouse=True)
def signals(monkeypatch: pytest.MonkeyPatch) -> type[BaseException]:
    """`rayfe.signals` with no handler installed, so that pytest keeps its own."""
    stub = types.ModuleType("rayfe.signals")
    kind = _Terminated
    if importlib.util.find_spec("rayfe.signals"):
        from rayfe.signals import Terminated

        kind = Terminated
    stub.Terminated, stub.handle_sigterm = kind, contextlib.nullcontext
    monkeypatch.setitem(sys.modules, "rayfe.signals", stub)
    return kind


@pytest.fixture(autouse=True)
def runner(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., dict[str, str]]], None]:
    """Replaces what drives the trajectories; unless a test does, nothing may be driven."""

    def replace(run: Callable[..., dict[str, str]]) -> None:
        stub = types.ModuleType("rayfe.runner")
        stub.run, stub.gpus = run, lambda config: 0
        monkeypatch.setitem(sys.modules, "rayfe.runner", stub)

    def forbidden(*_: object) -> dict[str, str]:
        raise AssertionError("bad input got as far as the run")

    replace(forbidden)
    return replace


@pytest.fixture(autouse=True)
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], argv: list[str], field: str, out: str = "new/run") -> str:
    """Run isoc on bad input; returns its one line, after checking that nothing else happened."""
    assert main("isoc", argv if "--out" in argv else [*argv, "--out", out]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    assert field in captured.err.partition(": ")[0], captured.err
    assert "Traceback" not in captured.err
    assert not Path("new").exists()
    assert not Path("runs").exists()
    return captured.err


def flat_row(step: int, name: str, config: RunConfig) -> StepRecord:
    """A plausible row of a walk at constant C."""
    start = config.trajectories()[name]
    lam, C = start.lam * 1.1**step, 0.1
    return StepRecord(
        trajectory=name,
        step=step,
        attempt=0,
        accepted=True,
        outcome="OK",
        process="iso-classification",
        lam=lam,
        gamma=start.gamma,
        R=5.0 + step,
        D=30.0 - step,
        C=C,
        F=5.0 + step + lam * (30 - step) + start.gamma * C,
        C_se=1e-5,
        drift_se=1e-4,
        R_se=0.0,
        D_se=0.01,
        val_C=0.11,
        val_accuracy=0.95,
        C_target=C,
        examples=100.0 * step,
        seconds=10.0 * (step + 1),
        seed=start.seed,
    )


def model_weights(config: RunConfig, store: Store) -> dict[str, np.ndarray]:
    from rayfe.equilibrate.replicas import weights_of
    from rayfe.model.protocol import build

    run = store.read_config()
    model = build(config.model, input_shape=(int(np.prod(run["input_shape"])),), classes=run["classes"], seed=3)
    return dict(weights_of(model))


def walk(config: RunConfig, dataset: object, store: Store, progress: Any) -> dict[str, str]:
    """Commits the rows that are missing, without any training."""
    weights = model_weights(config, store)
    for name in config.trajectories():
        for step in range(len(store.rows(name)), config.steps + 1):
            commit = Commit(record=flat_row(step, name, config), readings=(), state=weights, carry=None)
            progress.row(store.commit(name, commit))
    return {}


def stored(out: str | Path) -> dict[str, Any]:
    return json.loads(Path(out, "run.json").read_text())


# --- presets --------------------------------------------------------------------------------------------------------


def test_every_preset_builds_and_the_default_is_mnist_quick() -> None:
    for presets in PRESETS.values():
        assert all(isinstance(preset(), RunConfig) for preset in presets.values())
    assert next(iter(PRESETS["isoc"])) == "mnist-quick"


def test_fig2_has_the_papers_starts_and_epochs() -> None:
    fig2 = PRESETS["isoc"]["fig2"]()
    assert fig2.gamma == (4, 6, 8, 10, 15)
    assert fig2.lam == (0.25,)
    assert (fig2.equilibration.first_epochs, fig2.equilibration.first_schedule) == (120, "step")


def test_other_jobs_presets_are_known() -> None:
    assert OTHER_JOB["fig5"] == OTHER_JOB["fig6-quick"] == "transfer"
    assert OTHER_JOB["fig2"] == "isoc"


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "field"),
    [
        (["--lam", "0"], "--lam 0"),
        (["--lam=-0.25"], "--lam -0.25"),
        (["--lam", "nan"], "--lam nan"),
        (["--lam", "inf"], "--lam inf"),
        (["--lam", "many"], "--lam many"),
        (["--lam", "3.5"], "--lam 3.5"),
        (["--gamma", "0"], "--gamma 0"),
        (["--gamma", "-4"], "--gamma -4"),
        (["--gamma", "4", "nan"], "--gamma nan"),
        (["--gamma", "4", "x"], "--gamma 4 x"),
        (["--gamma", "4,6"], "--gamma 4,6"),
        (["--gamma", "4", "4"], "--gamma 4.0 4.0"),
        (["--steps", "0"], "--steps 0"),
        (["--steps", "1.5"], "--steps 1.5"),
        (["--seed", "-1"], "--seed -1"),
        (["--seed", "0.5"], "--seed 0.5"),
        (["--step_length", "nan"], "--step-length nan"),
        (["--time-budget", "nan"], "--time-budget nan"),
        (["--time-budget", "soon"], "--time-budget soon"),
        (["--keep-states", "0"], "--keep-states 0"),
        (["--tolerance", "2"], "--tolerance 2"),
        (["--equilibration.epochs", "0"], "--equilibration.epochs 0"),
        (["--equilibration.learning-rate", "nan"], "--equilibration.learning-rate nan"),
        (["--measure.head-draws", "7"], "--measure.head-draws 7"),
        (["--model.hidden", "0"], "--model.hidden 0"),
        (["--gamma"], "--gamma (nothing)"),
        (["--lam", "--gamma", "4"], "--lam (nothing)"),
        (["--steps"], "--steps (nothing)"),
        (["--model.name"], "--model.name (nothing)"),
        (["--backend", "spark"], "--backend spark"),
        (["--process", "isothermal"], "--process isothermal"),
        (["--stencil=cubic"], "--stencil cubic"),
        (["--steps", "2", "fig2"], "--steps fig2"),
        (["--no-settle", "1"], "--no-settle 1"),
    ],
)
def test_bad_values_are_refused_by_name(capsys: pytest.CaptureFixture[str], argv: list[str], field: str) -> None:
    refused(capsys, ["--out", "new/run", *argv], field)


@pytest.mark.parametrize(
    ("argv", "field", "hint"),
    [
        (["--gama", "3"], "--gama", "did you mean --gamma?"),
        (["--batch", "3"], "--batch", "did you mean --equilibration.batch?"),
        (["--data.roto=x"], "--data.roto", "did you mean --data.root?"),
        (["--xyzzy"], "--xyzzy", "--help"),
        (["--backend", "spark"], "--backend", "inline or ray"),
        (["--seed", "0.5"], "--seed", "whole number"),
        (["digits-smok"], "PRESET digits-smok", "did you mean digits-smoke?"),
        (["xyzzy"], "PRESET xyzzy", "mnist-quick, mnist-walk, digits-smoke, fig2"),
        (["fig5"], "PRESET fig5", "jobs/transfer.py fig5"),
        (["fig6-quick"], "PRESET fig6-quick", "jobs/transfer.py"),
        (["--data.name", "mnits"], "--data.name mnits", "did you mean mnist?"),
        (["--data.name", "mnist:0-12"], "--data.name", "unknown class '10'"),
        (["--data.name", "mnist:"], "--data.name", "a class is missing"),
        (["--data.name", "mnist:3"], "--data.name", "at least two classes"),
        (["--data.name", "npz:"], "--data.name npz:", "give a file"),
        (["--data.name", "npz:none.npz"], "--data.name", "no such file"),
        (["--data.name", "fashion-mnist", "--data.root", "none"], "--data.root", "no such folder"),
        (["digits-smoke", "--model.name", "alexnet"], "--model.name alexnet", "package.module:Class"),
        (["digits-smoke", "--model.name", "no.such:Model"], "--model.name no.such:Model", "cannot be imported"),
        (["digits-smoke", "--model.name", "pathlib:Path"], "--model.name pathlib:Path", "torch.nn.Module"),
        (["digits-smoke", "--model.name", ":Net"], "--model.name :Net", "package.module:Class"),
        (["digits-smoke", "--equilibration.batch", "2000"], "--equilibration.batch 2000", "training examples"),
    ],
)
def test_messages_say_what_to_do(capsys: pytest.CaptureFixture[str], argv: list[str], field: str, hint: str) -> None:
    assert hint in refused(capsys, argv, field)


def test_every_option_that_help_names_is_checked_for_a_missing_value(capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in flat(RunConfig()).items():
        if not isinstance(value, bool) and name != "out":
            refused(capsys, ["--out", "new/run", "--" + name], "--" + name.replace("_", "-"))


def _arrays(**changes: np.ndarray | None) -> dict[str, np.ndarray]:
    x, y = np.zeros((40, 6), np.float32), np.arange(40) % 2
    arrays = {"x_train": x, "y_train": y, "x_test": x, "y_test": y} | changes
    return {name: array for name, array in arrays.items() if array is not None}


@pytest.mark.parametrize(
    "changes",
    [
        {"y_test": None},
        {"x_test": np.zeros((40, 7), np.float32)},
        {"y_train": np.arange(39) % 2},
        {"y_test": np.arange(40)},
        {"y_train": np.arange(40) % 2 - 1},
        {"x_train": np.full((40, 6), np.nan, np.float32)},
        {"x_train": np.full((40, 6), 255.0, np.float32)},
    ],
    ids=["missing", "shapes", "lengths", "label too large", "label negative", "NaN", "range"],
)
def test_a_bad_npz_is_refused(capsys: pytest.CaptureFixture[str], changes: Mapping[str, Any]) -> None:
    np.savez("own.npz", **_arrays(**changes))
    refused(capsys, ["--data.name", "npz:own.npz", "--equilibration.batch", "8"], "--data.name npz:")


def test_an_unreadable_data_root_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    refused(capsys, ["--data.name", "fashion-mnist", "--data.root", "empty"], "--data.root")


def test_out_that_is_a_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("mine")
    assert "is a file" in refused(capsys, ["--out", "file"], "--out")
    assert Path("file").read_text() == "mine"


@pytest.mark.parametrize("out", ["/proc/none/run", "xyzzy://bucket/run", ""])
def test_out_that_cannot_be_written_is_refused(capsys: pytest.CaptureFixture[str], out: str) -> None:
    refused(capsys, ["--out", out], "--out")


# --- runs -----------------------------------------------------------------------------------------------------------


def test_a_run_leaves_rows_figures_and_a_summary(capsys: pytest.CaptureFixture[str], runner: Any) -> None:
    runner(walk)
    assert main("isoc", [*DIGITS, "--out", "new/run"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert f"{NAME} step 2: lam 1.21" in captured.out
    assert "C held within 0.00 %" in captured.out
    assert "go on with the same command" in captured.out
    figures = sorted(path.name for path in Path("new/run/figures").iterdir())
    assert figures
    assert all(f"new/run/figures/{name}" in captured.out for name in figures)
    assert len(rayfe.load_run("new/run")) == 3


def test_run_json_is_complete_and_names_nothing_of_this_machine(runner: Any, cwd: Path) -> None:
    runner(walk)
    np.savez("own.npz", **_arrays())
    argv = ["digits-smoke", "--steps", "1", "--data.name", f"npz:{cwd}/own.npz", "--equilibration.batch=8", "--out", f"{cwd}/r"]
    assert main("isoc", argv) == 0
    run = stored("r")
    assert str(cwd) not in json.dumps(run)
    assert run["command"] == ("python jobs/isoc.py digits-smoke --steps 1 --data.name npz:own.npz --equilibration.batch=8")
    assert (run["job"], run["preset"], run["classes"], run["input_shape"]) == ("isoc", "digits-smoke", 2, [6])
    assert run["config"]["lam"] == [1.0]
    assert run["config"]["equilibration.batch"] == 8
    assert {"python", "torch", "ray", "numpy"} == set(run["versions"])


def test_without_out_the_run_is_in_runs(runner: Any) -> None:
    runner(walk)
    assert main("isoc", DIGITS) == 0
    assert Path("runs/digits-smoke/run.json").exists()


def test_both_spellings_of_options_and_switches_reach_the_run(runner: Any) -> None:
    seen: list[RunConfig] = []
    runner(lambda config, *_: seen.append(config) or {})
    argv = ["--lam_end", "2", "--step-length", "0.2", "--no-settle", "--no-predictor", "--gamma", "4", "6", "--backend=inline"]
    assert main("isoc", ["digits-smoke", *argv, "--equilibration.second_moment_decay", "0.9", "--out", "r"]) == 0
    (config,) = seen
    assert (config.lam_end, config.step_length, config.settle, config.predictor) == (2, 0.2, False, False)
    assert (config.gamma, config.backend, config.equilibration.second_moment_decay) == ((4, 6), "inline", 0.9)
    assert config.out == os.path.abspath("r")


def test_the_same_command_again_finishes_at_once_and_more_of_it_grows_the_run(runner: Any) -> None:
    runner(walk)
    assert main("isoc", [*DIGITS, "--out", "r"]) == 0
    rows = Path(f"r/steps/{NAME}.parquet").read_bytes()
    assert main("isoc", [*DIGITS, "--out", "r"]) == 0
    assert Path(f"r/steps/{NAME}.parquet").read_bytes() == rows
    assert main("isoc", ["digits-smoke", "--steps", "3", "--gamma", "6", "--seed", "1", "--out", "r"]) == 0
    config = stored("r")["config"]
    assert (config["steps"], config["gamma"], config["seed"], config["lam"]) == (3, [4.0, 6.0], [0, 1], [1.0])
    assert main("isoc", ["digits-smoke", "--steps", "1", "--out", "r"]) == 0
    assert stored("r")["config"]["steps"] == 3
    assert sorted(set(rayfe.load_run("r")["trajectory"])) == [NAME, "lam1-gamma6-seed1"]


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--lam-end", "2"], "--lam-end 2.0: the stored run has 3.5; use another --out, or give --lam-end 3.5"),
        (["--no-settle"], "--settle False: the stored run has True; use another --out, or give --settle"),
        (
            ["--equilibration.no-carry-preconditioner"],
            "--equilibration.carry-preconditioner False: the stored run has True; "
            "use another --out, or give --equilibration.carry-preconditioner",
        ),
        (["--data.name", "digits:0-4"], "--data.name digits:0-4: the stored run has digits; "),
    ],
)
def test_another_configuration_is_refused_by_field(
    capsys: pytest.CaptureFixture[str], runner: Any, argv: list[str], line: str
) -> None:
    runner(walk)
    assert main("isoc", [*DIGITS, "--out", "r"]) == 0
    before = Path("r/run.json").read_bytes()
    capsys.readouterr()
    assert main("isoc", [*DIGITS, *argv, "--out", "r"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(line)
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert Path("r/run.json").read_bytes() == before


def test_backend_and_budgets_may_change(runner: Any) -> None:
    runner(walk)
    assert main("isoc", [*DIGITS, "--out", "r"]) == 0
    changes = ["--backend", "inline", "--time-budget", "60", "--keep-states", "last", "--evaluators", "1"]
    assert main("isoc", [*DIGITS, *changes, "--out", "r"]) == 0


def test_a_data_file_that_changed_is_refused(capsys: pytest.CaptureFixture[str], runner: Any) -> None:
    runner(walk)
    argv = ["digits-smoke", "--steps", "1", "--data.name", "npz:own.npz", "--equilibration.batch", "8", "--out", "r"]
    np.savez("own.npz", **_arrays())
    assert main("isoc", argv) == 0
    np.savez("own.npz", **_arrays(x_train=np.ones((40, 6), np.float32)))
    capsys.readouterr()
    assert main("isoc", argv) == 2
    assert capsys.readouterr().err.startswith("--data.name npz:")


def test_a_damaged_run_json_is_refused_not_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    Path("r").mkdir()
    Path("r/run.json").write_text("{")
    assert "cannot be read" in refused(capsys, [*DIGITS, "--out", "r"], "--out")
    assert Path("r/run.json").read_text() == "{"


def test_a_failed_trajectory_is_named_and_exits_1(capsys: pytest.CaptureFixture[str], runner: Any) -> None:
    def fails(config: RunConfig, dataset: object, store: Store, progress: Any) -> dict[str, str]:
        walk(config, dataset, store, progress)
        return {NAME: "step 3: rejected\ndown to 0.005"}

    runner(fails)
    assert main("isoc", [*DIGITS, "--out", "r"]) == 1
    captured = capsys.readouterr()
    assert captured.err == f"failed: {NAME}: step 3: rejected down to 0.005; the same command tries again\n"
    assert "figure: r/figures/" in captured.out


@pytest.mark.parametrize("interrupt", [True, False])
def test_interrupts_have_their_exit_codes_and_say_how_to_go_on(
    capsys: pytest.CaptureFixture[str], runner: Any, signals: type[BaseException], interrupt: bool
) -> None:
    def stops(*_: object) -> Iterator[None]:
        raise KeyboardInterrupt if interrupt else signals()

    runner(stops)
    assert main("isoc", [*DIGITS, "--out", "r s"]) == (130 if interrupt else 143)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.endswith("to go on: python jobs/isoc.py digits-smoke --steps 2 --out 'r s'\n")
    assert Path("r s/run.json").exists()


def test_what_only_the_backend_can_refuse_leaves_no_folder(capsys: pytest.CaptureFixture[str], runner: Any) -> None:
    def too_many(*_: object) -> dict[str, str]:
        raise UsageError("evaluators", CROWD, "this machine holds 1")

    runner(too_many)
    assert main("isoc", [*DIGITS, "--out", "new/run"]) == 2
    assert capsys.readouterr().err == "--evaluators 50: this machine holds 1\n"
    assert not Path("new").exists()
    runner(walk)
    assert main("isoc", [*DIGITS, "--out", "new/run"]) == 0
    runner(too_many)
    assert main("isoc", [*DIGITS, "--out", "new/run"]) == 2
    assert len(rayfe.load_run("new/run")) == 3


def test_help_explains_fields_and_names_presets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("isoc", ["--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "mnist-quick (default), mnist-walk, digits-smoke, fig2" in text
    for name in flat(RunConfig()):
        assert "--" + name.replace("_", "-") in text
    assert "Seeds of initial weights" in text
    assert main("isoc", ["fig2", "-h"]) == 0
    assert f"default: {EquilibrationConfig().first_epochs:g}" in capsys.readouterr().out.replace("120.0", "120")


# --- reading a run ----------------------------------------------------------------------------------------------------


def test_load_model_gives_back_the_stored_model(runner: Any) -> None:
    import torch

    runner(walk)
    assert main("isoc", [*DIGITS, "--out", "r"]) == 0
    model = rayfe.load_model("r", NAME, 2)
    assert not model.training
    x = torch.rand(5, 64)
    mean, log_variance = model.encode(x)
    assert mean.shape == log_variance.shape == (5, 8)
    assert model.decode(mean).shape == x.shape
    assert model.classify(mean).shape == (5, 10)
    expected = model_weights(PRESETS["isoc"]["digits-smoke"](), Store("r"))
    assert all(np.array_equal(expected[name], value.numpy()) for name, value in model.state_dict().items() if name in expected)
    with pytest.raises(ValueError, match="no trajectory 'lam9'.*" + NAME):
        rayfe.load_model("r", "lam9", 0)
    with pytest.raises(ValueError, match="no accepted step 7, only 0, 1, 2"):
        rayfe.load_model(Path("r"), NAME, 7)
    with pytest.raises(FileNotFoundError, match="no run at"):
        rayfe.load_model("none", NAME, 0)


def test_status_says_where_every_trajectory_stands(capsys: pytest.CaptureFixture[str], runner: Any) -> None:
    runner(lambda config, dataset, store, progress: walk(config, dataset, store, progress) if len(config.gamma) == 1 else {})
    assert main("isoc", [*DIGITS, "--out", "r"]) == 0
    assert main("isoc", ["digits-smoke", "--gamma", "4", "6", "--out", "r"]) == 0
    capsys.readouterr()
    assert rayfe_main(["status", "r"]) == 0
    text = capsys.readouterr().out
    assert f"{NAME}: at step 2 of at most 6" in text
    assert f"last: {NAME} step 2: lam" in text
    assert "lam1-gamma6-seed0: not started" in text
    assert "verdict" not in text
    assert "C held within" in text


@pytest.mark.parametrize("argv", [["status", "none"], ["status"], ["report", "r"], []])
def test_status_of_nothing_is_one_line_and_exit_2(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    assert rayfe_main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
