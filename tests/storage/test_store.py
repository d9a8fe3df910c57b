"""The run directory: what is stored comes back exactly, on every filesystem, and one driver at a time stores it."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import typing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rayfe.exceptions import CorruptFile, LeaseLost, UsageError
from rayfe.records import Commit, StepRecord
from rayfe.storage.files import Files
from rayfe.storage.store import Store, load_readings, load_rows
from stored_steps import NAME, commit_of, content, names, reading_record, step_record, walk

A, B = "lam1-gamma4-seed0", "lam1-gamma4-seed1"


def test_a_committed_step_comes_back(location: str) -> None:
    store = Store(location)
    assert not store.exists()
    assert store.trajectories() == [] == store.rows(NAME) == store.readings(NAME)
    store.create({"b": [1, 2], "a": "é"})
    record = store.commit(NAME, commit_of(0))
    assert store.exists()
    assert store.read_config() == {"a": "é", "b": [1, 2]}
    assert record.state == f"states/{NAME}/0.safetensors"
    assert store.trajectories() == [NAME]
    assert store.rows(NAME) == [record] == Store(location).recover(NAME)
    assert store.readings(NAME) == [reading_record(0)]
    for stored, given_weights in ((store.state(record), commit_of(0).state), (store.carry(record), commit_of(0).carry)):
        assert stored.keys() == given_weights.keys()
        for name, array in stored.items():
            np.testing.assert_array_equal(array, given_weights[name], strict=True)
            assert array.flags.writeable


def test_arrays_of_any_layout_are_stored_by_value(location: str) -> None:
    array = np.arange(6.0).reshape(2, 3)
    store = Store(location)
    hashes = []
    for step, w in enumerate([array, np.asfortranarray(array), np.repeat(array, 2, axis=1)[:, ::2]]):
        record = store.commit(NAME, Commit(record=step_record(step), readings=(), state={"w": w}, carry=None))
        np.testing.assert_array_equal(store.state(record)["w"], array, strict=True)
        hashes.append(record.state_sha256)
    assert len(set(hashes)) == 1
    assert store.carry(record) == {}


def test_a_rejected_attempt_leaves_a_row_and_no_weights(location: str) -> None:
    store = Store(location)
    first = store.commit(NAME, commit_of(0))
    rejected = store.commit(NAME, commit_of(1, accepted=False))
    assert (rejected.state, rejected.state_sha256, rejected.carry_sha256) == (None, None, None)
    assert store.recover(NAME) == [first, rejected]
    with pytest.raises(ValueError, match="step 1, attempt 0: has no weights"):
        store.state(rejected)


def test_a_stored_attempt_is_not_stored_again(location: str) -> None:
    store = Store(location)
    rows = walk(store, 2)
    with pytest.raises(RuntimeError, match="step 1, attempt 0 is stored already"):
        store.commit(NAME, commit_of(1))
    assert store.rows(NAME) == rows


@pytest.mark.parametrize(("keep", "kept"), [("all", {0, 1, 2, 3, 4}), ("last", {3, 4}), ("1", {3, 4}), ("3", {2, 3, 4})])
def test_weights_of_the_last_steps_are_kept(location: str, keep: str, kept: set[int]) -> None:
    store = Store(location, keep_states=keep)
    rows = [store.commit(NAME, commit_of(step)) for step in range(4)]
    store.commit(NAME, commit_of(4, accepted=False))
    rows.append(store.commit(NAME, commit_of(4, attempt=1)))

    def readable(read: typing.Callable[[StepRecord], object]) -> set[int]:
        found = set()
        for row in rows:
            try:
                read(row)
            except FileNotFoundError as error:
                assert "--keep-states" in str(error)
            else:
                found.add(row.step)
        return found

    assert readable(store.state) == kept
    assert readable(store.carry) == {3, 4}
    assert len(store.recover(NAME)) == 6


def test_all_trajectories_load_as_one_table_in_order(location: str) -> None:
    store = Store(location)
    with pytest.raises(FileNotFoundError, match=r"no run at .*run\.json"):
        load_rows(location)
    store.create({})
    assert list(load_rows(location).columns) == [item.name for item in dataclasses.fields(StepRecord)]
    walk(store, 2, B)
    walk(store, 1, A)
    assert load_rows(location)[["trajectory", "step"]].values.tolist() == [[A, 0], [B, 0], [B, 1]]
    assert load_readings(location)[["trajectory", "step", "update"]].values.tolist() == [[A, 0, 7], [B, 0, 7], [B, 1, 7]]


def test_a_run_is_the_same_bytes_wherever_it_is_made(tmp_path: Path) -> None:
    for name in ("one", "two"):
        walk(Store(tmp_path / name), 3)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_pandas_reads_all_trajectories_beside_leftovers_and_all_null_columns(tmp_path: Path) -> None:
    store = Store(tmp_path)
    walk(store, 2, A)
    store.commit(B, Commit(record=step_record(0, trajectory=B, R=1.5, response_age=2), readings=(), state=None, carry=None))
    leftovers = [tmp_path / "steps" / f".{A}.parquet.0123abcd.tmp", tmp_path / "states" / A / ".2.safetensors.0123abcd.tmp"]
    for leftover in leftovers:
        leftover.write_bytes(b"half a fi")
    frame = pd.read_parquet(f"{tmp_path}/steps")
    assert frame["R"].dropna().tolist() == [1.5]
    pd.testing.assert_frame_equal(frame.sort_values(["trajectory", "step"], ignore_index=True), load_rows(tmp_path))
    assert store.trajectories() == [A, B]
    store.recover(B)
    assert all(leftover.exists() for leftover in leftovers)  # another trajectory's writer may be alive
    store.recover(A)
    assert not any(leftover.exists() for leftover in leftovers)


def test_a_config_that_is_no_object_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no run at"):
        Store(tmp_path).read_config()
    for text in ("[1]", "{"):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(CorruptFile, match=r"run\.json"):
            Store(tmp_path).read_config()


def test_figures_and_pages_are_replaced_whole(location: str) -> None:
    store = Store(location)
    for data in (b"old", b"\x89PNG"):
        assert store.write_figure("curve.png", data) == "figures/curve.png"
    assert store.write_text("report.html", "<p>é</p>") == "report.html"
    files = Files(location)
    assert (files.read("figures/curve.png"), files.read("report.html")) == (b"\x89PNG", "<p>é</p>".encode())
    assert files.names("figures") == ["curve.png"]
    assert store.url("report.html") == f"{store.url()}/report.html"


def test_run_json_is_for_people(tmp_path: Path) -> None:
    Store(tmp_path).create({"b": 1, "a": 2})
    assert (tmp_path / "run.json").read_text() == '{\n  "a": 2,\n  "b": 1\n}\n'
    assert json.loads((tmp_path / "run.json").read_text()) == Store(tmp_path).read_config()


HOLDER = """
import sys, time
from rayfe.storage.store import Store
with Store(sys.argv[1]).lock():
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_lock_refuses_a_second_process_and_dies_with_its_holder(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    root = Path(sys.modules["rayfe.storage.store"].__file__).parents[2]
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path / "run"], stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        assert holder.stdout.readline() == "held\n"
        refusal = rf"out='.*run': another process \(pid {holder.pid} on .*\) is working on this run"
        with pytest.raises(UsageError, match=refusal), store.lock():
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with store.lock(), pytest.raises(UsageError), Store(tmp_path / "run").lock():
            pass
        with store.lock():
            pass
    finally:
        holder.kill()
        holder.communicate()


