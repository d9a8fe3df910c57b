"""Threads on one backend: what is set while any is at work, and who waits for whom."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from rayfe.backend.at_work import AtWork
from rayfe.records import DifferentiateRequest, EquilibrateRequest, MeasureRequest, Point, Request, StepKey
from rayfe.training.together import Together

KEY = StepKey(trajectory="t", seed=0, step=1, attempt=0)
TRAIN = EquilibrateRequest(key=KEY, replicas=())
READ = MeasureRequest(key=KEY, replicas=(), splits=(), purpose="test")
SOLVE = DifferentiateRequest(key=KEY, point=Point(lam=1.0, gamma=1.0), weights={})
SOON = 800.0


def at_work(slots: int) -> tuple[AtWork, list[str]]:
    said: list[str] = []

    @contextlib.contextmanager
    def shared() -> Iterator[None]:
        said.append("set")
        yield
        said.append("back")

    return AtWork(shared, Together(slots), slots=slots), said


def test_a_switch_is_set_as_long_as_anybody_is_at_work() -> None:
    at, said = at_work(2)
    first, second = at.on(TRAIN), at.on(TRAIN)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)  # the first to come is the first to go
    assert (said, at.count) == (["set"], 1)
    second.__exit__(None, None, None)
    assert (said, at.count) == (["set", "back"], 0)


def entered(at: AtWork, request: Request) -> threading.Event:
    """Set when another thread is let in with this request."""
    inside = threading.Event()

    def ask() -> None:
        with at.on(request):
            inside.set()

    threading.Thread(target=ask, daemon=True).start()
    return inside


def test_trainings_and_readings_go_on_beside_one_another_and_others_wait_for_their_turn() -> None:
    at, _ = at_work(3)
    with at.on(SOLVE):
        assert entered(at, TRAIN).wait(SOON)
        assert entered(at, READ).wait(SOON)
        waits = entered(at, SOLVE)
        while at.count < 2:
            pass
        assert not waits.wait(0.05)
    assert waits.wait(SOON)


def test_with_one_slot_everything_is_one_at_a_time() -> None:
    at, _ = at_work(1)
    with at.on(TRAIN):
        waits = entered(at, TRAIN)
        while at.count < 2:
            pass
        assert not waits.wait(0.05)
    assert waits.wait(SOON)
