"""What a commit costs however long the trajectory is: `python -m pytest -m "slow or not slow" -s tests/storage/test_commit_cost.py`."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rayfe.records import ReadingRecord, StepRecord
from rayfe.storage.files import Files
from rayfe.storage.layout import READINGS, STEPS, table_path
from rayfe.storage.parquet import encode
from rayfe.storage.store import Store
from rayfe.storage.table import LIMIT
from stored_steps import NAME, commit_of, reading_record, step_record, walk
from watched_folder import watched

COMMITS = 19
"""Commits that are timed: up to the 20th row, with the 10th in the middle, and up to the 5,000th."""


def test_a_commit_asks_for_fourteen_operations_on_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def noted(name: str, method: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            calls.append(name)
            return method(*arguments, **options)

        return call

    with Store(tmp_path).lock() as store:
        walk(store, 10)
        for name in ("read", "write", "names", "remove", "exists"):
            monkeypatch.setattr(Files, name, noted(name, getattr(Files, name)))
        on_disk: list[str] = []
        with watched(tmp_path, on_disk.append):
            store.commit(NAME, commit_of(10))
        asked = collections.Counter(calls)
    assert asked == {"read": 4, "write": 8, "names": 1, "remove": 1}
    print(f"\na commit: {asked.total()} operations on files, {len(on_disk)} calls of the system")


def of_rows(location: Path, rows: int) -> Store:
    """A run that has so many rows already, as commits leave them."""
    files = Files(location)
    for number, first in enumerate(range(0, rows, LIMIT)):
        steps = range(first, min(first + LIMIT, rows))
        records = [dataclasses.replace(step_record(step), R=step / 7.0, D=step / 3.0) for step in steps]
        files.write(table_path(STEPS, NAME, number), encode(records, StepRecord))
        files.write(table_path(READINGS, NAME, number), encode([reading_record(step) for step in steps], ReadingRecord))
    return Store(location)


@pytest.mark.slow
def test_a_commit_of_the_5000th_row_costs_what_that_of_the_10th_does(tmp_path: Path) -> None:
    """The 5,000th is the last that its file has room for: none costs more. Both runs take turns, so that other load meets both."""
    seconds: dict[int, list[float]] = {10: [], 5000: []}
    with contextlib.ExitStack() as stack:
        stores = {
            row: stack.enter_context(of_rows(tmp_path / str(row), max(1, row - COMMITS)).lock(say=lambda text: None))
            for row in seconds
        }
        for step in range(COMMITS):
            for row, store in stores.items():
                commit = commit_of(max(1, row - COMMITS) + step)
                began = time.perf_counter()
                store.commit(NAME, commit)
                seconds[row].append(time.perf_counter() - began)
    early, late = (min(found) for found in seconds.values())  # what else the machine does only adds
    print(f"\n10th row {1e3 * early:.1f} ms, 5,000th row {1e3 * late:.1f} ms: ratio {late / early:.2f}")
    assert sorted(len(store.rows(NAME)) for store in stores.values()) == [1 + COMMITS, 5000]
    assert len(list((tmp_path / "5000" / "steps").iterdir())) == 10
    assert late <= 1.5 * early