def test_a_worker_whose_driver_was_succeeded_writes_nothing(location: str) -> None:
    with Store(location).lock() as first:
        rows, worker = walk(first, 2), Store(location, owner=first.owner)
    with Store(location).lock() as second:
        third = second.commit(NAME, commit_of(2))
        for write in (lambda: worker.commit(NAME, commit_of(3)), lambda: worker.recover(NAME)):
            with pytest.raises(LeaseLost, match="is held by another driver now"):
                write()
        assert second.rows(NAME) == [*rows, third]
        assert {reading.step for reading in second.readings(NAME)} == {0, 1, 2}


def test_a_worker_that_comes_back_in_the_midst_of_its_commit_takes_no_row_away(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, other = Store(location), Store(location)
    rows = walk(late, 2)
    write = Files.write

    def meanwhile(self: Files, relative: str, data: bytes, **options: bool) -> None:
        write(self, relative, data, **options)
        if relative.startswith("readings/l"):
            monkeypatch.undo()
            rows.extend([other.commit(NAME, commit_of(2)), other.commit(NAME, commit_of(3))])

    monkeypatch.setattr(Files, "write", meanwhile)
    with pytest.raises(RuntimeError, match="step 2, attempt 0 is stored already"):
        late.commit(NAME, commit_of(2))
    assert other.rows(NAME) == rows == other.recover(NAME)


def test_building_a_store_touches_nothing(tmp_path: Path) -> None:
    Store(tmp_path / "run")
    assert names(tmp_path) == set()
