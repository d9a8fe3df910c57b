"""How a command ends by a signal: SIGTERM raises `Terminated`, as Ctrl-C raises KeyboardInterrupt, and the exit is quick.

For command lines only: from Python, signals and the end of the process are the caller's.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType

TERMINATED = 143
GRACE = 1.4
"""Seconds for a polite exit on SIGTERM; the contract is 2."""


class Terminated(BaseException):
    """SIGTERM came. Not an Exception, so that no retry takes it for a failure."""


@contextlib.contextmanager
def handle_sigterm() -> Iterator[None]:
    """Raise Terminated in the main thread on the first SIGTERM; outside the main thread this does nothing.

    Where the block does not end within `GRACE` seconds of it, because the main thread is in foreign code that
    returns late, the process ends with code 143, and with it the processes that it started in the block. Libraries that
    install a handler of their own must be kept from it (`session` does for Ray).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    left = threading.Event()
    watch = threading.Thread(target=_watch, args=(reader, left, set(_descendants())), name="sigterm", daemon=True)
    watch.start()
    # written by the C handler, also while the main thread cannot run Python's
    descriptor_before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        left.set()
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
        signal.set_wakeup_fd(descriptor_before)
        writer.close()  # ends the thread


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not break the way out
    raise Terminated


def _watch(reader: socket.socket, left: threading.Event, others: set[int]) -> None:
    with reader:
        while number := reader.recv(1):
            if number[0] == signal.SIGTERM and not left.wait(GRACE):
                _end_at_once(others)


def _end_at_once(others: set[int]) -> None:
    """Print a line and end this process and those below it but `others`, whatever the main thread is doing."""
    sys.setswitchinterval(1e-5)  # each file of /proc gives the interpreter away, and the main thread would keep it for 5 ms
    with contextlib.suppress(Exception):
        print("stopped by SIGTERM; the same command goes on from the last committed step", file=sys.stderr)
        for pid in (pid for pid in _descendants() if pid not in others):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
    _end(TERMINATED)


def _descendants() -> list[int]:
    """Process numbers below this one, the nearest first (they would start others again). Linux only."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{int(entry)}/stat") as file:
            parents.setdefault(int(file.read().rpartition(")")[2].split()[1]), []).append(int(entry))
    below = [os.getpid()]
    for parent in below:
        below += parents.get(parent, [])
    return below[1:]


def exit_without_cleanup(code: int) -> None:
    """From now on the interpreter ends with `code` and without the clean-up of libraries: for clients of servers that are gone, and
    because what was in the middle of something takes long to clean up.

    Commits are atomic, so nothing is left to do.
    """
    atexit.register(_end, code)


def _end(code: int) -> None:
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
