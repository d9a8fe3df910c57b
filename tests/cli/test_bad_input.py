"""Bad input to a job: one line that names the option and what to do, exit code 2, and nothing is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayfe.cli.job_command import main
from untrained_job import DIGITS, arrays

pytestmark = pytest.mark.usefixtures("runner", "cwd")


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


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--lam", "0"], "--lam 0: must be a positive number"),
        (["--lam", "inf"], "--lam inf: must be at most 1e+30"),
        (["--lam", "0.25"], "--lam 0.25: is --lam-end already, give another of the two"),
        (["--lam-end", "1.19"], "--lam-end 1.19: does not go with --lam 1.19, which is set already; change one of the two: "),
        (["--lam", "1", "--lam", "2"], "--lam: is given twice; give it once, with all its values after it"),
        (["--settle", "--no-settle"], "--no-settle: is given twice"),
        (["--gamma", "4", "4"], "--gamma 4 4: give each value once"),
        (["--gamma", "4", "nan"], "--gamma nan: must be a number"),
        (["--seed", "1_0"], "--seed 1_0: give a whole number, or several"),
        (["--steps", "\u0663"], "--steps \u0663: give a whole number"),
        (["--steps", "2", "fig2"], "--steps fig2: not expected there; PRESET comes first"),
        (["--no-settle", "1"], "--no-settle 1: not expected there; PRESET comes first"),
        (
            ["--equilibration.epochs", "1e300"],
            "--equilibration.epochs 1e+300: must be a positive number of epochs, below 1000000",
        ),
        (["--threads", "99999999999"], "--threads 99999999999: must be at most 1024"),
        (["--data.root", " "], "--data.root ' ': is empty"),
        (["--data.name", "a\0b"], "--data.name a\u2400b: give a text without NUL"),
        (
            ["--model.name", "x" * 5000],
            f"--model.name {'x' * 100}...{'x' * 100}: has 5000 characters; give at most 4096",
        ),
        (
            ["--evaluators", "2", "--backend", "inline"],
            "--evaluators 2: has no effect with --backend inline; leave it away, or give",
        ),
        (["--functional", "1", "0", "0"], "--functional 1 0 0: has no effect with --process iso-classification"),
        (
            ["--model.width", "32"],
            "--model.width 32: has no effect with --model.name mlp; leave it away, or give --model.name resnet",
        ),
        (["mnist-walk", "--no-both-ways"], "--no-both-ways: does not go with --renewal.leap 4, which is set already"),
        (["digits-labels", "--no-both-ways"], "--no-both-ways: is for walks, not for walks that hold several losses"),
        (["--", "x"], "PRESET --: is no option"),
    ],
)
def test_bad_values_are_refused_by_name(capsys: pytest.CaptureFixture[str], argv: list[str], line: str) -> None:
    assert refused(capsys, argv, line.partition(": ")[0]).startswith(line)


@pytest.mark.parametrize(
    ("argv", "field"),
    [
        (["--gamma", "0"], "--gamma 0"),
        (["--process", "fixed-gamma", "--gamma", "-1"], "--gamma -1"),
        (["--process", "fixed-gamma", "--gamma", "nan"], "--gamma nan"),
        (["--process", "fixed-gamma", "--stencil", "paper"], "--stencil paper"),
        (["--process", "fixed-gamma", "--derivatives", "implicit"], "--derivatives implicit"),
        (["--process", "fixed-gamma", "--both-ways"], "--both-ways"),
        (["--process", "fixed-gamma", "--lam", "25"], "--lam 25"),
        (["--data.train-size", "24001"], "--data.train-size 24001"),
        (["--data.root", "here"], "--data.root"),
        (["--data.name", "gausian"], "--data.name gausian"),
    ],
)
def test_what_the_known_surface_does_not_go_with_is_refused(
    capsys: pytest.CaptureFixture[str], argv: list[str], field: str
) -> None:
    refused(capsys, ["gaussian-exact", *argv], field)


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
        (
            ["xyzzy"],
            "PRESET xyzzy",
            "mnist-quick, mnist-walk, digits-smoke, digits-marginal, digits-nats,",
        ),
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
    np.savez("own.npz", **arrays(**changes))
    refused(capsys, ["--data.name", "npz:own.npz", "--equilibration.batch", "8"], "--data.name npz:")


def test_an_unreadable_data_root_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    refused(capsys, ["--data.name", "fashion-mnist", "--data.root", "empty"], "--data.root")


def test_out_that_is_a_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("mine")
    assert "is a file" in refused(capsys, ["--out", "file"], "--out")
    assert Path("file").read_text() == "mine"


@pytest.mark.parametrize("out", ["/proc/none/run", "xyzzy://bucket/run", "zip://a/run", "dbfs://a/run", "reference://a", ""])
def test_out_that_cannot_be_written_is_refused(capsys: pytest.CaptureFixture[str], out: str) -> None:
    refused(capsys, ["--out", out], "--out")


@pytest.mark.parametrize("out", ["walk::a", "s3:/bucket/run", "file:x", "~nobody-of-this-name/run", "run "])
def test_out_that_would_be_another_place_than_it_looks_is_refused(capsys: pytest.CaptureFixture[str], out: str) -> None:
    refused(capsys, ["--out", out], "--out")
    assert list(Path.cwd().iterdir()) == []


def test_a_damaged_run_json_is_refused_not_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    Path("r").mkdir()
    Path("r/run.json").write_text("{")
    assert "cannot be read" in refused(capsys, [*DIGITS, "--out", "r"], "--out")
    assert Path("r/run.json").read_text() == "{"
