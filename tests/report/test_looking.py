"""What it costs to look at runs of many trajectories: what is imported, listed, and read again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rayfe.figures import styles
from rayfe.report.page import report_of
from rayfe.report.view import view_of
from rayfe.report.watched import Watched
from rayfe.storage.files import Files
from rayfe.storage.store import Store, load_rows

ROOT = Path(__file__).parents[2]
FEW, MANY = (4.0, 8.0), (3.0, 4.0, 5.0, 6.0, 8.0, 9.0)
HEAVY = ("torch", "matplotlib", "scipy", "ray", "aiohttp")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Makes a list of what a method or function is called with: of its last argument."""

    def count(owner: Any, name: str) -> list[str]:
        calls: list[str] = []
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *given, **more: (calls.append(str(given[-1])), real(*given, **more))[1])
        return calls

    return count


def test_status_imports_neither_what_draws_nor_what_trains(stored_run: Callable[..., Store]) -> None:
    place = stored_run().url()
    code = f"import sys, rayfe.cli.command as command; command.main(['status', {place!r}]); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert "recommended: step" in done.stdout
    assert {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()} & set(HEAVY) == set()


def test_only_a_trajectory_that_has_changed_is_read_again(
    stored_run: Callable[..., Store], counted: Callable[..., list[str]]
) -> None:
    store = stored_run(gammas=MANY)
    watched = Watched([store.url()])
    read = counted(Store, "rows")
    changed = Path(store.url(), "steps", f"{store.trajectories()[2]}.parquet")
    content = changed.read_bytes()
    changed.unlink()
    changed.write_bytes(content)
    os.utime(changed, ns=(1, 1))
    watched.look()
    assert read == [changed.stem]
    assert list(watched.views.popitem()[1].records) == store.trajectories()


def test_folders_are_listed_as_often_for_many_trajectories_as_for_few(
    stored_run: Callable[..., Store], counted: Callable[..., list[str]]
) -> None:
    places = [stored_run("few", gammas=FEW).url(), stored_run("many", gammas=MANY).url()]
    for look in (load_rows, lambda place: view_of(Store(place))):
        lists = []
        for place in places:
            listed = counted(Files, "names")
            look(place)
            lists.append(sorted(listed))
        assert lists[0] == lists[1]
        assert "steps" in lists[0]


def test_rows_that_count_are_found_in_one_pass_over_all_trajectories(
    stored_run: Callable[..., Store], counted: Callable[..., list[str]]
) -> None:
    passes = []
    for name, gammas in (("few", FEW), ("many", MANY)):
        view = view_of(stored_run(name, gammas=gammas))
        calls = counted(styles, "counted_steps")
        report_of(view)
        passes.append(len(calls))
    assert passes[0] == passes[1] > 0
