"""Tables in several files: a commit replaces the last one only, and at any moment every reader sees each row once."""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from rayfe.records import Commit, StepRecord
from rayfe.storage import table
from rayfe.storage.layout import tables_in
from rayfe.storage.store import Store, load_readings, load_rows
from stored_steps import NAME, commit_of, content, names, reading_record, standing, walk
from watched_folder import Killed, killed_after, watched

OTHER = "lam0.125-gamma4-seed0"
ROWS = 3


@pytest.fixture(autouse=True)
def short_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "LIMIT", ROWS)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def commits(number: int) -> list[Commit]:
    """Commits with a rejected attempt now and then, and with one or two readings each: the two tables are cut elsewhere."""
    made, step, attempt = [], 0, 0
    for index in range(number):
        accepted = index % 4 != 2
        commit = commit_of(step, attempt=attempt, accepted=accepted)
        twice = (*commit.readings, dataclasses.replace(commit.readings[0], replica="gamma+"))
        made.append(dataclasses.replace(commit, readings=twice) if index % 3 == 1 else commit)
        step, attempt = (step + 1, 0) if accepted else (step, attempt + 1)
    return made


def store_all(store: Store, made: list[Commit]) -> list[StepRecord]:
    return [store.commit(NAME, commit) for commit in made]


def test_a_table_is_cut_into_files_of_at_most_so_many_rows_and_reads_in_order(location: str) -> None:
    store = Store(location)
    store.create({})
    rows = store_all(store, commits(8))
    walk(store, 4, OTHER)
    assert store.trajectories() == [OTHER, NAME]
    assert store.rows(NAME) == rows == Store(location).recover(NAME)
    keys = [(row.step, row.attempt) for row in rows]
    assert load_rows(location)[["trajectory", "step", "attempt"]].values.tolist() == [
        *[[OTHER, step, 0] for step in range(4)],
        *[[NAME, *key] for key in keys],
    ]
    readings = [reading for commit in commits(8) for reading in commit.readings]
    assert store.readings(NAME) == readings
    assert len(load_readings(location)) == len(readings) + 4
    for folder in ("steps", "readings"):
        files = store._files.names(folder)
        assert files[:2] == [f"{OTHER}.parquet", f"{OTHER}.part0001.parquet"]
        assert files[2:] == [f"{NAME}.parquet", *(f"{NAME}.part{number:04d}.parquet" for number in range(1, len(files) - 2))]
        assert len(files) == 5 if folder == "steps" else 6


def test_a_name_of_a_file_says_of_what_trajectory_and_the_how_manyeth_it_is() -> None:
    found = [
        "a.parquet",
        "a.part0001.parquet",
        "a.part0010.parquet",
        "a.part10000.parquet",
        "a1.parquet",
        ".a.parquet",
        "a.tmp",
    ]
    assert found[:5] == sorted(found[:5])
    assert tables_in(found[::-1]) == {"a": [0, 1, 10, 10000], "a1": [0]}
    assert tables_in(["lam0.25-gamma4-seed0.part0002.parquet"]) == {"lam0.25-gamma4-seed0": [2]}


def test_a_commit_leaves_all_files_but_the_last_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store_all(store, commits(7))
    files = {path: path.stat().st_ino for folder in ("steps", "readings") for path in sorted((tmp_path / folder).iterdir())}
    store.commit(NAME, commits(8)[-1])
    replaced = [path for path, inode in files.items() if path.stat().st_ino != inode]
    assert replaced == [tmp_path / "steps" / f"{NAME}.part0002.parquet", tmp_path / "readings" / f"{NAME}.part0003.parquet"]


