"""Runs that start from a stored step of another run, or from a state dict, and runs that stop after their start."""

from __future__ import annotations

import json
import math
import shutil
import uuid
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pytest
import torch

import rayfe
from rayfe.cli.job_command import main
from rayfe.config import DataConfig, ModelConfig, UsageError
from rayfe.data.datasets import load
from rayfe.model.protocol import build
from rayfe.storage.store import Store

SMALL = [
    "digits-smoke",
    *("--backend", "inline", "--threads", "1", "--tolerance", "0.5", "--measure.head-draws", "32", "--model.hidden", "16"),
    *("--equilibration.first-epochs", "6", "--equilibration.epochs", "3", "--certificate-share", "0"),
]


def rows(out: Path) -> pd.DataFrame:
    return rayfe.load_run(out).drop(columns="seconds")


def run_json(out: Path) -> dict[str, Any]:
    return json.loads((out / "run.json").read_text())


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A walk of two trajectories and two steps."""
    out = tmp_path_factory.mktemp("source") / "walk"
    assert main("isoc", [*SMALL, "--seed", "0", "1", "--steps", "2", "--out", str(out)]) == 0
    return out


def changed(before: list[str], *words: str) -> list[str]:
    """A command with these words, in place of those before of the same options."""
    kept = [True, *(word.startswith("--") for word in before[1:])]
    given = [list(group) for group in np.split(np.array(before), np.flatnonzero(kept)[1:])]
    return [*(word for group in given if group[0] not in words for word in group), *words]


def fork(source: Path, *words: str, at: str = "lam1-gamma4-seed0:2") -> list[str]:
    return changed([*SMALL, "--start", f"{source}@{at}"], *words)


def refused(capsys: pytest.CaptureFixture[str], job: str, words: list[str], out: Path, *, left: bool = False) -> str:
    """The line with which a command ends; nothing is written."""
    capsys.readouterr()
    assert main(job, [*words, "--out", str(out)]) == 2
    assert out.exists() == left
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_the_sigma_that_a_refusal_says_to_give_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A walk in sigma has such values at its steps: more digits than a command line shows."""
    sigma = 1e-4 * math.pi
    walk, random = tmp_path / "walk", [*SMALL, "--model.posterior", "classifier", "--sigma"]
    assert main("isoc", [*random, repr(sigma), "--steps", "0", "--out", str(walk)]) == 0
    begin = ["--steps", "0", "--start", f"{walk}@0"]
    said = refused(capsys, "isoc", [*random, "1e-3", *begin], tmp_path / "fork")
    given = said.split("give --sigma ")[1].strip()
    assert float(given) != sigma
    assert main("isoc", [*random, given, *begin, "--out", str(tmp_path / "fork")]) == 0
    assert rows(tmp_path / "fork")["sigma"][0] == sigma


