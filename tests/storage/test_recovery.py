"""Recovery: a crash at any moment, or a damaged file, leaves rows that a run goes on from, and nothing is overwritten."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rayfe.exceptions import CorruptFile
from rayfe.records import CertificateRecord, ReadingRecord, StepRecord
from rayfe.storage.files import Files
from rayfe.storage.parquet import encode
from rayfe.storage.store import Store, load_readings, load_rows
from stored_steps import NAME, commit_of, content, names, reading_record, standing, walk

# --- crashes ----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for kill -9: nothing of our own code catches it."""


@pytest.mark.parametrize("survives", range(4))
def test_a_crash_before_the_row_is_written_leaves_the_step_undone_and_repeatable(
    location: str, survives: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(location)
    rows = walk(store, 2)
    write, written = Files.write, []

    def until_killed(self: Files, relative: str, data: bytes, **options: Any) -> None:
        if len(written) == survives:
            raise Killed
        written.append(relative.split("/")[0])
        write(self, relative, data, **options)

    monkeypatch.setattr(Files, "write", until_killed)
    with pytest.raises(Killed):
        store.commit(NAME, commit_of(2))
    monkeypatch.undo()
    assert written == ["states", "carry", "readings", "steps"][:survives]

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

    def killed(self: Files, relative: str, data: bytes, **options: Any) -> None:
        if relative.startswith("steps"):
            raise Killed
        write(self, relative, data, **options)

    monkeypatch.setattr(Files, "write", killed)
    with pytest.raises(Killed):
        store.commit(NAME, commit_of(1))
    monkeypatch.undo()
    assert table.read_bytes() != before
    store.recover(NAME)
    assert table.read_bytes() == before


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["states", "carry"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "gone"])
def test_recover_goes_back_to_the_step_before_a_file_that_is_damaged_like_its_copy(
    tmp_path: Path, folder: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    rows = walk(store, 2)
    rows.append(store.commit(NAME, commit_of(2, accepted=False)))
    rows.append(store.commit(NAME, commit_of(2, attempt=1)))
    store.commit(NAME, commit_of(3, accepted=False))
    whole = standing(tmp_path)
    path, copy = tmp_path / folder / NAME / "2.safetensors", tmp_path / "copies" / folder / f"{NAME}.safetensors"
    data = path.read_bytes()
    assert copy.read_bytes() == data
    copy.write_bytes(b"")
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
    aside = tmp_path / "damaged" / folder / NAME / "1-2.safetensors"
    assert (aside.read_bytes() if aside.exists() else None) == bad
    store.commit(NAME, commit_of(2, attempt=1))
    store.commit(NAME, commit_of(3, accepted=False))
    assert standing(tmp_path) == whole


def test_recover_starts_again_when_no_step_is_whole(tmp_path: Path) -> None:
    store = Store(tmp_path, keep_states="last")
    walk(store, 3)
    for damaged in (f"states/{NAME}/1.safetensors", f"states/{NAME}/2.safetensors", f"copies/states/{NAME}.safetensors"):
        (tmp_path / damaged).write_bytes(b"")
    assert store.recover(NAME) == [] == store.rows(NAME) == store.readings(NAME)
    assert names(tmp_path / "states" / NAME) == set()
    assert names(tmp_path / "damaged" / "states" / NAME) == {"1-1.safetensors", "1-2.safetensors"}
    assert pd.read_parquet(f"{tmp_path}/steps").empty


@pytest.mark.parametrize("length", [0, 3, 500, -1])
def test_recover_sets_an_unreadable_table_of_steps_aside_and_takes_its_copy(
    tmp_path: Path, length: int, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    rows = walk(store, 3)
    whole = standing(tmp_path)
    path = tmp_path / "steps" / f"{NAME}.parquet"
    bad = path.read_bytes()[:length]
    for number in (1, 2):
        path.write_bytes(bad)
        with pytest.raises(CorruptFile, match=str(path)):
            store.rows(NAME)
        with pytest.raises(CorruptFile):
            load_rows(tmp_path)
        assert store.recover(NAME) == rows == store.rows(NAME)
        assert standing(tmp_path) == whole
        assert (tmp_path / "damaged" / "steps" / f"{number}-{NAME}.parquet").read_bytes() == bad
    assert f"set aside as damaged/steps/1-{NAME}.parquet; restored from its copy" in caplog.text


def test_recover_starts_again_when_a_table_and_its_copy_are_both_unreadable(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = walk(store, 3)
    for folder in (tmp_path, tmp_path / "copies"):
        (folder / "steps" / f"{NAME}.parquet").write_bytes(b"PAR1")
    assert store.recover(NAME) == [] == store.readings(NAME)
    assert names(tmp_path / "steps") == {f"{NAME}.parquet"}
    assert names(tmp_path / "damaged" / "steps") == names(tmp_path / "damaged" / "copies" / "steps") == {f"1-{NAME}.parquet"}
    assert walk(store, 3) == rows


def test_steps_and_their_readings_that_are_damaged_together_cost_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = walk(store, 3)
    whole = standing(tmp_path)
    for folder in ("steps", "readings"):
        (tmp_path / folder / f"{NAME}.parquet").write_bytes(b"PAR1")
    assert store.recover(NAME) == rows
    assert standing(tmp_path) == whole


def test_rows_whose_readings_are_gone_with_their_copy_come_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    walk(store, 3)
    whole = standing(tmp_path)
    for folder in (tmp_path, tmp_path / "copies"):
        (folder / "readings" / f"{NAME}.parquet").unlink()
    assert store.recover(NAME) == []
    walk(store, 3)
    assert standing(tmp_path) == whole


def test_readings_that_a_version_of_before_went_on_without_stay_away(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = walk(store, 3)
    readings = tmp_path / "readings" / f"{NAME}.parquet"
    readings.write_bytes(encode([reading_record(2)], ReadingRecord))
    shutil.rmtree(tmp_path / "copies")
    assert store.recover(NAME) == rows
    assert [reading.step for reading in store.readings(NAME)] == [2]
    assert (tmp_path / "copies" / "readings" / f"{NAME}.parquet").read_bytes() == readings.read_bytes()


def test_a_table_that_is_an_older_one_is_not_taken_for_the_last(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = walk(store, 2)
    older = {folder: (tmp_path / folder / f"{NAME}.parquet").read_bytes() for folder in ("steps", "readings")}
    rows.append(store.commit(NAME, commit_of(2)))
    whole = standing(tmp_path)
    for damaged in (["steps"], ["readings"], ["steps", "readings"]):
        for folder in damaged:
            (tmp_path / folder / f"{NAME}.parquet").write_bytes(older[folder])
        assert Store(tmp_path).recover(NAME) == rows
        assert standing(tmp_path) == whole


def measured(folder: Path, value: float) -> list[StepRecord]:
    """Rows of a run whose weights, readings and last certificate follow from a number."""
    store, rows, numbers = Store(folder), [], dict.fromkeys("RDC", value)
    for step in range(3):
        commit = commit_of(step)
        record = dataclasses.replace(commit.record, **numbers)
        readings = tuple(dataclasses.replace(reading, **numbers) for reading in commit.readings)
        weights = {"w": np.full(3, value + step)}
        rows.append(
            store.commit(NAME, dataclasses.replace(commit, record=record, readings=readings, state=weights, carry=weights))
        )
    plan = dict.fromkeys(("lam", "gamma", "t", "epochs", "examples", "seconds", "F", "dF", "dF_se"), 1.0)
    key = {"trajectory": NAME, "step": 2, "state_sha256": rows[-1].state_sha256, "method": "on", "outcome": "OK"}
    store.keep_certificate(CertificateRecord(**key, **plan, held_on="train", seeds=2))
    return rows


@pytest.mark.parametrize("folder", ["steps", "readings", "certificates"])
@pytest.mark.parametrize("place", ["", "copies/"])
def test_a_sound_table_of_another_run_is_set_aside_alone(
    tmp_path: Path, folder: str, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    rows = measured(tmp_path / "ours", 0.5)
    measured(tmp_path / "theirs", 0.25)
    whole = content(tmp_path / "ours")
    table = f"{place}{folder}/{NAME}.parquet"
    foreign = (tmp_path / "theirs" / table).read_bytes()
    (tmp_path / "ours" / table).write_bytes(foreign)
    assert Store(tmp_path / "ours").recover(NAME) == rows
    assert content(tmp_path / "ours") == whole | {f"damaged/{place}{folder}/1-{NAME}.parquet": foreign}
    (line,) = caplog.messages
    assert line.startswith(f"{tmp_path}/ours/{table}: has other rows than those that are kept; set aside as ")


def test_tables_of_another_run_with_copies_of_it_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = measured(tmp_path / "ours", 0.5)
    measured(tmp_path / "theirs", 0.25)
    for folder in ("readings", "certificates"):
        for table in (f"{folder}/{NAME}.parquet", f"copies/{folder}/{NAME}.parquet"):
            (tmp_path / "ours" / table).write_bytes((tmp_path / "theirs" / table).read_bytes())
    assert Store(tmp_path / "ours").recover(NAME) == rows
    assert "these readings and their copy are not those of 3 rows" in caplog.messages[0]
    assert [f"{place}certificates/{NAME}.parquet: has other rows" in caplog.text for place in ("", "copies/")] == [True, True]
    assert names(tmp_path / "ours" / "damaged" / "certificates") == {f"1-{NAME}.parquet"}


def test_what_a_kill_before_the_last_prune_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path, keep_states="last")
    rows = walk(store, 3)

    def killed(self: Files, relative: str) -> None:
        raise Killed

    monkeypatch.setattr(Files, "remove", killed)
    with pytest.raises(Killed):
        store.commit(NAME, commit_of(3))
    monkeypatch.undo()
    assert len(names(tmp_path / "states" / NAME)) == len(names(tmp_path / "carry" / NAME)) == 3
    assert Store(tmp_path, keep_states="last").recover(NAME)[:3] == rows
    assert names(tmp_path / "states" / NAME) == names(tmp_path / "carry" / NAME) == {"2.safetensors", "3.safetensors"}
