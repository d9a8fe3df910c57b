"""Options of the service: what a run keeps, what may change, and what is refused before any work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rayfe.cli.job_command import main

SHORT = ["digits-smoke", "--steps", "1", "--equilibration.first-epochs", "5", "--tolerance", "0.9"]
WORDS = [*SHORT, "--backend", "inline"]


def stored(out: Path) -> dict[str, Any]:
    return json.loads((out / "run.json").read_text())


def change(out: Path, replicas: object) -> None:
    manifest = stored(out)
    for part in ("config", "identity"):
        manifest[part]["replicas_per_evaluator"] = replicas
    (out / "run.json").write_text(json.dumps(manifest))
    shutil.rmtree(out / "copies")  # an older version kept none


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    assert main("isoc", [*WORDS, "--out", str(out)]) == 0
    return out


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def test_a_run_on_one_device_stacks_all_replicas_and_says_so(made: Path) -> None:
    assert stored(made)["identity"]["replicas_per_evaluator"] == "all"


def test_a_run_that_began_side_by_side_goes_on_so(run: Path) -> None:
    change(run, 1)
    assert main("isoc", [*WORDS, "--out", str(run)]) == 0
    assert stored(run)["identity"]["replicas_per_evaluator"] == 1


def test_a_run_of_an_older_version_has_null_for_all(run: Path) -> None:
    change(run, None)
    assert main("isoc", [*WORDS, "--out", str(run)]) == 0
    assert stored(run)["identity"]["replicas_per_evaluator"] == "all"


def test_what_only_baselines_read_is_refused_by_others(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("isoc", [*WORDS, "--method-epochs", "99", "--out", str(run)]) == 2
    assert capsys.readouterr().err.startswith("--method-epochs 99: is for baselines, not for walks; leave it away")


def test_replicas_of_an_evaluator_may_not_change(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("isoc", [*WORDS, "--replicas-per-evaluator", "1", "--out", str(run)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("--replicas-per-evaluator 1: the stored run has all;")
    assert "--replicas-per-evaluator all" in error


def test_trajectories_of_an_evaluator_may_not_change(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stored(run)["identity"]["trajectories_per_evaluator"] == 1
    assert main("isoc", [*WORDS, "--trajectories-per-evaluator", "4", "--out", str(run)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("--trajectories-per-evaluator 4: the stored run has 1;") and error.count("\n") == 1


def test_a_run_from_before_there_were_slots_goes_on_with_one(run: Path) -> None:
    manifest = stored(run)
    for part in ("config", "identity"):
        del manifest[part]["trajectories_per_evaluator"]
    (run / "run.json").write_text(json.dumps(manifest))
    shutil.rmtree(run / "copies")
    assert main("isoc", [*WORDS, "--out", str(run)]) == 0
    assert stored(run)["identity"]["trajectories_per_evaluator"] == 1


def test_how_a_run_is_watched_may_change(run: Path) -> None:
    assert main("isoc", [*WORDS, "--log-format", "json", "--out", str(run)]) == 0


@pytest.mark.parametrize(
    "words, message",
    [
        (["--replicas-per-evaluator", "0"], "--replicas-per-evaluator 0: must be at least 1"),
        (["--train-workers", "2", "--backend", "inline"], "--train-workers 2: has no effect with --backend inline"),
        (["--train-workers", "3", "--backend", "ray"], "--train-workers 3: must divide --equilibration.batch 128"),
        (
            ["--train-workers", "3", "--backend", "ray", "--equilibration.first-batch", "64"],
            "--train-workers 3: must divide --equilibration.first-batch 64",
        ),
        (
            ["--train-workers", "2", "--backend", "ray", "--placement", "isolated"],
            "--train-workers 2: has no effect with --placement isolated",
        ),
        (["--trajectories-per-evaluator", "0"], "--trajectories-per-evaluator 0: must be at least 1"),
        (["--trajectories-per-evaluator", "many"], "--trajectories-per-evaluator many: "),
        (
            ["--trajectories-per-evaluator", "4", "--replicas-per-evaluator", "1"],
            "--trajectories-per-evaluator 4: keeps neighbours together; give --replicas-per-evaluator all",
        ),
        (
            ["--trajectories-per-evaluator", "4", "--backend", "ray", "--placement", "isolated"],
            "--trajectories-per-evaluator 4: needs evaluators that are shared; give --placement shared",
        ),
        (
            ["--trajectories-per-evaluator", "4", "--backend", "ray", "--train-workers", "2"],
            "--trajectories-per-evaluator 4: is not for Ray Train; give --train-workers 0",
        ),
        (["--placement", "spread"], "--placement spread: give shared or isolated"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert main("isoc", [*SHORT, *words, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(message) and error.count("\n") == 1
    assert not (tmp_path / "run").exists()
