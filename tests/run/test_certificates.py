"""The table of certificates: kept by the hash of the weights, repaired like other tables, made at a job's end and by a command."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import rayfe
from rayfe.cli.command import main as command
from rayfe.cli.commands.certify import parser
from rayfe.cli.job_command import main as job
from rayfe.exceptions import CorruptFile, StorageFull
from rayfe.records import CertificateRecord
from rayfe.storage.parquet import schema_of
from rayfe.storage.store import Store
from rayfe.trajectory.certification import SEEDS
from stored_steps import NAME, walk

WALK = "lam1-gamma4-seed0"
JOB = Path(__file__).parents[1] / "helpers" / "instrumented_job.py"
SHORT = [
    *("digits-smoke", "--threads", "1", "--tolerance", "0.5", "--measure.head-draws", "16", "--model.hidden", "16"),
    *("--equilibration.first-epochs", "60", "--equilibration.epochs", "10"),
]
INLINE = [*SHORT, "--backend", "inline"]
FOUR = [*INLINE, "--steps", "4"]


def record(step: int, sha256: str, *, method: str = "on", **values: object) -> CertificateRecord:
    given = {
        "lam": 1.0,
        "gamma": 4.0,
        "t": 0.0,
        "held_on": "train",
        "seeds": 2,
        "epochs": 3.0,
        "examples": 10.0,
        "seconds": 1.0,
        "F": 1.0,
        "dF": 0.0,
        "dF_se": 0.1,
        "dC": 0.0,
        "dC_se": 0.1,
    }
    key = {"trajectory": NAME, "step": step, "state_sha256": sha256, "method": method, "outcome": "OK"}
    return CertificateRecord(**(key | given | values))


# --- the table ----------------------------------------------------------------------------------------------------------


def test_certificates_are_kept_by_model_and_method_and_the_last_one_counts(location: str) -> None:
    store = Store(location)
    rows = walk(store, 3)
    for step, method, dC in ((2, "on", 0.1), (1, "on", 0.2), (2, "anew", 0.3), (2, "on", 0.4)):
        store.keep_certificate(record(step, str(rows[step].state_sha256), method=method, dC=dC))
    found = store.certificates(NAME)
    assert [(one.step, one.method, one.dC) for one in found] == [(1, "on", 0.2), (2, "anew", 0.3), (2, "on", 0.4)]
    assert list(rayfe.load_certificates(location)["dC"]) == [0.2, 0.3, 0.4]


def test_a_model_that_is_no_row_any_more_has_no_certificate(tmp_path: Path) -> None:
    store = Store(tmp_path)
    walk(store, 2)
    store.keep_certificate(record(1, "f" * 64))
    assert store.certificates(NAME) == []


def test_the_folder_reads_as_one_table_with_a_description_for_every_column(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = walk(store, 2)
    other = walk(store, 2, "lam1-gamma8-seed0")
    store.keep_certificate(record(1, str(rows[1].state_sha256)))
    store.keep_certificate(
        dataclasses.replace(record(1, str(other[1].state_sha256)), trajectory="lam1-gamma8-seed0", dC=None, dC_se=None)
    )
    table = pd.read_parquet(tmp_path / "certificates")
    assert len(table) == 2 and table["dC"].isna().sum() == 1
    assert list(table.columns) == [field.name for field in dataclasses.fields(CertificateRecord)]
    assert all(len(column.metadata[b"description"]) > 5 for column in schema_of(CertificateRecord))


def test_a_damaged_table_is_refused_and_repaired_as_far_as_it_was_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = walk(store, 3)
    for step in (1, 2):
        store.keep_certificate(record(step, str(rows[step].state_sha256)))
    path = tmp_path / "certificates" / f"{NAME}.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorruptFile, match=NAME):
        rayfe.load_certificates(tmp_path)
    assert store.recover(NAME) == rows
    assert [one.step for one in store.certificates(NAME)] == [1, 2]
    assert (path.parents[1] / "damaged" / "certificates" / f"1-{path.name}").exists()
    path.write_bytes(b"nothing")
    (tmp_path / "copies" / "certificates" / path.name).unlink()
    assert store.recover(NAME) == rows
    assert store.certificates(NAME) == []


# --- at the end of a job --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("certificates") / "run"
    assert job("isoc", [*FOUR, "--out", str(out)]) == 0
    return out


def without_seconds(out: Path) -> pd.DataFrame:
    return rayfe.load_certificates(out).drop(columns="seconds")


def test_a_job_trains_its_last_model_on_for_at_most_a_tenth_of_its_examples(run: Path) -> None:
    rows, (line,) = rayfe.load_run(run), without_seconds(run).to_dict("records")
    last = rows[rows["accepted"]].iloc[-1]
    assert (line["step"], line["state_sha256"], line["method"], line["outcome"]) == (last.step, last.state_sha256, "on", "OK")
    assert 0.05 * last.examples < line["examples"] <= 0.1 * last.examples
    assert line["epochs"] > 0.0 and line["seeds"] == 2
    assert line["dF"] == pytest.approx(line["dR"] + last.lam * line["dD"] + last.gamma * line["dC"])
    assert line["F"] + line["dF"] == pytest.approx(last.F, rel=1e-6)  # the row's model was read with the row's draws
    assert min(line[f"d{name}_se"] for name in ("F", "R", "D", "C")) > 0.0


def test_the_same_command_trains_nothing_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "certificates" / f"{WALK}.parquet"
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert job("isoc", [*FOUR, "--out", str(run)]) == 0
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    text = capsys.readouterr().out
    assert "training its last model on" not in text
    assert "distance from equilibrium: " in text


def test_a_certificate_alone_that_is_missing_or_damaged_is_made_again_with_the_same_numbers(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, path = without_seconds(run), run / "certificates" / f"{WALK}.parquet"
    rows = (run / "steps" / f"{WALK}.parquet").read_bytes()
    copy = run / "copies" / "certificates" / path.name
    path.unlink()
    copy.unlink()
    assert job("isoc", [*FOUR, "--out", str(run)]) == 0
    pd.testing.assert_frame_equal(without_seconds(run), before, check_exact=True)
    assert "M examples" in capsys.readouterr().out
    path.write_bytes(b"nothing")
    copy.unlink()
    assert job("isoc", [*FOUR, "--out", str(run)]) == 0
    pd.testing.assert_frame_equal(without_seconds(run), before, check_exact=True)
    assert (run / "steps" / f"{WALK}.parquet").read_bytes() == rows


def test_without_a_share_there_is_none_and_a_baseline_has_none(tmp_path: Path) -> None:
    assert job("isoc", [*INLINE, "--certificate-share", "0", "--steps", "1", "--out", str(tmp_path / "walk")]) == 0
    small = [
        "--data.name",
        "digits:0-4",
        "--path.target",
        "digits:5-9",
        "--equilibration.first-epochs",
        "2",
        "--backend",
        "inline",
    ]
    small += ["--equilibration.epochs", "1", "--equilibration.batch", "64", "--model.hidden", "8", "--method-epochs", "2"]
    assert job("baseline", ["fig5-quick", *small, "--measure.head-draws", "8", "--out", str(tmp_path / "base")]) == 0
    assert not (tmp_path / "walk" / "certificates").exists()
    assert not (tmp_path / "base" / "certificates").exists()


def test_a_driver_killed_while_it_certifies_goes_on_with_the_same_command(tmp_path: Path, run: Path) -> None:
    out, log = tmp_path / "run", tmp_path / "log"
    words = [sys.executable, str(JOB), "trained", "0.3", str(log), *FOUR, "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": str(JOB.parents[2])}
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    deadline = time.monotonic() + 150
    while not (log.exists() and "certificate of" in log.read_text()):  # an answer to its first training is on its way
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert not (out / "certificates").exists()
    steps = (out / "steps" / f"{WALK}.parquet").read_bytes()
    assert job("isoc", [*FOUR, "--out", str(out)]) == 0
    assert (out / "steps" / f"{WALK}.parquet").read_bytes() == steps
    pd.testing.assert_frame_equal(without_seconds(out), without_seconds(run), check_exact=True)


@pytest.mark.ray
def test_ray_certifies_with_the_same_numbers_and_goes_on_with_what_is_missing(run: Path, tmp_path: Path, ray_session) -> None:
    out = tmp_path / "run"
    assert job("isoc", [*SHORT, "--steps", "4", "--backend", "ray", "--out", str(out)]) == 0
    pd.testing.assert_frame_equal(without_seconds(out), without_seconds(run), check_exact=True)
    (out / "certificates" / f"{WALK}.parquet").unlink()
    assert job("isoc", [*SHORT, "--steps", "4", "--backend", "ray", "--out", str(out)]) == 0
    pd.testing.assert_frame_equal(without_seconds(out), without_seconds(run), check_exact=True)


def test_the_command_trains_three_seeds_unless_told_and_a_job_two() -> None:
    assert parser().parse_args(["RUN"]).seeds == 3
    assert SEEDS == 2


# --- the command ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(run, tmp_path / "copy"))


def test_the_command_certifies_the_nearest_step_on_and_anew_and_repeats_nothing(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["certify", str(copy), "--at", "lam=1.3", "--anew", "--epochs", "4"]
    assert command(words) == 0
    found = without_seconds(copy)
    near = found[found["step"] == rayfe.find_step(copy, WALK, at={"lam": 1.3}).step]
    assert sorted(near["method"]) == ["anew", "on"]
    assert set(near["epochs"]) == {4.0}
    (anew,) = near[near["method"] == "anew"].to_dict("records")
    assert anew["dF"] < 0.0  # four epochs from scratch end above a model of twenty and more: they prove nothing
    before = (copy / "certificates" / f"{WALK}.parquet").read_bytes()
    capsys.readouterr()
    assert command(words) == 0
    assert (copy / "certificates" / f"{WALK}.parquet").read_bytes() == before
    assert capsys.readouterr().out.count("there already") == 2
    assert command(["certify", str(copy), "--epochs", "6", "--seeds", "3"]) == 0  # longer than what the job did
    (last,) = without_seconds(copy)[lambda frame: frame["step"] == 4].to_dict("records")
    assert (last["epochs"], last["seeds"], last["outcome"]) == (6.0, 3, "OK")
    assert rayfe.Run(copy).certificates().equals(rayfe.load_certificates(copy))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["none"], "no run at"),
        (["RUN", "--seeds", "1"], "--seeds 1: must be at least 2"),
        (["RUN", "--epochs", "0"], "--epochs 0: must be a positive number"),
        (["RUN", "--epochs", "nan"], "--epochs nan: must be a positive number"),
        (["RUN", "--step", "9"], "has no such accepted step, only 0, 1, 2, 3, 4"),
        (["RUN", "--step", "1", "--at", "lam=1"], "not allowed with"),
        (["RUN", "--at", "lam"], "write COLUMN=NUMBER"),
        (["RUN", "--at", "loss=1"], "loss cannot be asked for"),
        (["RUN", "--trajectory", "lam9"], "--trajectory lam9: "),
        (["RUN", "--epoch", "3"], "unrecognized arguments"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    run: Path, words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert command(["certify", *(str(run) if word == "RUN" else word for word in words)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert text in captured.err
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*")}


def test_other_data_and_weights_that_are_gone_are_refused(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "states" / WALK / "1.safetensors").unlink()
    assert command(["certify", str(copy), "--step", "1"]) == 2
    assert "not stored any more (--keep-states)" in capsys.readouterr().err
    store = Store(copy)
    store.create(store.read_config() | {"data_sha256": "0" * 64})
    assert command(["certify", str(copy)]) == 2
    error = capsys.readouterr().err
    assert "are not those of the run" in error and error.count("\n") == 1


def test_a_run_that_another_process_works_on_is_refused(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(copy).lock(say=print):
        assert command(["certify", str(copy), "--step", "1"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_command_that_finds_no_room_says_so_in_one_line_and_leaves_the_table_whole(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise StorageFull("x")

    before = (copy / "certificates" / f"{WALK}.parquet").read_bytes()
    monkeypatch.setattr("rayfe.storage.store.write_certificate", full)
    assert command(["certify", str(copy), "--step", "1", "--epochs", "0.2"]) == 1
    error = capsys.readouterr().err
    assert "no space left" in error and error.count("\n") == 1
    assert (copy / "certificates" / f"{WALK}.parquet").read_bytes() == before


KINDS: dict[str, tuple[str, list[str]]] = {
    "control": ("isoc", [*INLINE, "--hold", "control", "--steps", "1"]),
    "displacement": (
        "transfer",
        [
            *(
                "fig5-quick",
                "--backend",
                "inline",
                "--data.name",
                "digits:0-4",
                "--path.target",
                "digits:5-9",
                "--threads",
                "1",
            ),
            *("--process", "constant-rate", "--lam-dot", "-0.2", "--step-length", "0.5"),
            *("--step-length-first", "0.01", "--lam", "1", "--gamma", "4", "--model.hidden", "32", "--model.latent", "6"),
            *("--measure.head-draws", "32", "--tolerance", "0.3", "--equilibration.first-epochs", "20", "--path.kind"),
            *("displacement", "--path.pairing", "cost", "--path.within-pairs", "--equilibration.batch", "64"),
            *("--path.last-epochs", "0", "--equilibration.epochs", "4", "--stencil", "iso", "--measure.response-size", "500"),
        ],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_runs_that_move_data_or_hold_the_loss_of_control_images_are_certified(kind: str, tmp_path: Path) -> None:
    name, words = KINDS[kind]
    assert job(name, [*words, "--out", str(tmp_path)]) == 0
    assert command(["certify", str(tmp_path), "--step", "1", "--epochs", "2"]) == 0
    rows, found = rayfe.load_run(tmp_path), rayfe.load_certificates(tmp_path)
    for line in found[found["outcome"] == "OK"].to_dict("records"):
        row = rows[rows["state_sha256"] == line["state_sha256"]].iloc[0]
        assert line["t"] == row.t
        assert line["F"] + line["dF"] == pytest.approx(row.F, rel=1e-5)
        if kind == "control":
            assert line["control_C"] + line["control_dC"] == pytest.approx(row.control_C, rel=1e-5)
    assert (found["step"] == 1).any()
    assert found["C_gamma"].notna().any()


# --- what is told ---------------------------------------------------------------------------------------------------------


def test_check_says_what_the_certificate_will_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["check", "isoc", *FOUR]) == 0
    assert "certificates: about 0.0" in capsys.readouterr().out
    assert command(["check", "isoc", *FOUR, "--certificate-share", "2"]) == 2
    assert "--certificate-share 2: must be at least 0 and at most 1" in capsys.readouterr().err


def test_page_card_and_status_show_it(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["status", str(copy)]) == 0
    status = " ".join(capsys.readouterr().out.split())
    assert "distance from equilibrium: " in status
    assert command(["export", str(copy), "--step", "4", "--to", str(tmp_path / "m.pt2")]) == 0
    assert command(["export", str(copy), "--step", "0", "--to", str(tmp_path / "first.pt2")]) == 0
    assert "This model's equilibrium: " in (card := (tmp_path / "m.pt2.md").read_text()) and "2 seeds trained on" in card
    assert "This model's equilibrium: not measured: no model was trained on" in (tmp_path / "first.pt2.md").read_text()
    assert f"{WALK}, step 4: " in (copy / "report.html").read_text()
