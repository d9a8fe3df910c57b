"""The tutorials run, each in its small form, as a script does."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

import rayfe
from rayfe.run import job
from rayfe.storage.store import Store

FOLDER = Path(__file__).parents[2] / "analysis" / "tutorials"


def run(name: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> rayfe.Run:
    monkeypatch.setattr(job, "draw_all", lambda *_, **__: {})  # seconds, and tested elsewhere
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--small", "--out", str(out)])
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    return rayfe.Run(str(out))


def test_own_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = run("own_model", tmp_path / "run", monkeypatch)
    assert found.accepted.val_accuracy.iloc[-1] > 0.9
    assert "step 1 has R" in capsys.readouterr().out
    with pytest.raises(ValueError, match="__main__:ConvNet': was defined in a notebook or script"):
        found.model()


def test_own_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run("own_table", tmp_path / "run", monkeypatch)
    assert found.accepted.val_accuracy.iloc[-1] > 0.9
    assert Store(found.location).read_config()["class_names"] == ["benign", "malignant"]
    assert found.model().encode is not None


def test_own_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk = run("own_process", tmp_path / "run", monkeypatch).accepted
    assert walk.R.iloc[-1] == pytest.approx(walk.R.iloc[0], rel=0.05)
    assert walk.C.iloc[-1] < walk.C.iloc[0]
    assert set(walk.process) == {"__main__:IsoRate"}


def test_own_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run("own_encoder", tmp_path / "run", monkeypatch)
    assert found.accepted.step.tolist() == [0, 1]
    assert Store(found.location).read_config()["config"]["model.name"] == "__main__:Wrapped"


def test_every_tutorial_has_a_test() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_own")}
    assert {path.stem for path in FOLDER.glob("*.py")} == tested
