"""Several trajectories at once in one process: rows do not depend on who asks when, and whatever ends one run ends all threads."""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import configure
from rayfe.exceptions import LeaseLost, StorageFull
from rayfe.records import Answer, Request, StepRecord
from rayfe.run.runner import run_inline
from rayfe.storage.store import Store, load_rows
from rayfe.surface.closed_form import PowerSurface

SURFACE = PowerSurface(kappa=20.0, a=1 / 3, b=1 / 3)
CONFIG = configure(gamma=(4.0, 5.0, 6.0, 7.0), steps=2, trajectories_per_evaluator=4)
NAMES = list(CONFIG.trajectories())
SOON = 800.0
"""Seconds after which what is waited for will not come."""


class Deaf:
    def row(self, record: StepRecord) -> None: ...

    def event(self, text: str) -> None: ...


@dataclass
class InOrder(AnalyticBackend):
    """Answers the first requests of trajectories in this order, once all of them have asked."""

    order: Sequence[str] = ()
    answered: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    asked: threading.Barrier = field(default_factory=lambda: threading.Barrier(len(NAMES), timeout=SOON))

    def answer(self, request: Request) -> Answer:
        name = request.key.trajectory
        if name not in self.answered:
            self.asked.wait()
            with self.changed:
                assert self.changed.wait_for(lambda: len(self.answered) == self.order.index(name), SOON)
                self.answered.append(name)
                self.changed.notify_all()
        return super().answer(request)


@dataclass
class Breaks(AnalyticBackend):
    """At step 2 of the first trajectory something happens, when the others are held up at step 1."""

    happens: Callable[[], None] = lambda: None
    held_up: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    goes_on: threading.Event = field(default_factory=threading.Event)

    def answer(self, request: Request) -> Answer:
        first = request.key.trajectory == NAMES[0]
        if request.key.step == 2 and first and not self.goes_on.is_set():
            assert all(self.held_up.acquire(timeout=SOON) for _ in NAMES[1:])
            self.happens()
        if request.key.step >= 1 and (not first or request.key.step == 2):
            self.held_up.release()
            assert self.goes_on.wait(SOON)
        return super().answer(request)


def wait_for_failure(store: Store) -> None:
    while not store.failures():
        time.sleep(0.02)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("trajectory-")]


def rows(folder: Path) -> object:
    return load_rows(folder).drop(columns="seconds").to_dict("list")


def test_rows_do_not_depend_on_who_asks_first(tmp_path: Path) -> None:
    alone = configure(CONFIG, trajectories_per_evaluator=1)
    assert run_inline(alone, AnalyticBackend(SURFACE, noise=1e-4), Store(tmp_path / "alone"), Deaf()) == {}
    for number, order in enumerate((NAMES, NAMES[::-1])):
        backend = InOrder(SURFACE, noise=1e-4, order=order)
        assert run_inline(CONFIG, backend, Store(tmp_path / str(number)), Deaf()) == {}
        assert backend.answered == order
        assert str(rows(tmp_path / str(number))) == str(rows(tmp_path / "alone"))


def test_more_trajectories_than_slots_are_walked_too(tmp_path: Path) -> None:
    heard: list[StepRecord] = []
    told = Deaf()
    told.row = heard.append  # type: ignore[method-assign]
    config = configure(CONFIG, trajectories_per_evaluator=3)
    assert run_inline(config, AnalyticBackend(SURFACE, noise=1e-4), Store(tmp_path), told) == {}
    for name in NAMES:
        assert [row.step for row in heard if row.trajectory == name] == [0, 1, 2]


def test_what_fails_for_good_stops_no_other(tmp_path: Path) -> None:
    def bug() -> None:
        raise ZeroDivisionError("a bug")

    backend, store = Breaks(SURFACE, noise=1e-4, happens=bug), Store(tmp_path)
    threading.Thread(target=lambda: (wait_for_failure(store), backend.goes_on.set()), daemon=True).start()
    assert run_inline(CONFIG, backend, store, Deaf()) == {NAMES[0]: "ZeroDivisionError: a bug"} == store.failures()
    assert [len(store.rows(name)) for name in NAMES] == [2, 3, 3, 3]


def interrupt() -> None:
    _thread.interrupt_main()


def full() -> None:
    raise StorageFull("runs/full")


def lost() -> None:
    raise LeaseLost("held by another driver")


@pytest.mark.parametrize(
    ("happens", "error"),
    [(interrupt, KeyboardInterrupt), (full, StorageFull), (lost, LeaseLost)],
    ids=lambda what: what.__name__,
)
def test_what_ends_the_run_ends_it_at_once_and_nothing_is_stored_afterwards(
    tmp_path: Path, happens: Callable[[], None], error: type[BaseException]
) -> None:
    backend = Breaks(SURFACE, noise=1e-4, happens=happens)
    with pytest.raises(error), Store(tmp_path).lock() as held:
        run_inline(CONFIG, backend, held, Deaf())  # which does not wait for the three that are held up
    stored = rows(tmp_path)
    backend.goes_on.set()
    for thread in threads():
        thread.join(SOON)
    assert threads() == []
    after = load_rows(tmp_path)
    assert str(rows(tmp_path)) == str(stored)
    assert [sum(after["trajectory"] == name) for name in NAMES[1:]] == [1, 1, 1]
    with Store(tmp_path).lock() as held:
        assert run_inline(CONFIG, AnalyticBackend(SURFACE, noise=1e-4), held, Deaf()) == {}
    alone = configure(CONFIG, trajectories_per_evaluator=1)
    assert run_inline(alone, AnalyticBackend(SURFACE, noise=1e-4), Store(tmp_path / "alone"), Deaf()) == {}
    assert str(rows(tmp_path)) == str(rows(tmp_path / "alone"))
