"""`python -m rayfe verify`: what is wrong with a run is named, file by file, and nothing is changed."""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from damages import ASKED, DAMAGES, KINDS, NAME, OTHER, WITHOUT_COPY, closed_form, make, same_call
from rayfe.cli.command import main
from rayfe.data.coupling import ATOMS, Coupling, decode, encode
from rayfe.data.npz import npz_bytes
from rayfe.exceptions import UsageError
from rayfe.storage.files import Files
from rayfe.storage.inputs import SHA256
from rayfe.storage.layout import FOLDERS, copy_path
from rayfe.storage.store import Store, load_rows
from rayfe.storage.verification import Fault, faults, trajectories
from stored_steps import content


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "run"
    make(folder)
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made.parent, tmp_path / "made")
    return tmp_path / "made" / "run"


def seen(run: Path) -> list[tuple[Path, int, int]]:
    return [(path, path.lstat().st_mtime_ns, path.lstat().st_ino) for path in sorted(run.rglob("*"))]


def found_in(run: Path) -> dict[str, Fault]:
    return {fault.path: fault for fault in faults(Files(run))}


def test_a_whole_run_has_no_fault(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(made)
    assert main(["verify", str(made)]) == 0
    assert capsys.readouterr().out == f"{made}: 2 trajectories, whole\n"
    assert content(made) == before


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_damage_is_named_and_left_as_it_is(made: Path, run: Path, kind: str) -> None:
    harmless = {"empty", "cut", "bit", "gone", "of another", "older"} if kind == "lock" else set()
    silent = {"gone"} if kind == "coupling" else set()
    for name, damage in DAMAGES.items():
        shutil.rmtree(run)
        shutil.copytree(made, run)
        damage(run / KINDS[kind])
        with closed_form():
            before, found = seen(run), found_in(run)
        named = set() if name in harmless | silent else {KINDS[kind].removeprefix("copies/")}
        assert {path.removeprefix("copies/") for path in found} == named, name
        assert {bool(fault.loss or fault.fix) for fault in found.values()} == ({kind in WITHOUT_COPY} if named else set()), name
        assert seen(run) == before


def test_what_is_lost_with_its_copy_is_said_with_what_to_do(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (f"steps/{NAME}.parquet", f"copies/steps/{NAME}.parquet", "data/mine.npz"):
        (run / path).unlink()
    assert main(["verify", str(run)]) == 1
    *lines, summary = capsys.readouterr().out.splitlines()
    assert summary == f"{run}: 2 trajectories, 2 faults, 2 of them without a whole copy"
    assert f"{run}/steps/{NAME}.parquet: is missing; there is no whole copy: the same command trains again from there" in lines
    again = "give the same arrays again, by the call that made the run"
    assert f"{run}/data/mine.npz: is missing; there is no whole copy: {again}" in lines


def test_weights_that_are_a_link_to_others_are_called_so(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / KINDS["last state"]
    path.unlink()
    path.symlink_to("1.safetensors")
    assert main(["verify", str(run)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: is a link to another file; the same command mends it",
        f"{run}: 2 trajectories, 1 fault, 0 of them without a whole copy",
    ]


def test_what_a_killed_process_left_and_folders_that_are_links_are_named(run: Path, tmp_path: Path) -> None:
    (run / ".run.json.0123abcd.tmp").touch()
    shutil.rmtree(run / "figures", ignore_errors=True)
    (tmp_path / "elsewhere").mkdir()
    (run / "figures").symlink_to(tmp_path / "elsewhere")
    (run / "failed.json").write_text("[")
    (run / ".lock").unlink()
    (run / ".lock").symlink_to(tmp_path / "elsewhere" / "lock")
    assert {path: bool(fault.fix) for path, fault in found_in(run).items()} == {
        ".run.json.0123abcd.tmp": False,
        "figures": True,
        "failed.json": False,
        ".lock": True,
    }


def test_exit_codes(made: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none").mkdir()
    assert main(["verify", str(tmp_path / "none")]) == 2
    assert "no run at" in capsys.readouterr().err
    (run / KINDS["last state"]).write_bytes(b"")
    assert main(["verify", str(made), str(run)]) == 1
    assert f"states/{NAME}/4.safetensors: its SHA-256 is not" in capsys.readouterr().out


def test_copies_that_a_sync_program_made_of_tables_are_no_trajectories(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"{NAME} (1)", f"{NAME}.part0001 copy", f"{NAME}.sync-conflict-20261130-120000-ABCDEFG", f"{OTHER}-LAPTOP", "(1)"]
    before = load_rows(run)
    for folder, name in itertools.product(("steps", "copies/steps", "readings"), names):
        shutil.copy(run / f"steps/{NAME}.parquet", run / folder / f"{name}.parquet")
    shutil.copy(run / "couplings/train.parquet", run / "couplings/train (1).parquet")
    for _ in range(2):
        pd.testing.assert_frame_equal(load_rows(run), before)
    assert sorted(caplog.messages) == sorted(
        f"{run}/steps/{name}.parquet: is of no trajectory, and skipped; remove it" for name in names
    )
    found = found_in(run)
    assert {fault.fix for fault in found.values()} == {"remove it"}
    assert len(found) == 3 * len(names) + 1
    with closed_form():
        same_call(run)
    assert trajectories(Files(run)) == [NAME, OTHER]


def test_files_of_a_file_manager_and_others_that_no_run_reads_are_no_faults(run: Path) -> None:
    for path in (
        "data/.DS_Store",
        "data/._mine.npz",
        "couplings/.DS_Store",
        "couplings/notes.txt",
        "steps/.DS_Store",
        "steps/a.txt",
    ):
        (run / path).write_bytes(b"x")
    (run / "data" / "old").mkdir()
    assert found_in(run) == {}


@pytest.mark.parametrize(
    ("folder", "make_"), [*((folder, Path.touch) for folder in (*FOLDERS, f"states/{NAME}")), ("copies/steps", os.mkfifo)]
)
def test_a_file_in_the_place_of_a_folder_is_one_of_the_faults(
    run: Path, folder: str, make_: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run / folder, ignore_errors=True)
    make_(run / folder)
    (run / "failed.json").write_text("[")
    assert main(["verify", str(run)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(f"{run}/{folder}" in line and "is a file where a folder must be; remove it" in line for line in lines)
    assert any(line.startswith(f"{run}/failed.json: ") for line in lines)
    with closed_form(), pytest.raises((UsageError, AssertionError), match="is a file where a folder must be; remove it"):
        same_call(run)


# --- what a run begins with ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"config": {"model.hidden": True}}, "is not the configuration of a run"),
        ({"kept_sha256": {"../../x": "1"}}, "'../../x' cannot be the name of kept data"),
    ],
)
def test_a_run_json_that_this_version_cannot_use_is_not_whole(run: Path, change: dict[str, Any], text: str) -> None:
    store = Store(run)
    config = store.read_config()
    store.create(config | {name: config[name] | value for name, value in change.items()})
    assert [fault.path for fault in faults(Files(run)) if text in fault.text] == ["run.json"]


def test_a_run_of_before_without_digests_of_its_arrays_is_whole(run: Path) -> None:
    store = Store(run)
    store.create({name: value for name, value in store.read_config().items() if name != "kept_sha256"})
    assert found_in(run) == {}
    (run / "data" / "mine.npz").write_bytes(npz_bytes(ASKED["target"]))
    assert found_in(run) == {}
    (run / "data" / "mine.npz").write_bytes(b"PK")
    assert set(found_in(run)) == {"data/mine.npz"}


def test_what_is_wrong_is_mended_by_the_same_call_where_it_can_be(run: Path) -> None:
    for kind in ("fingerprint", "state before", "last carry", "coupling", "start", "data"):
        DAMAGES["cut"](run / KINDS[kind])
    (run / "failed.json").write_text("[")
    with closed_form():
        same_call(run)
    assert found_in(run) == {}


def changed(name: str, change: Any) -> Callable[[Coupling], Coupling]:
    return lambda coupling: dataclasses.replace(coupling, **{name: change(getattr(coupling, name).copy())})


def atoms(chosen: Callable[[np.ndarray], np.ndarray], **report: Any) -> Callable[[Coupling], Coupling]:
    def made(coupling: Coupling) -> Coupling:
        weight = chosen(coupling.weight)
        ends = {end: chosen(getattr(coupling, end)) for end in ("source", "target")}
        return dataclasses.replace(coupling, **ends, weight=weight / max(weight.sum(), 1e-9), report=coupling.report | report)

    return made


UNSOUND = {
    "an index beyond": (changed("source", lambda rows: np.r_[10**9, rows[1:]]), "rows of the source are not those"),
    "an index before": (changed("target", lambda rows: np.r_[-1, rows[1:]]), "rows of the target are not those"),
    "another index": (changed("target", lambda rows: np.where(rows == 0, 1, rows)), "over the target is not uniform"),
    "NaN": (changed("weight", lambda weight: np.r_[np.nan, weight[1:]]), "over the source is not uniform"),
    "infinite": (changed("weight", lambda weight: np.r_[np.inf, weight[1:]]), "over the source is not uniform"),
    "all zero": (changed("weight", lambda weight: 0 * weight), "over the source is not uniform"),
    "negative": (changed("weight", lambda weight: -weight), "a weight is negative"),
    "none": (atoms(lambda values: values[:0]), "rows of the source are not those"),
    "one": (atoms(lambda values: values[:1]), "rows of the source are not those"),
}


@pytest.mark.parametrize("kind", UNSOUND)
def test_a_coupling_is_not_believed(run: Path, kind: str) -> None:
    change, text = UNSOUND[kind]
    path = run / KINDS["coupling"]
    whole = decode(path.read_bytes())
    unsigned = {name: value for name, value in whole.report.items() if name != SHA256}
    path.write_bytes(encode(change(dataclasses.replace(whole, report=unsigned))))
    assert text in found_in(run)[KINDS["coupling"]].text


def test_a_coupling_of_fewer_examples_is_computed_again(run: Path) -> None:
    """Whole by itself; only the examples tell."""
    path = run / KINDS["coupling"]
    whole = path.read_bytes()
    row = np.zeros(1, np.int64)
    path.write_bytes(encode(Coupling(source=row, target=row, weight=np.ones(1), report={})))
    with closed_form() as said:
        same_call(run)
        (line,) = said.taken()[0]
    assert "is not the coupling of these examples; set aside as damaged/couplings/1-train.parquet; made again" in line
    again, before = decode(path.read_bytes()), decode(whole)
    assert all(np.array_equal(getattr(again, name), getattr(before, name)) for name in ATOMS)


def lost_start(run: Path) -> dict[str, Any]:
    """The run without its start, and how it is asked for where the state dict is away."""
    name = Store(run).read_config()["start"]["from"]
    (run / KINDS["start"]).unlink()
    return {"start": name}


def test_a_started_run_goes_on_without_its_start_where_its_first_step_is_stored(run: Path) -> None:
    start = lost_start(run)
    with closed_form() as said:
        same_call(run, **start, steps=5)
        lines, rows = said.taken()
    assert rows == 2
    assert [line for line in lines if "start.safetensors: is missing; trajectories that have their first step go on" in line]


def test_a_new_trajectory_of_a_run_that_lost_its_start_fails_with_the_way(run: Path) -> None:
    start = lost_start(run)
    with (
        closed_form(),
        pytest.warns(RuntimeWarning),
        pytest.raises(AssertionError, match="start the run again where state-dict:"),
    ):
        same_call(run, **start, gamma=[8.0, 9.0, 7.0])
    with closed_form():
        same_call(run, gamma=[8.0, 9.0, 7.0])
    assert found_in(run) == {}
    assert os.path.exists(run / KINDS["start"])


def test_copies_of_data_that_are_others_are_set_aside_and_written_again(run: Path) -> None:
    whole = (run / "data" / "mine.npz").read_bytes()
    (run / "data" / "mine.npz").write_bytes((run / "data" / "theirs.npz").read_bytes())
    with closed_form() as said:
        same_call(run)
        (line,) = said.taken()[0]
    assert line.endswith("its arrays are not those that the run was given; set aside as damaged/data/1-mine.npz; made again")
    assert (run / "data" / "mine.npz").read_bytes() == whole
    assert Files(run).exists(copy_path("run.json"))
