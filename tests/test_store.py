"""The run directory: what is stored comes back exactly, and a crash at any moment leaves a run that goes on."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import typing
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayfe import tables
from rayfe.config import UsageError
from rayfe.files import Files
from rayfe.lease import Succeeded
from rayfe.records import Commit, Outcome, ReadingRecord, StepRecord
from rayfe.store import CorruptFile, Store, load_readings, load_rows

NAME = "lam0.25-gamma4-seed0"


def step_record(step: int, *, attempt: int = 0, accepted: bool = True, trajectory: str = NAME, **values: object) -> StepRecord:
    outcome = Outcome.OK if accepted else Outcome.NONFINITE
    given = {
        "process": "iso-classification",
        "lam": 0.25 + step,
        "gamma": 4.0,
        "examples": 1e3 * step,
        "seconds": 0.1,
        "seed": 0,
    }
    key = {"trajectory": trajectory, "step": step, "attempt": attempt, "accepted": accepted, "outcome": outcome}
    return StepRecord(**key, **(given | values))


def reading_record(step: int, *, attempt: int = 0, trajectory: str = NAME) -> ReadingRecord:
    numbers = dict.fromkeys(["lam", "gamma", "t", "R", "D", "C", "F", "accuracy", "R_se", "D_se", "C_se"], 1 / 3)
    key = {"trajectory": trajectory, "step": step, "attempt": attempt, "replica": "centre", "split": "train"}
    return ReadingRecord(**key, update=7, first=step == 0, **numbers)


def commit_of(step: int, *, attempt: int = 0, accepted: bool = True, trajectory: str = NAME) -> Commit:
    weights = {"w": np.full((2, 3), step, np.float32), "scale": np.asarray(0.5 + step)}
    return Commit(
        record=step_record(step, attempt=attempt, accepted=accepted, trajectory=trajectory),
        readings=(reading_record(step, attempt=attempt, trajectory=trajectory),),
        state=weights if accepted else None,
        carry={"tangent": np.arange(4.0) * step} if accepted else None,
    )


def walk(store: Store, steps: int, trajectory: str = NAME) -> list[StepRecord]:
    return [store.commit(trajectory, commit_of(step, trajectory=trajectory)) for step in range(steps)]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(params=["local", "memory"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "run") if request.param == "local" else f"memory://{uuid.uuid4().hex}/run"


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record_class", [StepRecord, ReadingRecord])
def test_every_column_has_a_type_and_a_description_in_the_file(record_class: type) -> None:
    schema = pq.read_schema(pa.BufferReader(tables.encode([], record_class)))
    hints = typing.get_type_hints(record_class)
    assert schema.names == [item.name for item in dataclasses.fields(record_class)]
    for item in dataclasses.fields(record_class):
        assert schema.field(item.name).metadata[b"description"].decode() == item.metadata["description"]
        assert schema.field(item.name).nullable == (type(None) in typing.get_args(hints[item.name]))


ANY_FLOAT = st.floats(allow_nan=False, allow_subnormal=True)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(ANY_FLOAT, st.none() | ANY_FLOAT, st.none() | st.integers(0, 2**62), st.none() | st.text()), max_size=5)
)
def test_rows_come_back_exactly(values: list[tuple[float, float | None, int | None, str | None]]) -> None:
    rows = [
        step_record(
            step, lam=lam, R=R, response_age=age, reason=None if text is None else text.encode("utf-8", "ignore").decode()
        )
        for step, (lam, R, age, text) in enumerate(values)
    ]
    again = tables.decode(tables.encode(rows, StepRecord), StepRecord)
    assert again == rows
    assert [np.signbit(row.lam) for row in again] == [np.signbit(row.lam) for row in rows]


def test_numpy_scalars_are_stored_like_python_numbers() -> None:
    row = step_record(0, lam=np.float64(0.1), R=np.float64(2.5), seed=np.int64(3), accepted=np.bool_(True))
    assert tables.decode(tables.encode([row], StepRecord), StepRecord) == [step_record(0, lam=0.1, R=2.5, seed=3)]


def test_equal_rows_give_equal_bytes() -> None:
    rows = [step_record(0, R=0.1), step_record(1, accepted=False, reason="NONFINITE")]
    assert tables.encode(rows, StepRecord) == tables.encode([dataclasses.replace(row) for row in rows], StepRecord)


def test_none_in_a_column_that_is_always_measured_is_refused() -> None:
    with pytest.raises(pa.ArrowInvalid):
        tables.encode([step_record(0, lam=None)], StepRecord)


def test_a_table_of_an_older_version_reads_with_none_for_its_missing_columns() -> None:
    table = tables.table_of([step_record(0, R=1.0, D=2.0)], StepRecord).drop_columns(["D"])
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    assert tables.decode(sink.getvalue().to_pybytes(), StepRecord) == [step_record(0, R=1.0)]


def test_a_damaged_value_or_column_name_is_noticed() -> None:
    data = tables.encode([step_record(0, R=0.1, val_accuracy=0.5)], StepRecord)
    for text in (NAME.encode(), np.float64(0.1).tobytes(), b"val_accuracy"):
        start = 0
        while (start := data.find(text, start) + 1) > 0:
            damaged = bytearray(data)
            damaged[start] ^= 4
            try:
                assert tables.decode(bytes(damaged), StepRecord) == [
                    step_record(0, R=0.1, val_accuracy=0.5)
                ]  # a copy in the footer
            except ValueError as error:
                assert "not a table of StepRecord" in str(error)


# --- one store contract, on every filesystem --------------------------------------------------------------------------


def test_a_committed_step_comes_back(location: str) -> None:
    store = Store(location)
    assert not store.exists()
    assert store.trajectories() == [] == store.rows(NAME) == store.readings(NAME)
    store.create({"b": [1, 2], "a": "é"})
    record = store.commit(NAME, commit_of(3))
    assert store.exists()
    assert store.read_config() == {"a": "é", "b": [1, 2]}
    assert record.state == f"states/{NAME}/3.safetensors"
    assert store.trajectories() == [NAME]
    assert store.rows(NAME) == [record] == Store(location).recover(NAME)
    assert store.readings(NAME) == [reading_record(3)]
    for stored, given_weights in ((store.state(record), commit_of(3).state), (store.carry(record), commit_of(3).carry)):
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
    walk(store, 2, "b")
    walk(store, 1, "a")
    assert load_rows(location)[["trajectory", "step"]].values.tolist() == [["a", 0], ["b", 0], ["b", 1]]
    assert load_readings(location)[["trajectory", "step", "update"]].values.tolist() == [["a", 0, 7], ["b", 0, 7], ["b", 1, 7]]


class Killed(BaseException):
    """Stands for kill -9: nothing of our own code catches it."""


@pytest.mark.parametrize("survives", range(6))
def test_a_crash_between_any_two_writes_leaves_the_step_undone_and_repeatable(
    location: str, survives: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(location)
    rows = walk(store, 2)
    real, written = {name: getattr(Files, name) for name in ("write", "keep")}, []

    def until_killed(change: str) -> Callable[..., None]:
        def changed(self: Files, relative: str, *arguments: Any) -> None:
            if len(written) == survives:
                raise Killed
            written.append(relative.split("/")[0])
            with pytest.MonkeyPatch.context() as alive:
                alive.setattr(Files, "write", real["write"])  # to keep may be to write
                real[change](self, relative, *arguments)

        return changed

    for change in real:
        monkeypatch.setattr(Files, change, until_killed(change))
    with pytest.raises(Killed):
        store.commit(NAME, commit_of(2))
    monkeypatch.undo()
    # a table is kept as it was before it is replaced
    assert written == ["states", "carry", "readings", "readings", "steps", "steps"][:survives]

    assert store.rows(NAME) == rows
    assert {reading.step for reading in store.readings(NAME)} == {0, 1}
    assert set(load_readings(location)["step"]) == {0, 1}
    assert Store(location).recover(NAME) == rows
    store.commit(NAME, commit_of(2))
    whole = Store(f"memory://{uuid.uuid4().hex}")
    assert store.rows(NAME) == walk(whole, 3)
    assert store.readings(NAME) == whole.readings(NAME)


def test_recover_drops_readings_without_a_row_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    walk(store, 1)
    table = tmp_path / "readings" / f"{NAME}.parquet"
    before = table.read_bytes()
    write = Files.write

    def killed(self: Files, relative: str, data: bytes) -> None:
        if relative.startswith("steps"):
            raise Killed
        write(self, relative, data)

    monkeypatch.setattr(Files, "write", killed)
    with pytest.raises(Killed):
        store.commit(NAME, commit_of(1))
    monkeypatch.undo()
    assert table.read_bytes() != before
    store.recover(NAME)
    assert table.read_bytes() == before


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.create({"a": 1})
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            store.create({"a": 2})
    assert content(tmp_path) == {"run.json": b'{\n  "a": 1\n}\n'}


def test_a_file_is_written_beside_itself_under_a_name_that_readers_skip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    moves, replace = [], os.replace

    def watched(source: str, target: str) -> None:
        moves.append((Path(source), Path(target)))
        replace(source, target)

    monkeypatch.setattr("os.replace", watched)
    walk(store, 1)
    assert [target.parent for _, target in moves] == [source.parent for source, _ in moves]
    assert all(source.name.startswith(".") and source.name.endswith(".tmp") for source, _ in moves)
    assert {str(target.relative_to(tmp_path)) for _, target in moves} == set(content(tmp_path))


def test_a_run_is_the_same_bytes_wherever_it_is_made(tmp_path: Path) -> None:
    for name in ("one", "two"):
        walk(Store(tmp_path / name), 3)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_pandas_reads_all_trajectories_beside_leftovers_and_all_null_columns(tmp_path: Path) -> None:
    store = Store(tmp_path)
    walk(store, 2, "a")
    store.commit("b", Commit(record=step_record(0, trajectory="b", R=1.5, response_age=2), readings=(), state=None, carry=None))
    leftovers = [tmp_path / "steps" / ".a.parquet.0123abcd.tmp", tmp_path / "states" / "a" / ".2.safetensors.0123abcd.tmp"]
    for leftover in leftovers:
        leftover.write_bytes(b"half a fi")
    frame = pd.read_parquet(f"{tmp_path}/steps")
    assert frame["R"].dropna().tolist() == [1.5]
    pd.testing.assert_frame_equal(frame.sort_values(["trajectory", "step"], ignore_index=True), load_rows(tmp_path))
    assert store.trajectories() == ["a", "b"]
    store.recover("b")
    assert all(leftover.exists() for leftover in leftovers)  # another trajectory's writer may be alive
    store.recover("a")
    assert not any(leftover.exists() for leftover in leftovers)


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["states", "carry"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "gone"])
def test_recover_goes_back_to_the_step_before_a_damaged_file(
    tmp_path: Path, folder: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    rows = walk(store, 2)
    rows.append(store.commit(NAME, commit_of(2, accepted=False)))
    rows.append(store.commit(NAME, commit_of(2, attempt=1)))
    store.commit(NAME, commit_of(3, accepted=False))
    whole = content(tmp_path)
    path = tmp_path / folder / NAME / "2.safetensors"
    data = path.read_bytes()
    bad = {"truncated": data[:-5], "flipped": data[:-1] + bytes([data[-1] ^ 1]), "gone": None}[damage]
    if bad is None:
        path.unlink()
    else:
        path.write_bytes(bad)
        with pytest.raises(CorruptFile, match=str(path)):
            (store.state if folder == "states" else store.carry)(rows[3])

    with caplog.at_level(logging.WARNING):
        assert store.recover(NAME) == rows[:3]  # the rejected attempt at step 2 led to the lost one: it stays
    assert "keeping 3 of 5 rows" in caplog.text
    assert store.rows(NAME) == rows[:3]
    aside = path.with_name(".bad-1-2.safetensors")
    assert (aside.read_bytes() if aside.exists() else None) == bad
    store.commit(NAME, commit_of(2, attempt=1))
    store.commit(NAME, commit_of(3, accepted=False))
    assert {name: data for name, data in content(tmp_path).items() if ".bad-" not in name} == whole


def test_recover_starts_again_when_no_step_is_whole(tmp_path: Path) -> None:
    store = Store(tmp_path, keep_states="last")
    walk(store, 3)
    for step in (1, 2):
        (tmp_path / "states" / NAME / f"{step}.safetensors").write_bytes(b"")
    assert store.recover(NAME) == [] == store.rows(NAME) == store.readings(NAME)
    assert names(tmp_path / "states" / NAME) == {".bad-1-1.safetensors", ".bad-1-2.safetensors"}
    assert pd.read_parquet(f"{tmp_path}/steps").empty


@pytest.mark.parametrize("length", [0, 3, 500, -1])
def test_recover_sets_an_unreadable_table_of_steps_aside_and_goes_back_by_one_commit(
    tmp_path: Path, length: int, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    rows = walk(store, 3)
    path = tmp_path / "steps" / f"{NAME}.parquet"
    bad = path.read_bytes()[:length]
    for number in (1, 2):
        path.write_bytes(bad)
        with pytest.raises(CorruptFile, match=str(path)):
            store.rows(NAME)
        with pytest.raises(CorruptFile):
            load_rows(tmp_path)
        assert store.recover(NAME) == rows[:2] == store.rows(NAME)
        assert [reading.step for reading in store.readings(NAME)] == [0, 1]
        assert (tmp_path / "steps" / f".bad-{number}-{NAME}.parquet").read_bytes() == bad
    assert "set aside as steps/.bad-1-" in caplog.text
    assert store.commit(NAME, commit_of(2)) == rows[2]
    assert len(pd.read_parquet(f"{tmp_path}/steps")) == 3


def test_recover_starts_again_when_a_table_and_what_it_was_are_both_unreadable(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = walk(store, 3)
    for name in (f"{NAME}.parquet", f".previous-{NAME}.parquet"):
        (tmp_path / "steps" / name).write_bytes(b"PAR1")
    assert store.recover(NAME) == [] == store.readings(NAME)
    assert names(tmp_path / "steps") == {f".bad-1-{NAME}.parquet", f".bad-1-.previous-{NAME}.parquet", f"{NAME}.parquet"}
    assert walk(store, 3) == rows


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_an_unreadable_table_of_readings_costs_the_last_step(tmp_path: Path, steps: int) -> None:
    store = Store(tmp_path)
    rows = walk(store, steps)
    whole = content(tmp_path)
    (tmp_path / "readings" / f"{NAME}.parquet").write_bytes(b"PAR1")
    assert store.recover(NAME) == rows[:-1]
    assert [reading.step for reading in store.readings(NAME)] == list(range(steps - 1))
    store.commit(NAME, commit_of(steps - 1))
    assert {name: data for name, data in content(tmp_path).items() if ".bad-" not in name and ".previous-" not in name} == {
        name: data for name, data in whole.items() if ".previous-" not in name
    }


def test_readings_of_a_run_by_an_older_version_are_lost_with_their_table(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = walk(store, 3)
    (tmp_path / "readings" / f".previous-{NAME}.parquet").unlink()  # older versions kept none
    (tmp_path / "readings" / f"{NAME}.parquet").write_bytes(b"PAR1")
    assert store.recover(NAME) == rows
    assert store.readings(NAME) == []
    store.commit(NAME, commit_of(3))
    assert [reading.step for reading in store.readings(NAME)] == [3]


def test_a_config_that_is_no_object_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no run at"):
        Store(tmp_path).read_config()
    for text in ("[1]", "{"):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(CorruptFile, match=r"run\.json"):
            Store(tmp_path).read_config()


def test_corrupt_file_crosses_processes() -> None:
    error = pickle.loads(pickle.dumps(CorruptFile("a/b", "is torn")))
    assert (error.path, str(error)) == ("a/b", "a/b: is torn")


# --- files, lock, writable --------------------------------------------------------------------------------------------


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
from rayfe.store import Store
with Store(sys.argv[1]).lock():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_refuses_a_second_process_and_dies_with_its_holder(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    root = Path(sys.modules["rayfe.store"].__file__).parent.parent
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path / "run"], stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        assert holder.stdout.readline() == "held\n"
        refusal = rf"--out .*run: another process \(pid {holder.pid} on .*\) is working on this run"
        with pytest.raises(UsageError, match=refusal), store.lock():
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
        with store.lock(), pytest.raises(UsageError), Store(tmp_path / "run").lock():
            pass
        with store.lock():
            pass
    finally:
        holder.kill()
        holder.communicate()


def test_a_worker_whose_driver_was_succeeded_writes_nothing(location: str) -> None:
    with Store(location).lock() as first:
        rows = walk(first, 2)
    worker = Store(location, owner=first.owner)
    with Store(location).lock() as second:
        third = second.commit(NAME, commit_of(2))
        for write in (lambda: worker.commit(NAME, commit_of(3)), lambda: worker.recover(NAME)):
            with pytest.raises(Succeeded, match="not held by the driver of this worker"):
                write()
        assert second.rows(NAME) == [*rows, third]
        assert {reading.step for reading in second.readings(NAME)} == {0, 1, 2}


def test_a_worker_that_comes_back_in_the_midst_of_its_commit_takes_no_row_away(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, other = Store(location), Store(location)
    rows = walk(late, 2)
    write = Files.write

    def meanwhile(self: Files, relative: str, data: bytes) -> None:
        write(self, relative, data)
        if relative.startswith("readings/l"):
            monkeypatch.undo()
            rows.extend([other.commit(NAME, commit_of(2)), other.commit(NAME, commit_of(3))])

    monkeypatch.setattr(Files, "write", meanwhile)
    with pytest.raises(RuntimeError, match="step 2, attempt 0 is stored already"):
        late.commit(NAME, commit_of(2))
    assert other.rows(NAME) == rows == other.recover(NAME)


@pytest.mark.parametrize("below", ["run", "a/b/run"])
def test_a_new_folder_is_writable_and_is_not_left_behind(location: str, below: str) -> None:
    store = Store(f"{location}/{below}")
    store.writable()
    assert not Files(location).exists("")
    assert Files(location).names("") == []
    store.create({})
    store.writable()
    assert Files(f"{location}/{below}").names("") == ["run.json"]


def test_a_folder_that_was_there_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    Store(tmp_path).writable()
    assert names(tmp_path) == {"notes.txt"}
    (tmp_path / "empty").mkdir()
    Store(tmp_path / "empty").writable()
    assert (tmp_path / "empty").is_dir()


def test_a_file_or_a_path_below_one_or_an_impossible_name_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("text")
    for bad, fix in (
        (file, "is a file"),
        (file / "run", "cannot be written"),
        (tmp_path / "new" / ("n" * 300), "cannot be written"),
    ):
        with pytest.raises(UsageError, match=fix) as caught:
            Store(bad).writable()
        assert caught.value.name == "out"
        assert "\n" not in str(caught.value)
    assert file.read_text() == "text"
    assert names(tmp_path) == {"file"}


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(UsageError, match="--out nowhere://run"):
        Store("nowhere://run")


def test_building_a_store_touches_nothing(tmp_path: Path) -> None:
    Store(tmp_path / "run")
    assert names(tmp_path) == set()
