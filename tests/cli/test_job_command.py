"""A job from its command line: a run ends with rows, figures, a summary and its exit code, and goes on as it began."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

import rayfe
from rayfe.cli.job_command import main
from rayfe.config import RunConfig, configure
from rayfe.config.fields import hints_of
from rayfe.config.presets import PRESETS
from rayfe.config.resolve import KINDS_OF
from rayfe.exceptions import UsageError, WalkFailed
from rayfe.storage import lock_file
from rayfe.storage.store import Store
from rayfe.trajectory.driver import failure
from untrained_job import DIGITS, NAME, arrays, walk

pytestmark = pytest.mark.usefixtures("runner", "cwd")
CROWD = 50
SCREEN, WIDTH = 40, 110
"""Lines and columns of a terminal."""


def stored(out: str | Path) -> dict[str, Any]:
    return json.loads(Path(out, "run.json").read_text())


def test_a_run_leaves_rows_figures_and_a_summary(capsys: pytest.CaptureFixture[str], runner: Any) -> None:
    runner(walk)
    assert main("isoc", [*DIGITS, "--out", "new/run"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert f"{NAME} step 2: lam 1.21" in captured.out
    assert "C held, off by up to +0.00" in captured.out
    assert "go on with the same command" in captured.out
    assert list(Path("new/run/figures").iterdir()) and "figures: new/run/figures\n" in captured.out
    assert len(rayfe.load_run("new/run")) == 3


def test_run_json_is_complete_and_names_nothing_of_this_machine(runner: Any, cwd: Path) -> None:
    runner(walk)
    np.savez("own.npz", **arrays())
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


def test_a_start_of_few_updates_is_said_in_the_words_of_the_interface(capsys: pytest.CaptureFixture[str], runner: Any) -> None:
    runner(lambda *_: {})
    few = "The start is trained by 23 updates, which seldom suffice: raise "
    assert main("isoc", [*DIGITS, "--equilibration.first-epochs", "2", "--out", "r"]) == 0
    assert f"{few}--equilibration.first-epochs, or lower --equilibration.first-batch." in " ".join(
        capsys.readouterr().out.split()
    )
    rayfe.walk("digits-smoke", steps=2, equilibration={"first_epochs": 2}, out="python")
    assert f'{few}equilibration={{"first_epochs": ...}}' in " ".join(capsys.readouterr().out.split())
    assert main("isoc", [*DIGITS, "--out", "enough"]) == 0
    assert "seldom suffice" not in capsys.readouterr().out


def test_both_spellings_of_options_and_switches_reach_the_run(runner: Any) -> None:
    seen: list[RunConfig] = []
    runner(lambda config, *_: seen.append(config) or {})
    argv = ["--lam_end", "2", "--step-length", "0.2", "--no-settle", "--no-predictor", "--gamma", "4", "6", "--backend=inline"]
    assert main("isoc", ["digits-smoke", *argv, "--equilibration.second_moment_decay", "0.9", "--out", "r"]) == 0
    (config,) = seen
    assert (config.asked.lam_end, config.asked.step_length, config.asked.settle, config.asked.predictor) == (
        2,
        0.2,
        False,
        False,
    )
    assert (config.gamma, config.service.backend, config.equilibration.second_moment_decay) == ((4, 6), "inline", 0.9)
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
        (["--lam-end", "2"], "--lam-end 2: the stored run has 3.5; use another --out, or give --lam-end 3.5"),
        (["--no-settle"], "--no-settle: the stored run has True; use another --out, or give --settle"),
        (
            ["--equilibration.compile", "always"],
            "--equilibration.compile always: the stored run has never; use another --out, or give --equilibration.compile never",
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
    for changes in (["--backend", "inline"], ["--evaluators", "1", "--placement", "isolated"]):
        assert main("isoc", [*DIGITS, *changes, "--time-budget", "60", "--keep-states", "last", "--out", "r"]) == 0


def test_a_data_file_that_changed_is_refused(capsys: pytest.CaptureFixture[str], runner: Any) -> None:
    runner(walk)
    argv = ["digits-smoke", "--steps", "1", "--data.name", "npz:own.npz", "--equilibration.batch", "8", "--out", "r"]
    np.savez("own.npz", **arrays())
    assert main("isoc", argv) == 0
    np.savez("own.npz", **arrays(x_train=np.ones((40, 6), np.float32)))
    capsys.readouterr()
    assert main("isoc", argv) == 2
    assert capsys.readouterr().err.startswith("--data.name npz:")


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError("the network\nis away"), "OSError: the network is away; the same command tries again"),
        (WalkFailed("step 3: rejected\ndown to 0.005"), "WalkFailed: step 3: rejected down to 0.005"),
    ],
)
def test_a_failed_trajectory_is_named_with_what_helps_and_exits_1(
    error: Exception, advice: str, capsys: pytest.CaptureFixture[str], runner: Any
) -> None:
    """What a walk failed by follows from its rows: the same command fails in the same way."""

    def fails(config: RunConfig, dataset: object, store: Store, progress: Any) -> dict[str, str]:
        walk(config, dataset, store, progress)
        return {NAME: failure(NAME, error)}

    runner(fails)
    assert main("isoc", [*DIGITS, "--out", "r"]) == 1
    captured = capsys.readouterr()
    assert captured.err == f"failed: {NAME}: {advice}\n"
    assert "\nfigures: r/figures\n" in captured.out


def test_a_run_that_another_driver_has_taken_over_is_one_line_and_exits_1(
    capsys: pytest.CaptureFixture[str], runner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are no locks, as on an object store: the machine slept, and another went on with the run."""

    def no_locks(*_: object) -> NoReturn:
        raise OSError(errno.ENOLCK, "no locks")

    def overtaken(config: RunConfig, dataset: object, store: Store, progress: Any) -> dict[str, str]:
        walk(config, dataset, store, progress)
        Path("r/.lease/2").write_text("another driver's")
        return walk(configure(config, steps=3), dataset, store, progress)

    monkeypatch.setattr(lock_file.fcntl, "flock", no_locks)
    runner(overtaken)
    assert main("isoc", [*DIGITS, "--out", "r"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"failed: {Path.cwd()}/r is held by another driver now")
    assert error.count("\n") == 1
    assert len(rayfe.load_run("r")) == 3
    assert sorted(path.name for path in Path("r/.lease").iterdir()) == ["2"]


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


def test_help_is_one_screen_and_help_all_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("isoc", ["--help"]) == 0
    text = capsys.readouterr().out
    assert text.count("\n") <= SCREEN and max(map(len, text.splitlines())) <= WIDTH
    words = " ".join(text.split())
    assert "mnist-quick (default) The line of Fig. 2's first start on all of MNIST" in words
    assert all(f" {preset} " in words for preset in PRESETS["isoc"])
    assert "Seeds of initial weights" in words and "--stencil" not in words
    assert main("isoc", ["fig2", "-h"]) == 0
    assert "--equilibration.first-epochs (120)" in capsys.readouterr().out


@pytest.mark.parametrize("job", PRESETS)
def test_help_all_explains_every_option(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(job, ["--help-all"]) == 0
    text = capsys.readouterr().out.replace("[no-]", "")
    for kind in KINDS_OF[job]:
        for name in hints_of(kind):
            if name.startswith("path.") and name not in ("path.target", "path.pairing") and job == "baseline":
                continue  # baselines read no others
            option = "--" + name.replace("_", "-")
            (line,) = (line for line in text.splitlines() if line.startswith("  --") and line.split()[0] == option)
            index = text.splitlines().index(line)
            assert len(" ".join(text.splitlines()[index : index + 2]).split()) > 3, name
