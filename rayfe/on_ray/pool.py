"""A pool of Ray actors that answer requests, shared by all trajectories; a lost actor costs time, never an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

from rayfe.config import RunConfig
from rayfe.on_ray.evaluator import ONE_CPU, BackendFactory, Unit, make_evaluator
from rayfe.on_ray.fair_queue import FairQueue
from rayfe.on_ray.metrics import LOST, RAISED, PoolMetrics
from rayfe.records import Request, StepKey

HEAD = {"node:__internal_head__": 0.001}
"""Pins an actor to the head: one without CPUs may land on any node, and die with it."""
LOSSES = 20
"""The same request is given up after this many lost workers in a row: it may be what kills them."""
LONGEST_WAIT = 10.0


class WorkersLost(RuntimeError):
    """A request met one dying worker after the other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sealed:
    """A request as the pool sees it: whose it is. What is in it goes from who asks to who answers, not through the pool."""

    kind: str
    key: StepKey
    content: list[Any]
    """The reference to it, in a list, or Ray would bring it to the pool."""


def sealed(request: Request) -> Sealed:
    """The request, put where an evaluator fetches it as long as what is returned is kept."""
    return Sealed(kind=type(request).__name__.removesuffix("Request").lower(), key=request.key, content=[ray.put(request)])


class EvaluatorPool:
    """Hands each request to an idle evaluator, trajectories in turn, until it is answered.

    An evaluator counts as idle only when it is up, so that no request waits behind one for which there is no room yet.
    """

    def __init__(
        self, make_backend: BackendFactory, config: RunConfig, data: bytes, *, evaluators: int, unit: Unit, group: Any = None
    ) -> None:
        self._new = lambda place: make_evaluator(unit, group, place).remote(make_backend, config, data)
        self._members: dict[Any, int] = {}
        """The place of each evaluator: the number of its bundle where there is a placement group."""
        self._starting: dict[Any, asyncio.Task[None]] = {}
        self._queue: FairQueue[Any] = FairQueue()
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
        """Drop evaluators that are too many: those that are not up first, then idle ones; the others on their return."""
        for evaluator in [*self._starting]:
            if len(self._members) > self._wanted:
                self._drop(evaluator)
        while len(self._members) > self._wanted and (evaluator := self._queue.take()) is not None:
            self._drop(evaluator)
        self._show()

    def _drop(self, evaluator: Any) -> None:
        del self._members[evaluator]
        if task := self._starting.pop(evaluator, None):
            task.cancel()
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

    def _release(self, evaluator: Any) -> None:
        if evaluator not in self._members:
            return
        if len(self._members) > self._wanted:
            self._drop(evaluator)
        else:
            self._queue.put(evaluator)
        self._show()

    async def _ask(self, request: Sealed) -> Any:
        for losses in range(LOSSES):
            with self._metrics.waiting():
                evaluator = await self._queue.get(request.key.trajectory)
            self._show()
            began = time.monotonic()
            try:
                outcome, answer = evaluator.answer.options(num_returns=2).remote(*request.content)
                outcome = await outcome
            except RayTaskError as error:
                self._metrics.ended(request.kind, RAISED, 0.0)
                # our own code raised, which can leave a process useless (a CUDA error stays): start it anew
                ray.kill(evaluator, no_restart=False)
                self._bring_back(evaluator)
                raise_cause(error)
            except RayError as lost:
                self._metrics.ended(request.kind, LOST, 0.0)
                if _is_stillborn(lost):
                    self._release(evaluator)  # the next one is to hear of it, too
                    refuse_stillborn(lost)
                at = f"{request.key.trajectory} step {request.key.step}"
                self._events.append(f"{at}: lost an evaluator ({type(lost).__name__}), asking again")
                self._bring_back(evaluator)
                await asyncio.sleep(pause(losses))
                continue
            self._metrics.ended(request.kind, outcome, time.monotonic() - began)
            self._release(evaluator)
            return answer
        raise WorkersLost(f"{request.kind} lost {LOSSES} evaluators in a row; see the logs of Ray for what ended them")

    def _bring_back(self, evaluator: Any) -> None:
        """Make it idle when it is up."""
        if evaluator in self._members:
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
                if _is_stillborn(dead):
                    break  # whoever asks it next gets the reason
                del self._starting[evaluator]
                self._add(self._members.pop(evaluator))
                return
            except RayError:
                continue
        del self._starting[evaluator]
        self._release(evaluator)

    def _show(self) -> None:
        members = len(self._members)
        self._metrics.evaluators(idle=self._queue.idle, up=members - len(self._starting), members=members)


def pause(losses: int) -> float:
    """Seconds to wait after so many losses."""
    return min(LONGEST_WAIT, 0.1 * 2.0**losses)


def raise_cause(error: RayTaskError) -> NoReturn:
    """Raise the exception of our own code, not Ray's wrapper; the wrapper has the remote traceback."""
    if isinstance(error.cause, Exception):
        raise error.cause from error
    raise error


def _is_stillborn(lost: RayError) -> bool:
    """Whether an actor could not be made, such as by a module that its machine lacks: it never will be."""
    return isinstance(lost, RayActorError) and "creation task" in str(lost)


def refuse_stillborn(lost: RayError) -> None:
    """Raise WorkersLost for an actor that will never be."""
    if _is_stillborn(lost):
        raise WorkersLost(f"an actor cannot be started: {str(lost).strip().splitlines()[-1]}") from lost


def start_pool(make_backend: BackendFactory, config: RunConfig, data: bytes, *, evaluators: int, unit: Unit = ONE_CPU) -> Any:
    """A pool's handle; `data` comes from `share`. The pool ends with the driver that made it."""
    actor: Any = ray.remote(EvaluatorPool)
    pool = actor.options(num_cpus=0, resources=HEAD, max_restarts=-1, max_concurrency=1000).remote(
        make_backend, config, data, evaluators=evaluators, unit=unit
    )
    pool.start.remote()
    return pool
