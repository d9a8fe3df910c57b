"""A run that somebody else prepared: nothing outside of it is changed, and nothing is read that does not end or does not fit."""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from rayfe.config import configure
from rayfe.data import parquet_file
from rayfe.data.coupling import Coupling
from rayfe.data.from_arrays import dataset
from rayfe.data.npz import load_npz
from rayfe.exceptions import CorruptFile, StorageError, UsageError
from rayfe.records import StepRecord
from rayfe.storage import lease, parquet
from rayfe.storage.files import Files
from rayfe.storage.inputs import Inputs
from rayfe.storage.local import replace_together
from rayfe.storage.parquet import encode
from rayfe.storage.store import Store
from stored_steps import NAME, commit_of, content, step_record, walk

THROUGH = "is a link, and nothing is changed through one"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    for name in ("0.safetensors", "keep.txt", ".x.0123abcd.tmp"):
        (folder / name).write_text("precious")
    return folder


# --- links ---------------------------------------------------------------------------------------------------------------


COUPLING = Coupling(source=np.arange(2), target=np.arange(2), weight=np.full(2, 0.5), report={})
EXAMPLES = dataset(np.eye(4), [0, 1, 0, 1], validation=(np.ones((2, 4)), [0, 1]), name="mine")
WRITES: dict[str, Callable[[Store], Any]] = {
    "figures": lambda store: store.write_figure("curve.png", b""),
    "data": lambda store: store.inputs.keep_data(EXAMPLES, ""),
    "couplings": lambda store: store.inputs.write_coupling("train", COUPLING),
    "copies": lambda store: store.create({}),
    "steps": lambda store: store.commit(NAME, commit_of(3)),
    "readings": lambda store: store.commit(NAME, commit_of(3)),
    "states": lambda store: store.commit(NAME, commit_of(3)),
    f"states/{NAME}": lambda store: store.commit(NAME, commit_of(3)),
    "carry": lambda store: store.commit(NAME, commit_of(3)),
    f"carry/{NAME}": lambda store: store.commit(NAME, commit_of(3)),
    "damaged": lambda store: store.inputs.keep_data(EXAMPLES, ""),
}


@pytest.mark.parametrize("folder", WRITES)
def test_nothing_is_changed_through_a_link(tmp_path: Path, outside: Path, folder: str) -> None:
    run = tmp_path / "run"
    store = Store(run, keep_states="last")
    walk(store, 3)
    store.create({})
    store.inputs.keep_data(EXAMPLES, "")
    store.inputs.write_coupling("train", COUPLING)
    if (run / folder).exists():
        (run / folder).rename(tmp_path / "moved")
    (run / folder).symlink_to(outside)
    before = content(outside)
    with pytest.raises(UsageError, match=THROUGH):
        WRITES[folder](Store(run, keep_states="last"))
    if "/" not in folder:
        with pytest.raises(UsageError, match=THROUGH):
            store.writable()
    assert content(outside) == before


def test_the_runs_own_folder_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    walk(Store(tmp_path / "run"), 2)
    assert len(Store(tmp_path / "disk").rows(NAME)) == 2


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path, outside: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("run.json", "report.html", ".x.0123abcd.tmp"):
        (run / name).symlink_to(outside / "keep.txt")
    before = content(outside)
    with Store(run).lock() as store:
        store.create({})
        store.write_text("report.html", "page")
    assert content(outside) == before
    assert not (run / "run.json").is_symlink()


@pytest.mark.parametrize("make", [Path.symlink_to, Path.hardlink_to])
def test_a_lock_file_that_is_another_file_is_refused(tmp_path: Path, outside: Path, make: Callable[[Path, Path], None]) -> None:
    make(tmp_path / ".lock", outside / "keep.txt")
    with pytest.raises(UsageError, match="is no file that can be locked"), Store(tmp_path).lock():
        pass
    assert (outside / "keep.txt").read_text() == "precious"


