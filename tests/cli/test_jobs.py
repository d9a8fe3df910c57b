"""jobs/transfer.py and jobs/baseline.py from their command line: real small runs, and bad input that stops before any work."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import rayfe
from rayfe.cli.job_command import main
from rayfe.data.coupling import decode

ANYWHERE = [
    *("--data.name", "digits:0-4", "--lam", "1", "--gamma", "4", "--backend", "inline"),
    *("--model.hidden", "32", "--model.latent", "6", "--measure.head-draws", "64", "--threads", "1", "--tolerance", "0.1"),
    *("--equilibration.first-epochs", "20", "--equilibration.epochs", "4", "--equilibration.batch", "64"),
]
SMALL = [*ANYWHERE, "--path.target", "digits:5-9"]
TRANSFER = [*SMALL, "--process", "constant-rate", "--lam-dot", "-0.2", "--step-length", "0.5", "--step-length-first", "0.01"]


def run(job: str, preset: str, *options: str, out: Path) -> int:
    return main(job, [preset, *options, "--out", str(out)])


KINDS = {"mixture": [], "displacement": ["--path.kind", "displacement", "--path.pairing", "cost", "--path.within-pairs"]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_transfer_arrives_at_the_target_and_holds_C(tmp_path: Path, kind: str) -> None:
    out = tmp_path / kind
    assert run("transfer", "fig5-quick", *TRANSFER, *KINDS[kind], out=out) == 0
    rows = rayfe.load_run(out)
    walk = rows[rows.accepted]
    assert walk.t.iloc[-1] == 1.0
    assert walk.lam.iloc[-1] == pytest.approx(0.8)
    assert (walk.C / walk.C_target - 1).abs().max() < 0.1
    assert walk.target_accuracy.iloc[0] < 0.5 < 0.8 < walk.target_accuracy.iloc[-1]
    assert (out / "couplings" / "train.parquet").exists() == (kind == "displacement")
    model = rayfe.load_model(out, walk.trajectory.iloc[0], int(walk.step.iloc[-1]))
    assert model.classifier.out_features == (10 if kind == "mixture" else 5)


def test_couplings_are_computed_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    options = [*TRANSFER, "--path.kind", "displacement", "--path.pairing", "order"]
    assert run("transfer", "fig5-quick", *options, "--steps", "1", out=tmp_path) == 0
    stored = {split: (tmp_path / "couplings" / f"{split}.parquet").read_bytes() for split in ("train", "validation")}
    assert capsys.readouterr().out.count("coupled:") == 2
    assert decode(stored["train"]).report["solver"] == "exact"
    assert run("transfer", "fig5-quick", *options, "--steps", "2", out=tmp_path) == 0
    assert "coupled:" not in capsys.readouterr().out
    assert stored["train"] == (tmp_path / "couplings" / "train.parquet").read_bytes()
    bad = bytearray(stored["train"])
    bad[200] ^= 1  # a number that would move one image
    (tmp_path / "couplings" / "train.parquet").write_bytes(bad)
    assert run("transfer", "fig5-quick", *options, "--steps", "2", out=tmp_path) == 0
    assert "set aside as damaged/couplings/1-train.parquet; made again" in caplog.text
    again, before = decode((tmp_path / "couplings" / "train.parquet").read_bytes()), decode(stored["train"])
    assert all((getattr(again, name) == getattr(before, name)).all() for name in ("source", "target", "weight"))
    assert (tmp_path / "damaged" / "couplings" / "1-train.parquet").read_bytes() == bad


@pytest.mark.parametrize("method", ["finetune", "scratch", "joint"])
def test_a_baseline_learns_the_target_in_the_same_rows(tmp_path: Path, method: str) -> None:
    options = [*SMALL, "--method", method, "--method-epochs", "30", "--equilibration.first-learning-rate", "1e-2"]
    assert run("baseline", "fig5-quick", *options, out=tmp_path) == 0
    rows = rayfe.load_run(tmp_path)
    assert rows.target_accuracy.iloc[0] < 0.35 < 0.8 < rows.target_accuracy.iloc[-1]
    assert set(rows.process) == {method}
    assert rows.examples.is_monotonic_increasing


def test_a_stopped_baseline_goes_on_to_the_same_rows(tmp_path: Path) -> None:
    options = [*SMALL, "--method", "finetune", "--method-epochs", "12"]
    assert run("baseline", "fig5-quick", *options, out=tmp_path / "whole") == 0
    for steps in ("1", "60"):
        assert run("baseline", "fig5-quick", *options, "--steps", steps, out=tmp_path / "parts") == 0
    frames = [rayfe.load_run(tmp_path / name).drop(columns="seconds") for name in ("whole", "parts")]
    pd.testing.assert_frame_equal(*frames, check_exact=True)


@pytest.mark.parametrize(
    ("job", "argv", "field"),
    [
        ("transfer", ["fig2"], "PRESET fig2: belongs to another job, use jobs/isoc.py"),
        ("isoc", ["fig5"], "PRESET fig5: belongs to another job, use jobs/transfer.py"),
        ("isoc", ["digits-smoke", "--path.target", "digits:5-9"], "--path.target digits:5-9"),
        ("isoc", ["digits-smoke", "--method", "scratch"], "--method scratch"),
        ("isoc", ["digits-smoke", "--process", "constant-rate"], "--process constant-rate"),
        (
            "isoc",
            ["digits-smoke", "--path.last-epochs", "5"],
            "--path.last-epochs 5: is for transfers, baselines, not for walks",
        ),
        ("transfer", ["fig5-quick", "--path.last-epochs", "-1"], "--path.last-epochs -1"),
        ("transfer", ["fig5-quick", "--method", "joint"], "--method joint"),
        ("transfer", ["fig5-quick", "--process", "iso-classification"], "--process iso-classification"),
        ("transfer", ["fig5-quick", "--path.target", "None"], "--path.target"),
        ("transfer", ["fig5-quick", "--path.target", "nope"], "--path.target nope: unknown data set"),
        ("transfer", ["fig5-quick", "--lam-dot", "1"], "--lam-dot 1: has no effect with --process geodesic"),
        (
            "baseline",
            ["fig5-quick", "--path.kind", "displacement"],
            "--path.kind displacement: has no effect with --method finetune",
        ),
        ("transfer", ["fig5-quick", *ANYWHERE, "--path.target", "mnist:5-9"], "--path.target mnist:5-9: has examples of shape"),
        ("transfer", ["fig5-quick", *ANYWHERE, "--path.target", "digits:5"], "--path.target digits:5"),
        ("transfer", ["fig5-quick", *SMALL, "--path.pairing", "cheapest"], "--path.pairing cheapest"),
        (
            "transfer",
            ["fig5-quick", *ANYWHERE, "--path.pairing", "order", "--path.target", "digits:4-8"],
            "--path.pairing order",
        ),
        ("transfer", ["fig5-quick", *SMALL, "--path.within-pairs"], "--path.within-pairs"),
        ("transfer", ["fig5-quick", *SMALL, "--path.regularization", "0"], "--path.regularization 0"),
        ("transfer", ["fig5-quick", *SMALL, "--k", "-1"], "--k -1: 1 + k lam is 0"),
        ("transfer", ["fig5-quick", *SMALL, "--stencil", "iso"], "--stencil iso"),
        ("transfer", ["fig5-quick", *SMALL, "--process", "constant-rate", "--lam-dot", "-2"], "--lam-dot -2"),
        ("transfer", ["fig5-quick", *SMALL, "--step-length", "2"], "--step-length 2"),
        (
            "transfer",
            ["fig5-quick", *SMALL, "--path.kind", "displacement", "--path.cost", "numpy:zeros_like"],
            "--path.cost (the function): fails for arrays",
        ),
        (
            "transfer",
            ["fig5-quick", *SMALL, "--path.kind", "displacement", "--path.regularization", "1e-9"],
            "--path.regularization 1e-09: its marginal is still off",
        ),
        ("baseline", ["fig5-quick", "--method", "wait"], "--method wait"),
        ("baseline", ["fig5-quick", *SMALL, "--method-epochs", "0"], "--method-epochs 0"),
    ],
)
def test_bad_input_stops_before_any_work(
    job: str, argv: list[str], field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(job, [*argv, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(field), error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_fig5_quick_arrives_with_its_accuracy_and_its_loss(tmp_path: Path, seed: str) -> None:
    assert run("transfer", "fig5-quick", "--backend", "inline", "--seed", seed, out=tmp_path) == 0
    rows = rayfe.load_run(tmp_path)
    walk = rows[rows.accepted]
    assert walk.t.iloc[-1] == 1.0
    assert walk.target_accuracy.iloc[-1] > 0.95
    assert (walk.C / walk.C_target - 1).abs().max() < 0.03
    way = abs(walk.D.iloc[-1] - walk.D.iloc[0])
    assert walk.line_miss.abs().max() < 0.05 * way
