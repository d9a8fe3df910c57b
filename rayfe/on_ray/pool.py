"""A pool of Ray actors that answer requests, shared by all trajectories; a lost actor costs time, never an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

from rayfe.config import RunConfig
from rayfe.on_ray.evaluator import ONE_CPU, BackendFactory, Unit, make_evaluator
from rayfe.on_ray.fair_queue import FairQueue
from rayfe.on_ray.losses import LOSSES, WorkersLost, is_stillborn, pause, raise_cause, refuse_stillborn
from rayfe.on_ray.metrics import LOST, RAISED, PoolMetrics
from rayfe.records import Request, StepKey

HEAD = {"node:__internal_head__": 0.001}
"""Pins an actor to the head: one without CPUs may land on any node, and die with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sealed:
    """A request as the pool sees it: whose it is. What is in it goes from who asks to who answers, not through the pool."""

    kind: str
    key: StepKey
    content: list[Any]
    """The reference to it, in a list, or Ray would bring it to the pool."""


@dataclass(eq=False, kw_only=True, slots=True)
class Life:
    """An evaluator from one start of its process to the next."""

    evaluator: Any
    at_work: int = 0
    """Requests that it has."""
    spent: bool = False
    """Whether its code raised, which can leave a process useless (a CUDA error stays): it is started anew once the others have answers."""
    leaving: bool = False
    """Whether it is one too many: it ends once its requests have answers."""

    @property
    def takes_more(self) -> bool:
        """Whether it may be sent further requests."""
        return not self.spent and not self.leaving


def sealed(request: Request) -> Sealed:
    """The request, put where an evaluator fetches it as long as what is returned is kept."""
    return Sealed(kind=type(request).__name__.removesuffix("Request").lower(), key=request.key, content=[ray.put(request)])


