"""The pool answers every request once, whatever happens to its evaluators, and passes on errors of the backend."""

from __future__ import annotations

import os
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rayfe.config import RunConfig, configure
from rayfe.records import (
    Differentiated,
    DifferentiateRequest,
    Equilibrated,
    EquilibrateRequest,
    Measured,
    MeasureRequest,
    Outcome,
    Point,
    Replica,
    Settled,
    SettleRequest,
    StepKey,
)
from rayfe.records.backend import Backend

ray = pytest.importorskip("ray")
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]
KEY = StepKey(trajectory="lam0.25-gamma4-seed0", seed=0, step=1, attempt=0)


@dataclass
class Fake(Backend):
    """Counts replicas; notes in `folder` who answered; purpose "wait" takes its time, "bad" is an error. A training
    goes on until as many evaluators have begun one as `together` was told."""

    folder: Path

    def equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        self._note(" ".join(replica.name for replica in request.replicas))
        eventually(lambda: self.evaluators() >= self._wanted())
        weights = tuple({"gamma": replica.point.gamma} for replica in request.replicas)
        return Equilibrated(
            outcome=Outcome.OK, weights=weights, preconditioner=request.preconditioner, readings=(), examples=len(weights)
        )

    def settle(self, request: SettleRequest) -> Settled:
        raise AssertionError("no test asks for this")

    def differentiate(self, request: DifferentiateRequest) -> Differentiated:
        raise AssertionError("no test asks for this")

    def measure(self, request: MeasureRequest) -> Measured:
        self._note(request.purpose)
        if request.purpose == "bad":
            raise ValueError("no such split")
        if request.purpose == "wait" and len(self.notes()) == 1:
            time.sleep(600)
        if request.purpose == "together":
            eventually(lambda: len([what for _, what in self.notes() if what == "together"]) >= self._wanted())
        return Measured(readings=(), weights=(), examples=float(len(request.replicas)))

    def _note(self, what: str) -> None:
        with open(self.folder / "notes", "a") as file:
            file.write(f"{os.getpid()}:{what}\n")

    def together(self, evaluators: int) -> None:
        (self.folder / "together").write_text(str(evaluators))

    def _wanted(self) -> int:
        told = self.folder / "together"
        return int(told.read_text()) if told.exists() else 1

    def evaluators(self) -> int:
        """Number of those that have noted anything."""
        return len({pid for pid, _ in self.notes()})

    def notes(self) -> list[list[str]]:
        path = self.folder / "notes"
        return [line.split(":") for line in path.read_text().splitlines()] if path.exists() else []


def replicas(count: int) -> tuple[Replica, ...]:
    return tuple(Replica(name=f"replica{i}", point=Point(lam=1.0, gamma=float(i)), weights=None) for i in range(count))


def measure(purpose: str, count: int = 1) -> MeasureRequest:
    return MeasureRequest(key=KEY, replicas=replicas(count), splits=(), purpose=purpose)


class Pooled:
    def __init__(self, folder: Path, evaluators: int, config: RunConfig) -> None:
        from rayfe.on_ray.evaluator import share
        from rayfe.on_ray.pool import start_pool
        from rayfe.on_ray.pool_backend import PoolBackend

        self.fake = Fake(folder)
        make = _Make(folder)
        self.handle: Any = start_pool(make, config, share(None), evaluators=evaluators)
        self.backend = PoolBackend(self.handle, per_part=config.per_part)

    def soon(self, request: Any) -> Future[Any]:
        """The answer, from another thread."""
        return ThreadPoolExecutor(1).submit(self.backend.answer, request)


@dataclass(frozen=True)
class _Make:
    folder: Path

    def __call__(self, config: RunConfig, dataset: object) -> Backend:
        return Fake(self.folder)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Any]:
    made: list[Pooled] = []

    def make(evaluators: int, **fields: Any) -> Pooled:
        made.append(Pooled(tmp_path, evaluators, configure(**fields)))
        return made[-1]

    yield make
    for pooled in made:
        ray.kill(pooled.handle)


