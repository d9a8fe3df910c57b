"""A pool of Ray actors that answer requests, shared by all trajectories; a lost actor costs time, never an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, NoReturn

import ray
from ray import cloudpickle  # pins what it pickles references to; plain pickle does not
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

from rayfe.backend.base import Backend, join_replicas, split_replicas
from rayfe.config import THREADING, RunConfig
from rayfe.data.paths import PathData
from rayfe.records import (
    Answer,
    Differentiated,
    DifferentiateRequest,
    Equilibrated,
    EquilibrateRequest,
    Measured,
    MeasureRequest,
    Request,
    Settled,
    SettleRequest,
)

BackendFactory = Callable[[RunConfig, PathData | None], Backend]
HEAD = {"node:__internal_head__": 0.001}
"""Pins an actor to the head: one without CPUs may land on any node, and die with it."""
LOSSES = 20
"""The same request is given up after this many lost workers in a row: it may be what kills them."""
LONGEST_WAIT = 10.0


class WorkersLost(RuntimeError):
    """A request met one dying worker after the other."""


def share(data: PathData | None) -> bytes:
    """Put the examples into the object store once (one copy a node, read without copying); returns what names them.

    A reference in pickled form, because Ray warns on stderr of actors that restart with references as arguments.
    The examples stay as long as this process, which owns them.
    """
    return cloudpickle.dumps(ray.put(data))


def make_inline(config: RunConfig, data: PathData | None) -> Backend:
    from rayfe.backend.inline import InlineBackend  # imports torch: in evaluators only

    assert data is not None
    return InlineBackend(config, data)


class Evaluator:
    """Holds one backend, built from the examples of `share`, and answers one request at a time."""

    def __init__(self, make_backend: BackendFactory, config: RunConfig, data: bytes) -> None:
        self._make = lambda: make_backend(config, ray.get(cloudpickle.loads(data)))
        self._backend: Backend | None = None

    def start(self) -> None:
        """Build the backend. Not in the constructor: Ray would report an error there as a dead actor."""
        if self._backend is None:
            self._backend = self._make()

    def answer(self, request: Request) -> Answer:
        self.start()
        assert self._backend is not None
        return self._backend.answer(request)

    def alive(self) -> None:
        """Returns as soon as the actor is up."""


class EvaluatorPool:
    """Hands each request to an evaluator that is idle, in the order of arrival, until it is answered."""

    def __init__(
        self, make_backend: BackendFactory, config: RunConfig, data: bytes, *, evaluators: int, gpus: float = 0.0
    ) -> None:
        self._per_part = config.replicas_per_evaluator
        self._new = lambda: _evaluator(gpus).remote(make_backend, config, data)
        self._events: list[str] = []
        self._returning: set[asyncio.Task[None]] = set()
        self._idle: asyncio.Queue[Any] = asyncio.Queue()
        self._missing = evaluators

    def _add(self) -> None:
        evaluator = self._new()
        evaluator.start.remote()
        self._bring_back(evaluator)  # not before it is up: one that finds no room would keep its request for ever

    async def answer(self, request: Request) -> Answer:
        """Raises what the backend raises, and WorkersLost."""
        while self._missing:  # here, because a constructor has no loop
            self._missing -= 1
            self._add()
        if not isinstance(request, EquilibrateRequest):
            return await self._ask(request)
        parts = split_replicas(request, self._per_part)
        if len(parts) == 1:
            return await self._ask(request)
        answers = await asyncio.gather(*(self._ask(part) for part in parts))
        return join_replicas([answer for answer in answers if isinstance(answer, Equilibrated)])

    async def events(self) -> list[str]:
        """What happened since the last call, for people."""
        events, self._events = self._events, []
        return events

    async def _ask(self, request: Request) -> Answer:
        for losses in range(LOSSES):
            evaluator = await self._idle.get()
            try:
                answer = await evaluator.answer.remote(request)
            except RayTaskError as error:
                # our own code raised, which can leave a process useless (a CUDA error stays): start it anew
                ray.kill(evaluator, no_restart=False)
                self._bring_back(evaluator)
                _raise_cause(error)
            except RayError as lost:
                _refuse_stillborn(lost)
                at = f"{request.key.trajectory} step {request.key.step}"
                self._events.append(f"{at}: lost an evaluator ({type(lost).__name__}), asking again")
                self._bring_back(evaluator)
                await asyncio.sleep(_wait(losses))
                continue
            self._idle.put_nowait(evaluator)
            return answer
        raise WorkersLost(
            f"{type(request).__name__} lost {LOSSES} evaluators in a row; see the logs of Ray for what ended them"
        )

    def _bring_back(self, evaluator: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._when_up(evaluator))
        self._returning.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._returning.discard)

    async def _when_up(self, evaluator: Any) -> None:
        """Make the evaluator idle when it has restarted, or another in its place if it will not."""
        tries = 0
        while True:
            await asyncio.sleep(_wait(tries))
            tries += 1
            try:
                await evaluator.alive.remote()
            except ActorUnavailableError:
                continue
            except RayActorError as dead:
                if "creation task" in str(dead):
                    break  # whoever asks it gets the reason
                self._add()
                return
            except RayError:
                continue
            break
        self._idle.put_nowait(evaluator)


def _evaluator(gpus: float) -> Any:
    return ray.remote(
        num_cpus=1,
        num_gpus=gpus,
        max_restarts=-1,
        max_task_retries=0,
        scheduling_strategy="SPREAD",
        runtime_env={"env_vars": dict(THREADING)},
    )(Evaluator)


def _wait(losses: int) -> float:
    return min(LONGEST_WAIT, 0.1 * 2.0**losses)


def _raise_cause(error: RayTaskError) -> NoReturn:
    """Raise the exception of our own code, not Ray's wrapper; the wrapper has the remote traceback."""
    if isinstance(error.cause, Exception):
        raise error.cause from error
    raise error


def _refuse_stillborn(lost: RayError) -> None:
    """Raise WorkersLost for an actor that could not be made, such as by a module that its machine lacks: it never will be."""
    if isinstance(lost, RayActorError) and "creation task" in str(lost):
        raise WorkersLost(f"an actor cannot be started: {str(lost).strip().splitlines()[-1]}") from lost


def start_pool(make_backend: BackendFactory, config: RunConfig, data: bytes, *, evaluators: int, gpus: float = 0.0) -> Any:
    """A pool's handle; `data` comes from `share`. The pool ends with the driver that made it."""
    actor: Any = ray.remote(EvaluatorPool)
    return actor.options(num_cpus=0, resources=HEAD, max_restarts=-1, max_concurrency=1000).remote(
        make_backend, config, data, evaluators=evaluators, gpus=gpus
    )


class PoolBackend(Backend):
    """What a trajectory uses: sends its requests to a pool and waits. Raises WorkersLost besides the backend's own."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        return self._ask(request)

    def settle(self, request: SettleRequest) -> Settled:
        return self._ask(request)

    def measure(self, request: MeasureRequest) -> Measured:
        return self._ask(request)

    def differentiate(self, request: DifferentiateRequest) -> Differentiated:
        return self._ask(request)

    def _ask(self, request: Request) -> Any:
        for losses in range(LOSSES):
            try:
                return ray.get(self._pool.answer.remote(request))
            except RayTaskError as error:
                _raise_cause(error)
            except RayError as lost:
                _refuse_stillborn(lost)
                time.sleep(_wait(losses))
        raise WorkersLost(f"the pool of evaluators was lost {LOSSES} times in a row")