def test_readings_of_one_attempt_stay_together_however_many_they_are(tmp_path: Path) -> None:
    store = Store(tmp_path)
    walk(store, 1)
    many = tuple(dataclasses.replace(reading_record(1), update=update) for update in range(2 * ROWS))
    store.commit(NAME, dataclasses.replace(commit_of(1), readings=many))
    walked = store.commit(NAME, commit_of(2))
    assert [len(pd.read_parquet(path)) for path in sorted((tmp_path / "readings").iterdir())] == [1, 2 * ROWS, 1]
    assert store.readings(NAME) == [reading_record(0), *many, reading_record(2)]
    assert store.rows(NAME)[-1] == walked


# --- kills -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [2, 3, 4])
@pytest.mark.parametrize("is_known", [False, True], ids=["first of a process", "a later one"])
def test_a_kill_between_any_two_operations_of_a_commit_costs_at_most_that_step(
    tmp_path: Path, stored: int, is_known: bool
) -> None:
    made, whole, run, before = commits(stored + 2), tmp_path / "whole", tmp_path / "run", tmp_path / "before"
    rows = store_all(Store(whole), made)
    store = Store(run)
    store_all(store, made[:stored])
    known = dict(store._commits._ends) if is_known else {}
    run.rename(before)
    for survived in itertools.count():
        shutil.copytree(before, run)
        store._commits._ends = dict(known)
        with killed_after(run, survived) as done:
            try:
                store.commit(NAME, made[stored])
            except Killed:
                ended = False
            else:
                ended = True
        assert len(done) == survived or ended
        seen = Store(run).rows(NAME)
        assert seen in (rows[:stored], rows[: stored + 1])
        assert pd.read_parquet(f"{run}/steps")["lam"].tolist() == [row.lam for row in seen]
        assert Store(run).recover(NAME) == seen
        store_all(Store(run), made[len(seen) :])
        assert content(run) == content(whole)
        shutil.rmtree(run)
        if ended:
            break
    assert survived >= (20 if made[stored].state else 12)