def test_a_fork_reads_the_stored_model_and_trains_no_start(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "fork"
    assert main("isoc", fork(source, "--tolerance", "0.4", "--steps", "1", "--seed", "3", "4", "--out", str(out))) == 0
    before = rows(source).query("trajectory == 'lam1-gamma4-seed0' and step == 2").iloc[0]
    found = rows(out).query("step == 0")
    assert list(found["trajectory"]) == [f"lam{before['lam']:.6g}-gamma{before['gamma']:.6g}-seed{seed}" for seed in (3, 4)]
    for _, row in found.iterrows():
        assert (row["lam"], row["gamma"], row["kind"]) == (before["lam"], before["gamma"], "start")
        for name in ("C", "D"):
            error = math.hypot(row[f"{name}_se"], before[f"{name}_se"])
            assert abs(row[name] - before[name]) < 4 * error
        assert row["R"] == pytest.approx(before["R"], rel=1e-6)
        assert row["C_gamma"] < 0 and math.isnan(row["first_updates"])
        assert row["examples"] < rows(source).query("step == 0")["examples"].min()
    told = run_json(out)["start"]
    assert told["examples"] == before["examples"] and (told["trajectory"], told["step"]) == ("lam1-gamma4-seed0", 2)
    assert len(rows(out).query("accepted and step == 1")) == 2
    assert not (out / "figures" / "fig4a_equilibration.png").exists()


def test_a_fork_of_a_fork_says_what_both_runs_before_it_had_cost(source: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert main("isoc", fork(source, "--steps", "1", "--out", str(first))) == 0
    assert main("isoc", [*SMALL, "--start", f"{first}@1", "--steps", "0", "--out", str(second)]) == 0
    last = rows(first).query("accepted").iloc[-1]
    assert run_json(second)["start"]["examples"] == run_json(first)["start"]["examples"] + last["examples"]


def test_it_goes_on_when_the_other_run_is_gone_and_from_no_other_start(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, whole, out = tmp_path / "walk", tmp_path / "whole", tmp_path / "fork"
    shutil.copytree(source, other)
    assert main("isoc", fork(other, "--steps", "2", "--out", str(whole))) == 0
    assert main("isoc", fork(other, "--steps", "0", "--out", str(out))) == 0
    another = refused(capsys, "isoc", fork(other, at="lam1-gamma4-seed1:2"), out, left=True)
    assert "lam" in another or "the stored run began with walk@lam1-gamma4-seed0:2" in another
    assert "--start (nothing): the stored run began with walk@" in refused(
        capsys, "isoc", [*SMALL, "--lam", str(rows(out)["lam"][0]), "--gamma", str(rows(out)["gamma"][0])], out, left=True
    )
    shutil.rmtree(other)
    assert "there is no run" in refused(capsys, "isoc", fork(other, at="lam1-gamma4-seed0:1"), out, left=True)
    assert main("isoc", fork(other, "--steps", "2", "--out", str(out))) == 0
    pd.testing.assert_frame_equal(rows(whole), rows(out), check_exact=True)
    (out / "start.safetensors").write_bytes(b"damaged")
    assert main("isoc", fork(other, "--steps", "3", "--out", str(out))) == 0  # its first step is stored


def test_a_fork_of_an_object_store_in_an_object_store(source: Path) -> None:
    place = f"memory://{uuid.uuid4().hex}"
    fsspec.filesystem("memory").put(str(source), f"{place}/walk", recursive=True)
    start = f"{place}/walk@lam1-gamma4-seed1:1"
    assert main("isoc", [*SMALL, "--start", start, "--steps", "0", "--out", f"{place}/fork"]) == 0
    before = rows(source).query("trajectory == 'lam1-gamma4-seed1' and step == 1").iloc[0]
    (_, found) = next(rayfe.load_run(f"{place}/fork").iterrows())
    assert found["R"] == pytest.approx(before["R"], rel=1e-6)
    assert Store(f"{place}/fork").read_config()["start"]["from"] == "walk@lam1-gamma4-seed1:1"


def test_only_the_start_then_the_same_command_has_the_rows_of_a_run_that_never_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    words = [*SMALL[:-1], "0.5"]  # with a share for certificates, which a start alone gets none of
    assert main("isoc", [*words, "--steps", "2", "--out", str(whole)]) == 0
    assert main("isoc", [*words, "--steps", "0", "--out", str(parts)]) == 0
    assert list(rows(parts)["kind"]) == ["start"] and not (parts / "certificates").exists()
    assert "stopped" in repr(rayfe.Run(parts))
    assert main("isoc", [*words, "--steps", "2", "--out", str(parts)]) == 0
    pd.testing.assert_frame_equal(rows(whole), rows(parts), check_exact=True)
    assert refused(capsys, "isoc", [*SMALL, "--steps", "-1"], tmp_path / "no").startswith("--steps -1: must be at least 0")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lam", "1"], "--lam 1: comes from the step that --start names, whose lam is 1."),
        (["--gamma", "4"], "--gamma 4: comes from the step that --start names, whose gamma is "),
        (["--model.hidden", "17"], "--model.hidden 17: the model of --start has 16; give --model.hidden 16"),
        (["--model.latent", "9"], "--model.latent 9: the model of --start has 8"),
        (["--data.name", "digits:0-4"], None),
        (["--data.name", "mnist"], "has examples"),
        (["--data.name", "digits:0-4", "--start", "{source}@lam1-gamma4-seed0:9"], "step 9 is not there; accepted are 0 to 2"),
        (["--start", "{source}@2"], "has 2 trajectories; give "),
        (["--start", "{source}@lam9:2"], "there is no trajectory lam9; the run has lam1-gamma4-seed0, lam1-gamma4-seed1"),
        (["--start", "{source}x@2"], "there is no run "),
        (["--start", "{source}@last"], "give RUN@STEP, or RUN@TRAJECTORY:STEP"),
        (["--start", "state-dict:0123"], "is what a run that was started in Python has"),
    ],
)
def test_what_cannot_be_a_start_is_refused_in_one_line(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str | None
) -> None:
    words = [word.format(source=source) for word in words]
    if message is None:  # fewer classes have the outputs of their names
        assert main("isoc", fork(source, *words, "--steps", "0", "--out", str(tmp_path / "run"))) == 0
        return
    error = refused(capsys, "isoc", fork(source, *words), tmp_path / "run")
    if message == "has examples":
        assert (
            "--start walk@lam1-gamma4-seed0:2: was trained on examples of shape (1, 8, 8), the data have (1, 28, 28)" in error
        )
    else:
        assert message in error


def test_the_dry_run_knows_that_a_fork_costs_no_start(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from rayfe.cli.commands.check import main as check

    assert check(["isoc", *fork(source, "--steps", "2", "--out", str(tmp_path / "run"))]) == 0
    plan = capsys.readouterr().out
    assert "start: read as it is stored" in plan and "trajectories: 1 (lam1." in plan
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("process", [["--process", "fixed-gamma"], ["--seek", "C=0.5", "R=4"], ["--derivatives", "implicit"]])
def test_every_kind_of_walk_starts_from_a_stored_model(source: Path, tmp_path: Path, process: list[str]) -> None:
    out = tmp_path / "run"
    words = [word for word in fork(source, *process) if "fixed-gamma" not in process or word not in ("--tolerance", "0.5")]
    assert main("isoc", [*words, "--steps", "0", "--out", str(out)]) == 0
    before = rows(source).query("trajectory == 'lam1-gamma4-seed0' and step == 2").iloc[0]
    assert rows(out)["C"][0] == pytest.approx(before["C"], rel=0.02)


TRANSFER_MODEL = [
    *("fig5-quick", "--backend", "inline", "--threads", "1", "--model.hidden", "16", "--model.latent", "4"),
    *("--measure.head-draws", "16", "--measure.response-size", "None", "--equilibration.batch", "64"),
    *("--equilibration.first-epochs", "4", "--equilibration.epochs", "2", "--tolerance", "0.9"),
]
TRANSFER = [
    *(*TRANSFER_MODEL, "--process", "constant-rate", "--stencil", "iso", "--step-length", "0.5", "--step-length-first", "0.5"),
    *("--path.last-epochs", "0", "--certificate-share", "0"),
]


def test_from_a_transfer_that_arrived_a_walk_and_another_transfer_start_on_the_targets_data(tmp_path: Path) -> None:
    there, walk, back, tuned = (tmp_path / name for name in ("there", "walk", "back", "tuned"))
    assert main("transfer", [*TRANSFER, "--data.name", "digits:0-4", "--path.target", "digits:5-9", "--out", str(there)]) == 0
    last = rows(there).query("accepted").iloc[-1]
    assert last["t"] == 1.0
    start = f"{there}@{last['step']}"
    model = ["--model.hidden", "16", "--model.latent", "4", "--model.classifier-hidden", "0", "--model.dropout", "0.1"]
    words = changed(SMALL, *model, "--data.name", "digits:5-9", "--start", start)
    assert main("isoc", [*words, "--steps", "0", "--out", str(walk)]) == 0
    assert run_json(walk)["class_names"] == [str(name) for name in range(10)]
    assert rows(walk)["C"][0] == pytest.approx(last["C"], rel=0.1)
    again = [*TRANSFER, "--data.name", "digits:5-9", "--path.target", "digits:0-4", "--start", start]
    assert main("transfer", [*again, "--steps", "0", "--out", str(back)]) == 0
    assert rows(back)["C"][0] == pytest.approx(last["C"], rel=0.1)
    finetune = [*TRANSFER_MODEL, "--data.name", "digits:5-9", "--path.target", "digits:0-4", "--start", start]
    assert main("baseline", [*finetune, "--steps", "0", "--out", str(tuned)]) == 0
    assert rows(tuned)["C_target"][0] == pytest.approx(last["C"], rel=0.1)


def test_classes_keep_the_outputs_that_were_trained_on_them() -> None:
    from rayfe.data.pairing import places_among

    assert places_among(("5", "6"), ("4", "5", "6")) == (1, 2)
    assert places_among(("6", "5"), ("0->5", "1->6")) == (1, 0)
    assert places_among(("5->0", "6->1"), ("1->6", "0->5")) == (1, 0)
    assert places_among(("a", "b"), ("0", "1")) == (0, 1)
    assert places_among(("1", "2"), ("0", "1")) == (1, 0)
    assert places_among(("a",), ("0", "1")) is None
    assert places_among(("0", "1", "2"), ("0", "1")) is None


# --- state dicts ------------------------------------------------------------------------------------------------------------


def own_model(seed: int = 5) -> torch.nn.Module:
    config = ModelConfig(hidden=16, latent=8)
    data = load(DataConfig(name="digits"))
    return build(config, input_shape=(math.prod(data.input_shape),), classes=data.classes, seed=seed)


def walk(out: Path | None, start: Any, **settings: Any) -> rayfe.Run:
    settings = {"steps": 1, "certificate_share": 0.0, "threads": 1, "tolerance": 0.5} | settings
    epochs = {"first_epochs": 6, "epochs": 3} | settings.pop("equilibration", {})
    model, measure = ModelConfig(hidden=16, latent=8), {"head_draws": 32}
    return rayfe.walk(
        "digits-smoke", model=model, start=start, measure=measure, equilibration=epochs, out=out, quiet=True, **settings
    )


def test_a_state_dict_takes_the_place_of_new_weights(tmp_path: Path) -> None:
    weights = own_model().state_dict()
    untrained = walk(tmp_path / "as-it-is", weights, equilibration={"first_epochs": 0}, steps=0)
    kept = Store(tmp_path / "as-it-is").state(untrained.step(0))
    for name, value in own_model().named_parameters():
        assert np.array_equal(kept[name], value.detach().numpy()), name
    trained = walk(tmp_path / "trained", weights, steps=0)
    assert trained.rows["F"][0] < untrained.rows["F"][0]
    assert trained.rows["first_updates"][0] > 0
    assert run_json(tmp_path / "trained")["start"]["examples"] is None


def test_the_same_call_goes_on_and_so_does_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    weights = own_model().state_dict()
    first = walk(None, weights, steps=0)
    assert walk(None, {name: value.clone() for name, value in weights.items()}).location == first.location
    assert list(first.rows["step"]) == [0, 1]
    assert walk(None, own_model(6).state_dict(), steps=0).location != first.location
    with pytest.raises(UsageError, match=r"start='state-dict:.*the stored run began with state-dict:"):
        walk(Path(first.location), own_model(6).state_dict())
    words = run_json(Path(first.location))["command"].replace("--steps 1", "--steps 2").split()[2:]
    assert main("isoc", changed(words, "--backend", "inline", "--out", str(first.location))) == 0
    assert list(first.rows["step"]) == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: dict(list(weights.items())[:-1]), r"has no classifier\.2\.bias"),
        (lambda weights: weights | {"head.weight": torch.ones(2)}, r"has unknown head\.weight"),
        (lambda weights: weights | {"decoder.0.weight": torch.ones(2, 2)}, r"has shape \(2, 2\)"),
        (lambda weights: weights | {"encoder.0.weight": weights["encoder.0.weight"] * math.nan}, "not finite"),
        (lambda weights: {"model": weights}, r"model is a OrderedDict, not a tensor of numbers"),
        (lambda weights: own_model(), r"start=<MLP>: give a text, a path, a dict or None"),
        (lambda weights: {}, r"model\.state_dict\(\)"),
    ],
)
def test_weights_that_are_no_model_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        walk(tmp_path / "run", change(own_model().state_dict()))
    assert not (tmp_path / "run").exists()


def test_no_epochs_are_for_state_dicts_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = changed(SMALL, "--equilibration.first-epochs", "0")
    assert "new weights need a training" in refused(capsys, "isoc", words, tmp_path / "run")
