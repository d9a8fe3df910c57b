"""A conditioned model as a job, in small: its rows, its models, and what can be done with them."""

from pathlib import Path

import numpy as np
import pytest
import torch

import rayfe
from rayfe.config import EquilibrationConfig, MeasureConfig, ModelConfig
from rayfe.run import job

SMALL = {
    "model": ModelConfig(hidden=16, latent=4),
    "measure": MeasureConfig(head_draws=8),
    "equilibration": EquilibrationConfig(first_epochs=6, first_schedule="linear", first_learning_rate=1e-2, batch=64, epochs=1),
    "quiet": True,
}


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
