"""--known-runs: runs of the same data and model only, as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayfe import load_run
from rayfe.cli.job_command import main

SMALL = ["digits-smoke", "--backend", "inline", "--steps", "2", "--threads", "1", "--equilibration.first-epochs", "10"]
SMALL += ["--equilibration.epochs", "5", "--measure.head-draws", "64", "--tolerance", "0.1"]


def test_a_run_is_told_of_others_of_the_same_data_and_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def isoc(*options: str) -> str:
        code = main("isoc", [*SMALL, *options])
        assert code in (0, 2)
        return capsys.readouterr().err if code else ""

    assert isoc("--out", "a", "--seed", "1", "--equilibration.first-epochs", "40") == ""
    told = ["--out", "b", "--known-runs", "a"]
    assert isoc(*told) == ""
    known, rows = load_run("a"), load_run("b")
    bound = (known["R"].to_numpy() + rows["lam"].to_numpy()[:, None] * known["D"].to_numpy()) + (
        rows["gamma"].to_numpy()[:, None] * known["C"].to_numpy()
    )
    assert (rows["excess"][1:] >= (rows["F"] - bound.min(axis=1))[1:] - 1e-6).all()
    assert rows["excess"].iloc[1:].max() > 0.0  # not at every step: the walk may overtake the other run's models
    assert isoc(*told) == ""  # the same command goes on

    assert "--known-runs" in isoc("--out", "b") and "models are not those" in isoc("--out", "b")
    assert "other data or another model" in isoc("--out", "c", "--known-runs", "a", "--model.latent", "4")
    assert "other data or another model" in isoc("--out", "c", "--known-runs", "a", "--data.train-size", "500")
    assert "cannot be read (no run at" in isoc("--out", "c", "--known-runs", "nothing")
    assert "is for walks" in isoc("--out", "c", "--known-runs", "a", "--seek", "C=0.1", "R=4")
    assert isoc("--out", "a", "--seed", "1", "--equilibration.first-epochs", "40", "--steps", "3") == ""
    assert "models are not those" in isoc(*told)
    assert not Path("c").exists()
