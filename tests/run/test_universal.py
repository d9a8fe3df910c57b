"""jobs/universal.py in small: encoders of a stored walk with new decoders and classifiers, stored, gone on with, and refused."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rayfe
from rayfe.backend.inline import InlineBackend
from rayfe.cli.universal import main
from rayfe.config import EquilibrationConfig, MeasureConfig, ModelConfig
from rayfe.config.presets import PRESETS
from rayfe.records import Point, Replica, StepRecord
from rayfe.records.universal import ANY
from rayfe.run import job
from rayfe.run.stored_data import stored_data
from rayfe.storage.files import Files
from rayfe.storage.manifest import stored_config
from rayfe.storage.parquet import encode
from rayfe.storage.store import Store
from rayfe.storage.verification import NEEDLESS, faults
from rayfe.trajectory.driver import answered
from rayfe.trajectory.universal import with_new_decoders

SMALL = {
    "model": ModelConfig(hidden=16, latent=4),
    "measure": MeasureConfig(head_draws=16),
    "equilibration": EquilibrationConfig(
        first_epochs=3, first_schedule="linear", first_learning_rate=1e-2, batch=64, epochs=0.5
    ),
    "process": "fixed-gamma",
    "threads": 1,
    "certificate_share": 0.0,
    "quiet": True,
}
NAME = "lam1-gamma4-seed0"


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A walk of four steps on 300 digits."""
    from sklearn.datasets import load_digits

    bunch, out = load_digits(), tmp_path_factory.mktemp("universal") / "run"
    data = rayfe.dataset(bunch.images[:300] / 16, bunch.target[:300], name="own-digits")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "_report", lambda *_: None)  # seconds, and tested elsewhere
        rayfe.walk("digits-smoke", data=data, steps=4, out=out, **SMALL)
    return out


@pytest.fixture
def run(walked: Path, tmp_path: Path) -> Path:
    return shutil.copytree(walked, tmp_path / "run")


def rows(run: Path) -> pd.DataFrame:
    return pd.read_parquet(run / "universal.parquet").drop(columns="seconds")


def test_multipliers_change_neither_decoder_nor_classifier_where_these_share_nothing(walked: Path) -> None:
    store = Store(walked)
    run, config = stored_config(store)
    backend = InlineBackend(config, stored_data(store, run, config, None))
    row = next(row for row in store.rows(NAME) if row.accepted and row.step)
    points = [ANY, Point(lam=0.2, gamma=6.0), Point(lam=5.0, gamma=0.5)]
    at_any, *others = answered(with_new_decoders(config, row, store.state(row), points, seed=1, epochs=4.0), backend)
    assert at_any.R == pytest.approx(row.R, rel=1e-6)  # the encoder is that of the model
    for other in others:
        assert (other.R, other.D, other.C) == pytest.approx((at_any.R, at_any.D, at_any.C), rel=2e-4)
    assert at_any.D is not None and row.D is not None and at_any.D > 1.01 * row.D  # 4 epochs of new weights are not the model