def test_links_of_other_storage_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As sftp lists them."""
    ls = MemoryFileSystem.ls

    def with_link(self: MemoryFileSystem, path: str, detail: bool = True, **options: Any) -> Any:
        found = ls(self, path, detail=detail, **options)
        return (
            [entry | {"type": "link"} if entry["name"].endswith("/figures") else entry for entry in found] if detail else found
        )

    files = Files("memory://linked")
    files.write("figures/a", b"")
    monkeypatch.setattr(MemoryFileSystem, "ls", with_link)
    monkeypatch.setattr(MemoryFileSystem, "protocol", "sftp")
    files.write("report.html", b"")
    with pytest.raises(UsageError, match=THROUGH):
        files.write("figures/curve.png", b"")


# --- names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [{"state": "../../x"}, {"state": f"states/{NAME}/7.safetensors"}, {"trajectory": "../other"}])
def test_rows_that_lead_elsewhere_are_refused(tmp_path: Path, row: dict[str, str]) -> None:
    store = Store(tmp_path)
    walk(store, 1)
    (tmp_path / "steps" / f"{NAME}.parquet").write_bytes(encode([dataclasses.replace(step_record(0), **row)], StepRecord))
    with pytest.raises(CorruptFile, match="names another file|of another trajectory"):
        store.rows(NAME)


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "a\nb", "n" * 300])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a trajectory"):
        Store(tmp_path).rows(name)


# --- sizes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["run.json", f"steps/{NAME}.parquet", f"states/{NAME}/0.safetensors"])
def test_a_pipe_or_a_huge_file_is_not_read(tmp_path: Path, path: str) -> None:
    store = Store(tmp_path)
    store.create({})
    (row,) = walk(store, 1)
    (tmp_path / "copies" / "run.json").unlink()
    place = tmp_path / path
    for make, fault in (
        (os.mkfifo, "is no regular file"),
        (lambda path: (path.touch(), os.truncate(path, 2**40)), "more than the .* that are read"),
    ):
        place.unlink()
        make(place)
        with pytest.raises(CorruptFile, match=fault):
            {"run.json": store.read_config, "steps": lambda: store.rows(NAME)}.get(
                path.split("/")[0], lambda: store.state(row)
            )()


def test_a_table_that_says_it_is_huge_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode([step_record(0)] * 200, StepRecord)
    assert len(parquet.decode(data, StepRecord)) == 200
    with pytest.raises(ValueError, match="200 rows"):
        parquet_file.read(data, parquet.schema_of(StepRecord), most=199)


def test_a_deeply_nested_run_json_is_corrupt(tmp_path: Path) -> None:
    for text in ("[" * 10**6, '{"a":' * 10**5):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(CorruptFile, match="is not JSON"):
            Store(tmp_path).read_config()


def test_more_trajectories_than_a_run_can_have_are_refused() -> None:
    many = tuple(float(value) for value in range(1, 401))
    with pytest.raises(UsageError, match="give at most 100000"):
        configure(lam=many, gamma=many)


def test_an_archive_that_unpacks_to_more_than_memory_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data" / "bomb.npz"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", bytes(10**7))
    monkeypatch.setattr(os, "sysconf", lambda name: 1000)
    monkeypatch.setattr("rayfe.storage.files.most_bytes", lambda: 10**6)
    with pytest.raises(UsageError, match="10000000 bytes when unpacked"):
        load_npz(str(path), name="npz:bomb.npz")
    with pytest.raises(CorruptFile, match="10000000 bytes when unpacked"):
        Inputs(Files(tmp_path)).check_data("bomb", None)


@pytest.mark.parametrize("period", [1e9, -1.0, "1", None, float("nan")])
def test_a_lease_with_an_absurd_period_is_waited_for_as_long_as_any(period: object) -> None:
    files = Files("memory://absurd")
    made = lease.Lease(token="t", holder="\x1b[31mme", machine="", process="", period=1.0, beat=0)
    files.write(".lease/1", json.dumps(dataclasses.asdict(made) | {"period": period}).encode())
    newest = lease._newest(files)
    assert newest is not None
    assert newest[1].period == lease.PERIOD


def test_files_are_replaced_together_or_not_at_all(tmp_path: Path) -> None:
    card, model = tmp_path / "m.md", tmp_path / "missing" / "m.pt2"
    card.write_text("old")
    with pytest.raises(StorageError, match="there is no folder"):
        replace_together({card: b"new", tmp_path / "m.md" / "m.pt2": b"new"})
    assert card.read_text() == "old"
    assert not model.parent.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["m.md"]
    replace_together({card: b"new"})
    assert card.read_text() == "new"