class EvaluatorPool:
    """Hands each request to an evaluator that has a place for it, trajectories in turn, until it is answered.

    An evaluator has as many places as the configuration has slots, but only when it is up, so that no request waits behind one for
    which there is no room yet. One that is lost costs what its requests were doing; all of them are asked again.
    """

    def __init__(
        self, make_backend: BackendFactory, config: RunConfig, data: bytes, *, evaluators: int, unit: Unit, group: Any = None
    ) -> None:
        slots = config.service.slots
        self._new = lambda place: make_evaluator(unit, group, place, slots=slots).remote(make_backend, config, data)
        self._members: dict[Any, int] = {}
        """The place of each evaluator: the number of its bundle where there is a placement group."""
        self._starting: dict[Any, asyncio.Task[None]] = {}
        self._lives: dict[Any, Life] = {}
        """Of those that are up."""
        self._queue: FairQueue[Life] = FairQueue(slots)
        self._size = self._room = evaluators
        self._loans: dict[str, int] = {}
        self._borrowers = 0
        self._changed = asyncio.Event()
        self._metrics = PoolMetrics()
        self._events: list[str] = []

    async def start(self) -> None:
        """Make the evaluators; not in the constructor, which has no loop."""
        self._fill()

    async def answer(self, requests: Sequence[Sealed]) -> list[Any]:
        """References to the answers, in order. Requests go to whoever is idle, and what is under way when one fails is finished,
        so that its evaluator comes back.

        Raises what the backend raises, and WorkersLost.
        """
        self._fill()  # this may be a new pool in the place of one that died
        return await asyncio.gather(*map(self._ask, requests))

    async def events(self) -> list[str]:
        """What happened since the last call, for people."""
        events, self._events = self._events, []
        return events

    async def members(self) -> list[Any]:
        """All evaluators."""
        return list(self._members)

    # --- size ---------------------------------------------------------------------------------------------------------

    async def resize(self, evaluators: int, room: int) -> None:
        """From now on have so many evaluators; `room` is how many the cluster can hold. Those at work finish first."""
        if evaluators != self._size:
            self._events.append(f"evaluators: {self._size} -> {evaluators}")
        self._size, self._room = evaluators, room
        self._fill()
        self._thin()

    async def lend(self, who: str, places: int) -> None:
        """Give up evaluators until there is room for other `places` workers of `who`; one borrower at a time.

        The same borrower may ask again, such as after its own end and restart.
        """
        self._borrowers += 1
        while self._loans.keys() - {who}:
            await self._changed.wait()
        self._borrowers -= 1
        self._loans[who] = places
        self._thin()
        while len(self._members) > self._wanted:
            await self._changed.wait()

    async def take_back(self, who: str) -> None:
        """The end of a loan; nothing if there is none."""
        if self._loans.pop(who, None) is not None:
            if not self._borrowers:
                self._fill()
            self._wake()

    @property
    def _wanted(self) -> int:
        return max(0, min(self._size, self._room - sum(self._loans.values())))

    def _fill(self) -> None:
        while len(self._members) < self._wanted:
            taken = set(self._members.values())
            self._add(next(place for place in range(len(taken) + 1) if place not in taken))

    def _thin(self) -> None:
        """Drop evaluators that are too many: those that are not up first, then idle ones; of the others those that first answer."""
        for evaluator in [*self._starting]:
            if len(self._members) > self._wanted:
                self._drop(evaluator)
        while len(self._members) > self._wanted and (life := self._queue.take()) is not None:
            self._drop(life.evaluator)
        self._show()

    def _drop(self, evaluator: Any) -> None:
        del self._members[evaluator]
        if task := self._starting.pop(evaluator, None):
            task.cancel()
        if life := self._lives.pop(evaluator, None):
            self._queue.remove(life)
        ray.kill(evaluator)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # --- evaluators ---------------------------------------------------------------------------------------------------

    def _add(self, place: int) -> None:
        evaluator = self._new(place)
        self._members[evaluator] = place
        evaluator.start.remote()
        self._bring_back(evaluator)

    def _open(self, evaluator: Any) -> None:
        """It is up: give its places to those who wait, if it is wanted still."""
        if len(self._members) > self._wanted:
            self._drop(evaluator)
        else:
            life = self._lives[evaluator] = Life(evaluator=evaluator)
            self._queue.add(life)
        self._show()

    def _release(self, life: Life) -> None:
        """One of its requests has ended."""
        life.at_work -= 1
        if not self._is_up(life):
            return
        stay = len(self._members) - sum(other.leaving for other in self._lives.values())
        life.leaving = life.leaving or (life.takes_more and stay > self._wanted)
        if life.takes_more:
            self._queue.put(life)
        else:
            self._queue.remove(life)
            if not life.at_work:
                self._renew(life)
        self._show()

    def _renew(self, life: Life) -> None:
        """It has no requests, and takes no more: end it, start its process anew, or keep it after all."""
        if len(self._members) > self._wanted:
            self._drop(life.evaluator)
        elif life.spent:
            ray.kill(life.evaluator, no_restart=False)
            self._bring_back(life.evaluator)
        else:
            self._open(life.evaluator)

    def _is_up(self, life: Life) -> bool:
        """Whether it has not been lost, nor ended."""
        return self._lives.get(life.evaluator) is life

    async def _ask(self, request: Sealed) -> Any:
        for losses in range(LOSSES):
            life = await self._place(request.key.trajectory)
            began = time.monotonic()
            try:
                outcome, answer = life.evaluator.answer.options(num_returns=2).remote(*request.content)
                outcome = await outcome
            except RayTaskError as error:
                self._metrics.ended(request.kind, RAISED, 0.0)
                life.spent = True
                self._release(life)
                raise_cause(error)
            except RayError as lost:
                self._metrics.ended(request.kind, LOST, 0.0)
                if is_stillborn(lost):
                    self._release(life)  # the next one is to hear of it, too
                    refuse_stillborn(lost)
                at = f"{request.key.trajectory} step {request.key.step}"
                self._events.append(f"{at}: lost an evaluator ({type(lost).__name__}), asking again")
                if self._is_up(life):  # else another of its requests has said so
                    self._queue.remove(life)
                    self._bring_back(life.evaluator)
                await asyncio.sleep(pause(losses))
                continue
            self._metrics.ended(request.kind, outcome, time.monotonic() - began)
            self._release(life)
            return answer
        raise WorkersLost(f"{request.kind} lost {LOSSES} evaluators in a row; see the logs of Ray for what ended them")

    async def _place(self, trajectory: str) -> Life:
        """A place at an evaluator that is up."""
        with self._metrics.waiting():
            while True:
                life = await self._queue.get(trajectory)
                if self._is_up(life) and life.takes_more:  # which may have ended since the place was handed over
                    break
        life.at_work += 1
        self._show()
        return life

    def _bring_back(self, evaluator: Any) -> None:
        """Open it when it is up."""
        if evaluator in self._members:
            self._lives.pop(evaluator, None)
            self._starting[evaluator] = asyncio.get_running_loop().create_task(self._when_up(evaluator))

    async def _when_up(self, evaluator: Any) -> None:
        """Wait until the evaluator has (re)started, or put another in its place if it will not."""
        tries = 0
        while True:
            await asyncio.sleep(pause(tries))  # at first, too: a process that was told to end may still answer
            tries += 1
            try:
                await evaluator.alive.remote()
                break
            except ActorUnavailableError:
                continue
            except RayActorError as dead:
                if is_stillborn(dead):
                    break  # whoever asks it next gets the reason
                del self._starting[evaluator]
                self._add(self._members.pop(evaluator))
                return
            except RayError:
                continue
        del self._starting[evaluator]
        self._open(evaluator)

    def _show(self) -> None:
        members = len(self._members)
        self._metrics.evaluators(idle=self._queue.idle, up=members - len(self._starting), members=members)


def start_pool(make_backend: BackendFactory, config: RunConfig, data: bytes, *, evaluators: int, unit: Unit = ONE_CPU) -> Any:
    """A pool's handle; `data` comes from `share`. The pool ends with the driver that made it."""
    actor: Any = ray.remote(EvaluatorPool)
    pool = actor.options(num_cpus=0, resources=HEAD, max_restarts=-1, max_concurrency=1000).remote(
        make_backend, config, data, evaluators=evaluators, unit=unit
    )
    pool.start.remote()
    return pool