def wait_for_note(fake: Fake) -> list[str]:
    while not fake.notes():
        time.sleep(0.05)
    return fake.notes()[0]


def test_the_pool_answers(pool: Any) -> None:
    assert pool(1).backend.answer(measure("test", 3)).examples == 3.0


@dataclass
class Noted:
    """Notes in which processes it is unpacked."""

    folder: Path

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.folder = state["folder"]
        with open(self.folder / "unpacked", "a") as file:
            file.write(f"{os.getpid()}\n")


def test_what_is_asked_and_answered_does_not_go_through_the_pool(pool: Any, tmp_path: Path) -> None:
    pooled = pool(1)
    replica = Replica(name="centre", point=Point(lam=1.0, gamma=1.0), weights={"w": Noted(tmp_path)})  # type: ignore[dict-item]
    answer = pooled.backend.answer(EquilibrateRequest(key=KEY, replicas=(replica,), preconditioner=replica.weights))
    assert isinstance(answer.preconditioner["w"], Noted)
    ((evaluator, _),) = pooled.fake.notes()
    assert (tmp_path / "unpacked").read_text().split() == [evaluator, str(os.getpid())]


def test_a_killed_evaluator_changes_no_answer(pool: Any) -> None:
    pooled = pool(1)
    answer = pooled.soon(measure("wait", 2))
    os.kill(int(wait_for_note(pooled.fake)[0]), signal.SIGKILL)
    assert answer.result(timeout=200).examples == 2.0
    assert any("lost an evaluator" in text for text in ray.get(pooled.handle.events.remote()))


def test_an_evaluator_with_four_places_that_is_killed_at_work_on_four_changes_no_answer(pool: Any) -> None:
    pooled = pool(1, trajectories_per_evaluator=4)
    pooled.fake.together(5)  # all four wait for a fifth, which there is no place for
    answers = [pooled.soon(measure("together", count)) for count in (1, 2, 3, 4)]
    eventually(lambda: len(pooled.fake.notes()) == 4)
    assert pooled.fake.evaluators() == 1
    os.kill(int(pooled.fake.notes()[0][0]), signal.SIGKILL)
    assert [answer.result(timeout=200).examples for answer in answers] == [1.0, 2.0, 3.0, 4.0]
    assert pooled.fake.evaluators() == 2 and len(pooled.fake.notes()) == 8
    events = ray.get(pooled.handle.events.remote())
    assert len([text for text in events if "lost an evaluator" in text]) == 4


def test_an_evaluator_whose_code_raised_is_started_anew_when_the_others_have_their_answers(pool: Any) -> None:
    pooled = pool(1, trajectories_per_evaluator=3)
    pooled.fake.together(3)
    first = pooled.soon(measure("together", 2))
    eventually(lambda: len(pooled.fake.notes()) == 1)
    with pytest.raises(ValueError, match="^no such split$"):
        pooled.backend.answer(measure("bad"))
    later = pooled.soon(measure("test", 3))
    pooled.fake.together(1)
    assert (first.result(timeout=200).examples, later.result(timeout=200).examples) == (2.0, 3.0)
    (before, *_), (bad, _), (after, what) = pooled.fake.notes()
    assert what == "test" and before == bad != after
    assert not any("lost" in text for text in ray.get(pooled.handle.events.remote()))


def test_an_evaluator_with_several_places_that_is_too_many_finishes_its_work_first(pool: Any) -> None:
    pooled = pool(1, trajectories_per_evaluator=2)
    pooled.fake.together(2)
    first = pooled.soon(measure("together"))
    eventually(lambda: len(pooled.fake.notes()) == 1)
    lent = pooled.handle.lend.remote("a", 1)
    second = pooled.soon(measure("together"))
    assert [answer.result(timeout=200).examples for answer in (first, second)] == [1.0, 1.0]
    ray.get(lent, timeout=200)
    assert members(pooled) == 0
    pooled.backend.take_back("a")
    assert pooled.backend.answer(measure("test")).examples == 1.0
    assert not any("lost" in text for text in ray.get(pooled.handle.events.remote()))