def of_the_build_before(run: Path, made: list[Commit]) -> None:
    """A run with one file for a trajectory, copies under a dot beside it, and what was left of a crash and of damage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "LIMIT", 10**9)
        store_all(Store(run), made[:-1])
        before = {folder: (run / folder / f"{NAME}.parquet").read_bytes() for folder in ("steps", "readings")}
        store_all(Store(run), made[-1:])
    for folder, data in before.items():
        (run / folder / f".previous-{NAME}.parquet").write_bytes(data)
        (run / folder / f".bad-1-{NAME}.parquet").write_bytes(b"PAR1")
        (run / folder / f".{NAME}.parquet.0123abcd.tmp").write_bytes(b"PA")
    (run / "states" / NAME / ".9.safetensors.0123abcd.tmp").write_bytes(b"")
    shutil.rmtree(run / "copies")


def test_a_run_of_the_build_before_reads_and_goes_on_and_no_kill_on_the_way_loses_a_row(tmp_path: Path) -> None:
    made = commits(7)
    of_the_build_before(tmp_path / "older", made[:5])
    rows = Store(tmp_path / "older").rows(NAME)
    assert len(rows) == 5 == len(pd.read_parquet(tmp_path / "older" / "steps"))
    for survived in itertools.count():
        run = tmp_path / str(survived)
        shutil.copytree(tmp_path / "older", run)
        with killed_after(run, survived) as done:
            try:
                store = Store(run)
                assert store.recover(NAME) == rows
                store.commit(NAME, made[5])
            except Killed:
                ended = False
            else:
                ended = True
        assert len(done) == survived or ended
        seen = Store(run).rows(NAME)
        assert seen[:5] == rows
        assert Store(run).recover(NAME) == seen
        store_all(Store(run), made[len(seen) :])
        assert [(row.step, row.attempt) for row in Store(run).rows(NAME)] == [
            (one.record.step, one.record.attempt) for one in made
        ]
        assert Store(run).readings(NAME) == [reading for commit in made for reading in commit.readings]
        for folder in ("steps", "readings"):
            assert names(run / folder) == {f"{NAME}.parquet", f"{NAME}.part0001.parquet"}
            assert names(run / "damaged" / folder) == {f"1-{NAME}.parquet"}
        assert not list(run.rglob("*.tmp"))
        shutil.rmtree(run)
        if ended:
            break
    assert survived > 40


def test_a_copy_of_the_build_before_mends_its_table(tmp_path: Path) -> None:
    of_the_build_before(tmp_path, commits(5))
    rows = Store(tmp_path).rows(NAME)
    (tmp_path / "steps" / f"{NAME}.parquet").write_bytes(b"PAR1")
    assert Store(tmp_path).recover(NAME) == rows[:4]


# --- damage ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["steps", "readings"])
def test_damage_to_any_file_of_a_table_costs_nothing(tmp_path: Path, folder: str) -> None:
    run = tmp_path / "run"
    rows = store_all(Store(run), commits(8))
    whole = standing(run)
    for path in sorted((run / folder).iterdir()):
        path.write_bytes(path.read_bytes()[:-9])
        assert Store(run).recover(NAME) == rows
        assert standing(run) == whole


def test_rows_after_a_file_that_is_lost_with_its_copy_come_again_and_what_was_there_is_kept_aside(tmp_path: Path) -> None:
    made, run = commits(8), tmp_path / "run"
    rows = store_all(Store(run), made)
    path, last = (run / "steps" / f"{NAME}.part000{number}.parquet" for number in (1, 2))
    for damaged in (path, run / "copies" / "steps" / path.name):
        damaged.write_bytes(damaged.read_bytes()[:-9])
    whole = last.read_bytes()
    assert Store(run).recover(NAME) == []  # what the third row left to the fourth is not kept any more
    assert (run / "damaged" / "steps" / f"1-{last.name}").read_bytes() == whole
    assert names(run / "steps") == {f"{NAME}.parquet"}
    assert store_all(Store(run), made) == rows


# --- other readers -----------------------------------------------------------------------------------------------------------


def pandas_rows(folder: str) -> list[list[int]]:
    return pd.read_parquet(folder)[["step", "attempt"]].values.tolist()


def polars_rows(folder: str) -> list[list[int]]:
    polars = pytest.importorskip("polars")
    by_folder, by_name = (polars.read_parquet(place) for place in (folder, f"{folder}/*.parquet"))
    assert by_folder.equals(by_name)
    return [list(row) for row in by_folder.select("step", "attempt").rows()]


def duckdb_rows(folder: str) -> list[list[int]]:
    duckdb = pytest.importorskip("duckdb")
    by_folder, by_name = (
        duckdb.sql(f"select step, attempt from read_parquet('{place}')").fetchall()
        for place in (f"{folder}/*", f"{folder}/*.parquet")
    )
    assert by_folder == by_name
    return [list(row) for row in by_name]


@pytest.mark.parametrize("read", [pandas_rows, polars_rows, duckdb_rows])
def test_every_reader_sees_each_row_once_at_any_moment(tmp_path: Path, read: Callable[[str], list[list[int]]]) -> None:
    """Also a folder that the build before has written, as soon as it is opened to go on."""
    made = commits(9)
    keys = [[commit.record.step, commit.record.attempt] for commit in made]
    of_the_build_before(tmp_path, made[:2])
    store = Store(tmp_path)
    store.recover(NAME)
    looks = 0

    def look(_: str) -> None:
        nonlocal looks
        looks += 1
        assert sorted(read(f"{tmp_path}/steps")) in (keys[:stored], keys[: stored + 1])
        found = {tuple(row) for row in read(f"{tmp_path}/readings")}
        assert {tuple(one) for one in keys[:stored]} <= found <= {tuple(one) for one in keys[: stored + 1]}

    for stored in range(2, 9):
        with watched(tmp_path, look):
            store.commit(NAME, made[stored])
    assert looks > 100
    assert sorted(read(f"{tmp_path}/readings")) == sorted(
        [reading.step, reading.attempt] for commit in made for reading in commit.readings
    )