def test_the_job_stores_its_trainings_draws_and_does_nothing_twice(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [str(run), "--models", "3", "--seeds", "2", "--epochs", "3"]
    assert main(command) == 0
    told, stored = capsys.readouterr().out, rows(run)
    assert "6 trainings of 3 epochs of" in told and "One encoder for all 3 points" in told
    assert len(stored) == 6 and (stored[["lam", "gamma"]] == 1.0).all(axis=None)
    accepted = rayfe.load_run(run).query("accepted").set_index("step")
    np.testing.assert_allclose(stored["R"], accepted.loc[stored["step"], "R"], rtol=1e-6)
    first, last = stored["step"].agg(["min", "max"])
    assert (first, last) == (accepted.index.min(), accepted.index.max())
    figure = run / "figures" / "universal.png"
    drawn, data = figure.read_bytes(), (run / "universal.parquet").read_bytes()
    figure.unlink()
    shutil.rmtree(run / "states")
    shutil.rmtree(run / "data")  # neither weights nor data are needed any more
    assert main(command) == 0
    again = capsys.readouterr().out
    assert "trainings" not in again and again == told[told.index("penalty") :]
    assert (figure.read_bytes(), (run / "universal.parquet").read_bytes()) == (drawn, data)


def test_a_job_that_was_interrupted_goes_on_with_the_same_rows(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = shutil.copytree(run, tmp_path / "other")
    asked = {"models": 2, "seeds": 2, "epochs": 2.0, "quiet": True}
    frame = rayfe.universal(run, **asked)
    real, calls = InlineBackend.equilibrate, []

    def interrupted(self: InlineBackend, request: object) -> object:
        calls.append(request)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, request)

    monkeypatch.setattr(InlineBackend, "equilibrate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rayfe.universal(other, **asked)
    assert len(rows(other)) == 2
    pd.testing.assert_frame_equal(rayfe.universal(other, **asked), frame, check_exact=True)
    assert len(calls) == 5
    pd.testing.assert_frame_equal(rows(other), rows(run), check_exact=True)
    assert frame["F"].notna().all() and frame["F_se"].notna().all()


def test_a_model_that_shares_a_layer_is_trained_at_every_point(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rayfe.run.universal._is_shared", lambda *_: True)
    asked: list[tuple[Replica, ...]] = []
    real = InlineBackend.equilibrate

    def seen(self: InlineBackend, request: object) -> object:
        asked.append(request.replicas)
        return real(self, request)

    monkeypatch.setattr(InlineBackend, "equilibrate", seen)
    frame = rayfe.universal(run, models=2, seeds=1, epochs=2.0, quiet=True)
    points = [*zip(frame["lam"][:2], frame["gamma"][:2], strict=True)]
    assert [[(one.point.lam, one.point.gamma) for one in replicas] for replicas in asked] == [points, points]
    assert [*zip(rows(run)["lam"], rows(run)["gamma"], strict=True)] == points * 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--models", "8"], "--models 8: lam1-gamma4-seed0 has 5 of different lam with stored weights; give --models 5"),
        (["--models", "1"], "--models 1: must be at least 2"),
        (["--epochs", "0"], "--epochs 0: must be a positive number of epochs"),
        (["--trajectory", "lam9-gamma4-seed0"], "--trajectory lam9-gamma4-seed0: the run has lam1-gamma4-seed0"),
        (["--modles", "4"], "unrecognized arguments: --modles 4"),
    ],
)
def test_bad_input_is_one_line_before_any_work(
    walked: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(walked.rglob("*"))
    assert main([str(walked), *words]) == 2
    out, line = capsys.readouterr()
    assert said in line and line.count("\n") == 1 and not out
    assert sorted(walked.rglob("*")) == before


def test_runs_that_are_no_walk_have_no_weights_or_are_not_there_are_refused(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*words: str) -> str:
        assert main([*words]) == 2
        return capsys.readouterr().err

    assert "no run at" in said(str(run / "nothing"))
    shutil.rmtree(run / "states")
    assert "has 0 of different lam with stored weights, and two are the fewest" in said(str(run))
    (run / "universal.parquet").write_bytes(b"nothing")
    assert "universal.parquet" in (line := said(str(run))) and "remove it" in line and line.count("\n") == 1
    assert [fault.fix for fault in faults(Files(run)) if fault.path == "universal.parquet"] == [NEEDLESS]
    transfer = PRESETS["transfer"]["fig5-quick"]()
    monkeypatch.setattr("rayfe.run.universal.stored_config", lambda store: ({}, transfer))
    with pytest.raises(
        rayfe.UsageError, match=r"location='.*': is no walk, whose models differ in lam alone; give a run of jobs/isoc.py"
    ):
        rayfe.universal(run)


def test_walks_from_several_starts_are_no_repeats(run: Path) -> None:
    other = "lam2-gamma4-seed0"
    rows = [dataclasses.replace(row, trajectory=other, state=None, state_sha256=None) for row in Store(run).rows(NAME)]
    (run / "steps" / f"{other}.parquet").write_bytes(encode(rows, StepRecord))
    with pytest.raises(
        rayfe.UsageError, match="trajectory=None: walks from several starts are no repeats; name one: the run has"
    ):
        rayfe.universal(run)