def test_an_error_of_the_backend_is_raised_as_it_is_and_the_pool_goes_on(pool: Any) -> None:
    backend = pool(1).backend
    with pytest.raises(ValueError, match="^no such split$"):
        backend.answer(measure("bad"))
    assert backend.answer(measure("test")).examples == 1.0


def test_parts_run_side_by_side_on_two_evaluators_and_join_in_order(pool: Any) -> None:
    pooled = pool(2, replicas_per_evaluator=2)
    pooled.fake.together(2)
    answer = pooled.backend.answer(EquilibrateRequest(key=KEY, replicas=replicas(3)))
    assert [weights["gamma"] for weights in answer.weights] == [0.0, 1.0, 2.0]
    notes = pooled.fake.notes()
    assert sorted(what for _, what in notes) == ["replica0 replica1", "replica2"]
    assert pooled.fake.evaluators() == 2


def eventually(condition: Any) -> None:
    while not condition():
        time.sleep(0.1)


def members(pooled: Pooled) -> int:
    return len(ray.get(pooled.handle.members.remote()))


def test_the_pool_grows_and_shrinks_and_says_so(pool: Any) -> None:
    pooled = pool(1, replicas_per_evaluator=1)
    ray.get(pooled.handle.resize.remote(3, 3))
    assert members(pooled) == 3
    pooled.fake.together(3)
    pooled.backend.answer(EquilibrateRequest(key=KEY, replicas=replicas(9)))
    assert pooled.fake.evaluators() == 3
    ray.get(pooled.handle.resize.remote(1, 1))
    assert members(pooled) == 1
    assert ray.get(pooled.handle.events.remote()) == ["evaluators: 1 -> 3", "evaluators: 3 -> 1"]


def test_an_evaluator_that_is_too_many_finishes_its_work_first(pool: Any) -> None:
    pooled = pool(2, replicas_per_evaluator=1)
    pooled.fake.together(2)
    answer = pooled.soon(EquilibrateRequest(key=KEY, replicas=replicas(4)))
    eventually(lambda: len(pooled.fake.notes()) >= 2)
    ray.get(pooled.handle.resize.remote(1, 1))
    assert [weights["gamma"] for weights in answer.result(timeout=200).weights] == [0.0, 1.0, 2.0, 3.0]
    assert members(pooled) == 1
    assert not any("lost" in text for text in ray.get(pooled.handle.events.remote()))


def test_an_evaluator_for_which_there_is_no_room_yet_keeps_no_request_waiting(pool: Any) -> None:
    pooled = pool(40, replicas_per_evaluator=1)  # of which 4 CPUs hold four
    assert pooled.backend.answer(EquilibrateRequest(key=KEY, replicas=replicas(8))).examples == 8.0


def test_the_pool_lends_places_to_one_borrower_at_a_time_and_takes_them_back(pool: Any) -> None:
    pooled = pool(3)
    pooled.backend.lend("a", 2)
    assert members(pooled) == 1
    second = pooled.handle.lend.remote("b", 3)
    assert ray.wait([second], timeout=1.0)[0] == []
    assert pooled.backend.answer(measure("test")).examples == 1.0  # the rest goes on
    pooled.backend.take_back("a")
    ray.get(second, timeout=200)
    assert members(pooled) == 0
    pooled.backend.take_back("b")
    assert members(pooled) == 3
    assert pooled.backend.answer(measure("test")).examples == 1.0


def test_metrics_are_on_the_port_of_the_node(pool: Any) -> None:
    pooled = pool(1)
    pooled.backend.answer(measure("test"))
    (node,) = ray.nodes()
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"

    def shown() -> bool:
        pooled.backend.answer(measure("test"))
        with urllib.request.urlopen(address, timeout=120) as answer:
            text = answer.read().decode()
        return "ray_rayfe_evaluations" in text and "ray_rayfe_queue_wait_seconds" in text

    eventually(shown)
