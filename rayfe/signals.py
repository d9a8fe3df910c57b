"""How a run ends by a signal: SIGTERM raises `Terminated`, as Ctrl-C raises KeyboardInterrupt, and the exit is quick."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

INTERRUPTED, TERMINATED = 130, 143


class Terminated(BaseException):
    """SIGTERM came. Not an Exception, so that no retry takes it for a failure."""


@contextlib.contextmanager
def handle_sigterm() -> Iterator[None]:
    """Raise Terminated in the main thread on the first SIGTERM; outside the main thread this does nothing.

    Libraries that install a handler of their own meanwhile must be kept from it (`sweep` does for Ray).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not break the way out
    raise Terminated


def exit_within(seconds: float, error: BaseException) -> None:
    """End this process after `seconds` if it has not ended by then, with the exit code that fits `error`.

    For a way out that leads through code which may hang (clients of services that are gone). Commits are
    atomic, so there is nothing to clean up.
    """
    stopped = isinstance(error, Terminated)
    code = TERMINATED if stopped else INTERRUPTED
    name = "SIGTERM" if stopped else "SIGINT"

    def end() -> None:
        time.sleep(seconds)
        with contextlib.suppress(Exception):
            print(f"stopped by {name}; the same command goes on from the last committed step", file=sys.stderr, flush=True)
            sys.stdout.flush()
        os._exit(code)

    threading.Thread(target=end, name="exit", daemon=True).start()
