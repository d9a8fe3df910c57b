"""How a trial asks a pool: it splits and joins, and content and answers go between it and the evaluators."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from rayfe.backend.parts import join, split
from rayfe.on_ray.losses import LOSSES, WorkersLost, pause, raise_cause, refuse_stillborn
from rayfe.on_ray.pool import Sealed, sealed
from rayfe.records import Answer, Request
from rayfe.records.backend import Relay


def persistently(ask: Callable[[], Any]) -> Any:
    """What `ask` returns, asked again where a process or node was lost. Raises the backend's own exceptions, and WorkersLost."""
    for losses in range(LOSSES):
        try:
            return ask()
        except RayTaskError as error:
            raise_cause(error)
        except RayError as lost:
            refuse_stillborn(lost)
            time.sleep(pause(losses))
    raise WorkersLost(f"the pool of evaluators was lost {LOSSES} times in a row")


def answered(request: Request, per_part: int | None, ask: Callable[[Sequence[Sealed]], Sequence[Any]]) -> Answer:
    """The answer to a request in parts of `per_part` replicas; `ask` has references to the answers from a pool."""

    def answer() -> Answer:
        parts = [sealed(part) for part in split(request, per_part)]
        return join(ray.get(list(ask(parts))))

    return persistently(answer)


class PoolBackend(Relay):
    """What a trajectory uses: sends its requests to a pool and waits. Raises WorkersLost besides the backend's own."""

    def __init__(self, pool: Any, *, per_part: int | None) -> None:
        self._pool, self._per_part = pool, per_part

    def answer(self, request: Request) -> Any:
        return answered(request, self._per_part, lambda parts: ray.get(self._pool.answer.remote(parts)))

    def lend(self, who: str, places: int) -> None:
        """Wait until the pool has made room for `places` workers of trajectory `who`."""
        persistently(lambda: ray.get(self._pool.lend.remote(who, places)))

    def take_back(self, who: str) -> None:
        """The end of a loan."""
        persistently(lambda: ray.get(self._pool.take_back.remote(who)))
