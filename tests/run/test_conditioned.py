"""A conditioned model as a job, in small: its rows, its models, and what can be done with them."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import rayfe
from rayfe.cli.command import main
from rayfe.cli.job_command import main as job_main
from rayfe.config import EquilibrationConfig, MeasureConfig, ModelConfig
from rayfe.run import job

SMALL = {
    "model": ModelConfig(hidden=16, latent=4),
    "measure": MeasureConfig(head_draws=8),
    "equilibration": EquilibrationConfig(first_epochs=6, first_schedule="linear", first_learning_rate=1e-2, batch=64, epochs=1),
    "quiet": True,
}


TRAINED = {"equilibration.first_epochs": 30}


@pytest.fixture(scope="module")
def data():
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return rayfe.dataset(bunch.images[:300] / 16, bunch.target[:300], name="own-digits")


@pytest.fixture(autouse=True)
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "draw_all", lambda *_, **__: {})  # seconds, and tested elsewhere


def test_a_run_and_what_starts_from_it(data, tmp_path: Path) -> None:
    asked = {"data": data, "out": tmp_path / "box", **SMALL}
    run = rayfe.conditioned("digits-smoke", lam=[0.5, 2.0], gamma=[2.0, 8.0], **asked)
    assert [*zip(run.accepted["lam"], run.accepted["gamma"], strict=True)] == [(0.5, 2.0), (2.0, 2.0), (2.0, 8.0), (0.5, 8.0)]
    assert run.rows["C_target"].isna().all() and np.isfinite(run.rows[["R", "D", "C", "val_C"]].to_numpy(float)).all()

    before = run.rows.drop(columns="seconds")
    more = rayfe.conditioned("digits-smoke", lam=[0.5, 1.0, 2.0], gamma=[2.0, 8.0], **asked)
    assert len(more.accepted) == 6
    assert more.rows.iloc[:4].drop(columns="seconds").equals(before)
    step = int(more.accepted.query("lam == 1 and gamma == 8")["step"].iloc[0])

    model = more.model(step=step)
    mean, log_variance = model.encode(torch.zeros(2, 64))
    assert mean.shape == log_variance.shape == (2, 4)

    with pytest.raises(rayfe.UsageError, match="the stored run has") as refused:
        rayfe.conditioned("digits-smoke", lam=[0.5, 3.0], gamma=[2.0, 8.0], **asked)
    assert "\n" not in str(refused.value) and str(refused.value).startswith("lam=")

    walked = rayfe.walk("digits-smoke", start=f"{tmp_path / 'box'}@{step}", data=data, out=tmp_path / "walk", steps=0, **SMALL)
    first, row = walked.accepted.iloc[0], more.accepted.query(f"step == {step}").iloc[0]
    assert (first["lam"], first["gamma"]) == (1.0, 8.0)
    assert first["C"] == pytest.approx(row["C"], rel=0.01)  # read with more draws


def test_what_readings_find_is_stored_by_the_command_that_is_said(
    data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "box"
    run = rayfe.conditioned("digits-smoke", lam=[0.5, 2.0], gamma=[2.0, 8.0], data=data, out=out, **SMALL, **TRAINED)
    C = float(run.accepted["C"].median())
    capsys.readouterr()
    assert main(["locate", str(out), f"C={C}", "lam=0.8"]) == 0
    found, _, storing = capsys.readouterr().out.splitlines()
    values = {name: float(value) for name, value in re.findall(r"(\w+) ([\d.]+)", found)}
    assert found.startswith("by readings") and (values["C"], values["lam"]) == pytest.approx((C, 0.8), rel=0.003)
    assert storing.startswith("to store it without training: python jobs/conditioned.py digits-smoke ")
    assert job_main("conditioned", shlex.split(storing.partition(" python ")[2])[1:]) == 0
    row = run.step(at={"lam": values["lam"], "gamma": values["gamma"]})
    assert [getattr(row, name) for name in "RDC"] == pytest.approx([values[name] for name in "RDC"], rel=0.003)
    assert 2.0 < row.gamma < 8.0
    assert run.accepted["examples"].diff()[1:].round(6).nunique() == 1  # of readings alone
    capsys.readouterr()
    assert main(["locate", str(out), f"lam={row.lam}", f"gamma={row.gamma}"]) == 0
    assert "to store it" not in capsys.readouterr().out  # it is


def test_without_its_weights_the_stored_models_are_what_there_is(
    data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "box"
    rayfe.conditioned("digits-smoke", lam=[0.5, 2.0], gamma=[2.0, 8.0], data=data, out=out, **SMALL, steps=0)
    shutil.rmtree(out / "carry")
    capsys.readouterr()
    assert main(["locate", str(out), "C=0.1", "lam=0.8"]) == 0
    assert "box cannot be read here (" in capsys.readouterr().out
