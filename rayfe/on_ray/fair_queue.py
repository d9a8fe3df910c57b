"""Places of workers for those who wait, trajectories in turn; no Ray."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import Generic, TypeVar

Worker = TypeVar("Worker")


class FairQueue(Generic[Worker]):
    """Workers with `places` places each, handed out one place at a time: to each waiting trajectory in turn, within one in the order
    of arrival.

    A trajectory whose stencil has five parts therefore takes one place before a later one with a single part gets its own, not five.
    A place is that of the worker with the fewest free ones: what trains together fills one worker before the next.
    """

    def __init__(self, places: int = 1) -> None:
        self._places = places
        self._free: dict[Worker, int] = {}
        """Places of those that have any, in the order in which they became wholly free."""
        self._waiting: OrderedDict[str, deque[asyncio.Future[Worker]]] = OrderedDict()

    @property
    def idle(self) -> int:
        """Workers of which every place is free."""
        return sum(free == self._places for free in self._free.values())

    async def get(self, who: str) -> Worker:
        """A place, when it is the turn of trajectory `who`; of several workers that of the one that has been idle longest."""
        if self._free:  # then nobody waits
            worker = min(self._free, key=lambda worker: self._free[worker])
            self._free[worker] -= 1
            if not self._free[worker]:
                del self._free[worker]
            return worker
        turn: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(who, deque()).append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # handed over in the same moment
                self.put(turn.result())
            raise

    def add(self, worker: Worker) -> None:
        """All places of a worker."""
        for _ in range(self._places):
            self.put(worker)

    def put(self, worker: Worker) -> None:
        """Make a place of a worker free, or hand it to whose turn it is."""
        while self._waiting:
            who, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[who] = turns  # at the end: the others come first
            if not turn.done():
                turn.set_result(worker)
                return
        free = self._free.get(worker, 0) + 1
        if free == self._places:
            self._free.pop(worker, None)  # to the end
        self._free[worker] = free

    def remove(self, worker: Worker) -> None:
        """Take the free places of a worker out, if it has any."""
        self._free.pop(worker, None)

    def take(self) -> Worker | None:
        """A worker of which every place is free, and which is given up, the one that was used last; None if there is none."""
        worker = next((worker for worker, free in reversed(self._free.items()) if free == self._places), None)
        if worker is not None:
            del self._free[worker]
        return worker
