"""Requests that several threads have at work on one backend: which may be answered side by side, and what holds meanwhile."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from rayfe.records import EquilibrateRequest, MeasureRequest, Request, SettleRequest
from rayfe.training.together import Together


class AtWork:
    """Lets requests in one at a time; where there are several slots, trainings and readings side by side.

    The first to come enters `shared`, the last to go leaves it: what a process has once, such as a switch of torch, is set as long as
    anybody needs it.
    """

    def __init__(
        self, shared: Callable[[], contextlib.AbstractContextManager[None]], together: Together, *, slots: int
    ) -> None:
        """`together` gathers what is read."""
        self._shared, self._together, self._slots = shared, together, slots
        self._changing, self._held = threading.Lock(), contextlib.ExitStack()
        self.count = 0
        """Requests at work, those included that wait for their turn."""

    @contextlib.contextmanager
    def on(self, request: Request) -> Iterator[None]:
        """Within the block the request is answered."""
        with self._counted(), self._turn(request):
            yield

    def _turn(self, request: Request) -> contextlib.AbstractContextManager[None]:
        if self._slots > 1 and isinstance(request, EquilibrateRequest):
            return contextlib.nullcontext()
        if self._slots > 1 and isinstance(request, MeasureRequest | SettleRequest):
            return self._together.at_work()
        return self._together.alone

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        with self._changing:
            if not self.count:
                self._held.enter_context(self._shared())
            self.count += 1
        try:
            yield
        finally:
            with self._changing:
                self.count -= 1
                if not self.count:
                    self._held.close()
