"""Recovery: a crash at any moment, or a damaged file, leaves rows that a run goes on from, and nothing is overwritten."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rayfe.exceptions import CorruptFile
from rayfe.storage.files import Files
from rayfe.storage.store import Store, load_readings, load_rows
from stored_steps import NAME, commit_of, names, standing, walk

# --- crashes ----------------------------------------------------------------------------------------------------------


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
    whole = standing(tmp_path)
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
    aside = tmp_path / "damaged" / folder / NAME / "1-2.safetensors"
    assert (aside.read_bytes() if aside.exists() else None) == bad
    store.commit(NAME, commit_of(2, attempt=1))
    store.commit(NAME, commit_of(3, accepted=False))
    assert standing(tmp_path) == whole


def test_recover_starts_again_when_no_step_is_whole(tmp_path: Path) -> None:
    store = Store(tmp_path, keep_states="last")
    walk(store, 3)
    for step in (1, 2):
        (tmp_path / "states" / NAME / f"{step}.safetensors").write_bytes(b"")
    assert store.recover(NAME) == [] == store.rows(NAME) == store.readings(NAME)
    assert names(tmp_path / "states" / NAME) == set()
    assert names(tmp_path / "damaged" / "states" / NAME) == {"1-1.safetensors", "1-2.safetensors"}
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
        assert (tmp_path / "damaged" / "steps" / f"{number}-{NAME}.parquet").read_bytes() == bad
    assert f"set aside as damaged/steps/1-{NAME}.parquet" in caplog.text
    assert store.commit(NAME, commit_of(2)) == rows[2]
    assert len(pd.read_parquet(f"{tmp_path}/steps")) == 3


def test_recover_starts_again_when_a_table_and_what_it_was_are_both_unreadable(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = walk(store, 3)
    for folder in (tmp_path, tmp_path / "previous"):
        (folder / "steps" / f"{NAME}.parquet").write_bytes(b"PAR1")
    assert store.recover(NAME) == [] == store.readings(NAME)
    assert names(tmp_path / "steps") == {f"{NAME}.parquet"}
    assert names(tmp_path / "damaged" / "steps") == names(tmp_path / "damaged" / "previous" / "steps") == {f"1-{NAME}.parquet"}
    assert walk(store, 3) == rows


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_an_unreadable_table_of_readings_costs_the_last_step(tmp_path: Path, steps: int) -> None:
    store = Store(tmp_path)
    rows = walk(store, steps)
    whole = standing(tmp_path)
    (tmp_path / "readings" / f"{NAME}.parquet").write_bytes(b"PAR1")
    assert store.recover(NAME) == rows[:-1]
    assert [reading.step for reading in store.readings(NAME)] == list(range(steps - 1))
    store.commit(NAME, commit_of(steps - 1))
    assert standing(tmp_path) == whole


def test_readings_of_a_run_by_an_older_version_are_lost_with_their_table(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = walk(store, 3)
    (tmp_path / "previous" / "readings" / f"{NAME}.parquet").unlink()  # older versions kept none
    (tmp_path / "readings" / f"{NAME}.parquet").write_bytes(b"PAR1")
    assert store.recover(NAME) == rows
    assert store.readings(NAME) == []
    store.commit(NAME, commit_of(3))
    assert [reading.step for reading in store.readings(NAME)] == [3]
