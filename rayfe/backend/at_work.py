"""Requests that several threads have at work on one backend: which may be answered side by side, and what holds meanwhile."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from rayfe.records import EquilibrateRequest, Request


class AtWork:
    """Lets requests in one at a time; where there are several slots, trainings side by side.

    The first to come enters `shared`, the last to go leaves it: what a process has once, such as a switch of torch, is set as long as
    anybody needs it.
    """

    def __init__(self, shared: Callable[[], contextlib.AbstractContextManager[None]], *, slots: int) -> None:
        self._shared, self._together = shared, (EquilibrateRequest,) if slots > 1 else ()
        self._alone, self._changing = threading.Lock(), threading.Lock()
        self._held = contextlib.ExitStack()
        self.count = 0
        """Requests at work, those included that wait for their turn."""

    @contextlib.contextmanager
    def on(self, request: Request) -> Iterator[None]:
        """Within the block the request is answered."""
        with self._counted(), contextlib.nullcontext() if isinstance(request, self._together) else self._alone:
            yield

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
