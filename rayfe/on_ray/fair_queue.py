"""Idle workers for those who wait, trajectories in turn; no Ray."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import Generic, TypeVar

Worker = TypeVar("Worker")


class FairQueue(Generic[Worker]):
    """Idle workers, handed out one at a time: to each waiting trajectory in turn, within one in the order of arrival.

    A trajectory whose stencil has five parts therefore takes one worker before a later one with a single part gets
    its own, not five.
    """

    def __init__(self) -> None:
        self._idle: deque[Worker] = deque()
        self._waiting: OrderedDict[str, deque[asyncio.Future[Worker]]] = OrderedDict()

    @property
    def idle(self) -> int:
        return len(self._idle)

    async def get(self, who: str) -> Worker:
        """The worker that has been idle longest, when it is the turn of trajectory `who`."""
        if self._idle:  # then nobody waits
            return self._idle.popleft()
        turn: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(who, deque()).append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # handed over in the same moment
                self.put(turn.result())
            raise

    def put(self, worker: Worker) -> None:
        """Make a worker idle, or hand it to whose turn it is."""
        while self._waiting:
            who, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[who] = turns  # at the end: the others come first
            if not turn.done():
                turn.set_result(worker)
                return
        self._idle.append(worker)

    def remove(self, worker: Worker) -> bool:
        """Take a worker out; whether it was idle."""
        try:
            self._idle.remove(worker)
        except ValueError:
            return False
        return True

    def take(self) -> Worker | None:
        """An idle worker that is given up, the one that was used last; None if there is none."""
        return self._idle.pop() if self._idle else None
