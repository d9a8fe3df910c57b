"""Files below one folder: replaced whole, kept as they were; and folders that cannot be written are refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from rayfe.exceptions import CorruptFile, StorageError, StorageFull, UsageError
from rayfe.storage.files import Files
from rayfe.storage.store import Store
from stored_steps import content, names, walk


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.create({"a": 1})
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        before = content(tmp_path)
        with pytest.raises(StorageFull, match="no space left; make room"):
            store.create({"a": 2})
    assert content(tmp_path) == before


def test_what_is_half_written_lies_in_no_folder_of_tables_and_begins_with_a_dot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    moves, replace = [], os.replace

    def watched(source: str, target: str) -> None:
        moves.append((Path(source), Path(target)))
        replace(source, target)

    monkeypatch.setattr("os.replace", watched)
    walk(store, 1)
    assert {source.parent for source, _ in moves} == {tmp_path}
    assert all(source.name.startswith(".") and source.name.endswith(".tmp") for source, _ in moves)
    assert {str(target.relative_to(tmp_path)) for _, target in moves} == set(content(tmp_path))


def test_corrupt_file_crosses_processes() -> None:
    error = pickle.loads(pickle.dumps(CorruptFile("a/b", "is torn")))
    assert (error.path, str(error)) == ("a/b", "a/b: is torn")


@pytest.mark.parametrize("below", ["run", "a/b/run"])
def test_a_new_folder_is_writable_and_is_not_left_behind(location: str, below: str) -> None:
    store = Store(f"{location}/{below}")
    store.writable()
    assert not Files(location).exists("")
    assert Files(location).names("") == []
    store.create({})
    store.writable()
    assert Files(f"{location}/{below}").names("") == ["copies", "run.json"]


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
        (file / "run", "/file: is a file where a folder must be"),
        (tmp_path / "new" / ("n" * 300), "File name too long; check the path"),
    ):
        with pytest.raises(UsageError, match=fix) as caught:
            Store(bad).writable()
        assert caught.value.name == "out"
        assert "\n" not in str(caught.value)
    assert file.read_text() == "text"
    assert names(tmp_path) == {"file"}


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(StorageError, match="^nowhere://run: cannot be opened"):
        Store("nowhere://run")
