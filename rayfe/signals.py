"""How a command ends by a signal: at once and with one line, wherever it is.

A thread answers, so that no import, no long call into C and no swallowed exception holds it up; the main thread stands still from
then on. Commits are atomic, so nothing has to come to its end; what others would trip over is `released`. For command lines
only: from Python, signals and the end of the process are the caller's.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import NoReturn

WORDS = {signal.SIGTERM: "terminated", signal.SIGINT: "interrupted", signal.SIGHUP: "hung up"}
SHOW_CURSOR = b"\x1b[?25h"
TO_RELEASE, TO_LEAVE = 1.0, 0.9
"""Seconds for what is `released`, and for the last line; the contract is 2 for all."""
_held: list[Callable[[], None]] = []
_codes: list[int] = []


def handle_signals() -> None:
    """From now on SIGTERM ends this process with code 143, SIGINT (Ctrl-C) with 130 and SIGHUP with 129, and with it
    what it starts.

    For the main thread, before anything that takes time to import. Where SIGINT is ignored, as in a job that a script has put in
    the background, Ctrl-C goes on being ignored; a SIGINT that a process has sent ends this one. Libraries must be kept from
    handlers that are not Python's (`rayfe.on_ray.session` does for Ray).
    """
    atexit.register(_skip_taking_down)  # the first that is registered is the last that is called
    in_background = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if in_background:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # before there are threads, which do as this one does
    others: set[int] = set()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    threading.Thread(target=_answer, args=(reader, others), name="signals", daemon=True).start()
    # written by the C handler, also while the main thread cannot run Python's
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    ours = [number for number in WORDS if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN]  # nohup
    for number in ours:
        signal.signal(number, _stand_still)
    if in_background:
        threading.Thread(target=_pass_on_what_was_sent, name="sigint", daemon=True).start()
    others.update(_descendants(set()))  # of the program that has become this one by `exec`
    if in_background:
        ours.remove(signal.SIGINT)
    # a fork has the same pipe: a signal to it must not end this process
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ours),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, ours),
        after_in_child=lambda: _forget(ours),
    )


def ended(code: int) -> int:
    """`code`, for `sys.exit`: the process is gone once atexit is through.

    To take modules down one by one takes a quarter of the time of `report`, and signals have the system's meaning meanwhile.
    """
    _codes.append(code)
    return code


@contextlib.contextmanager
def released(release: Callable[[], None]) -> Iterator[None]:
    """Calls `release` when the block ends, also where a signal ends the process in it; then perhaps in the middle of another call."""
    with contextlib.ExitStack() as stack:
        _held.append(release)
        stack.callback(_held.remove, release)  # last: a signal may come while it releases
        stack.callback(release)
        yield


def _skip_taking_down() -> None:
    if _codes:
        _quietly(sys.stdout.flush)
        _quietly(sys.stderr.flush)
        os._exit(_codes[-1])


def _stand_still(number: int, frame: FrameType | None) -> NoReturn:
    """Else the main thread would say that its lease, or its Ray, is gone."""
    while True:
        signal.pause()


def _answer(reader: int, others: set[int]) -> None:
    while (number := os.read(reader, 1)[0]) not in WORDS:
        pass
    sys.setswitchinterval(1e-5)  # each file of /proc gives the interpreter away, and a busy thread would keep it for 5 ms
    _within(TO_RELEASE, list(reversed(_held)))
    _within(TO_LEAVE, [lambda: _end_children(others), lambda: _say(signal.Signals(number))])
    os._exit(128 + number)


def _pass_on_what_was_sent() -> None:
    """Waits for a SIGINT that a process has sent; one from the keyboard, which the kernel sends, is for those in the foreground."""
    while signal.sigwaitinfo([signal.SIGINT]).si_code > 0:
        pass
    _thread.interrupt_main(signal.SIGINT)


def _within(seconds: float, calls: Sequence[Callable[[], None]]) -> None:
    """Make the calls side by side: one may wait for a network that is away, or for a lock of a thread that stands still."""
    threads = [threading.Thread(target=_quietly, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))


def _quietly(call: Callable[[], None]) -> None:
    with contextlib.suppress(Exception):  # nobody is left to be told
        call()


def _end_children(others: set[int]) -> None:
    for pid in _descendants(others):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _say(number: signal.Signals) -> None:
    line = f"{WORDS[number]}; to go on: {shlex.join(['python', *sys.orig_argv[1:]])}\n"
    with contextlib.suppress(OSError):
        os.write(2, line.encode(errors="backslashreplace"))  # not by sys.stderr, which may be locked
    if os.isatty(1):
        os.write(1, SHOW_CURSOR)  # a table that is refreshed hides it
    sys.stdout.flush()


def _descendants(others: set[int]) -> list[int]:
    """Process numbers below this one but not below `others`, the nearest first (they would start others again). Linux only."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else ():
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{int(entry)}/stat") as file:
            parents.setdefault(int(file.read().rpartition(")")[2].split()[1]), []).append(int(entry))
    below = [os.getpid()]
    for parent in below:
        below += [pid for pid in parents.get(parent, []) if pid not in others]
    return below[1:]


def _forget(ours: Sequence[signal.Signals]) -> None:
    signal.set_wakeup_fd(-1)
    for number in WORDS:
        if signal.getsignal(number) is _stand_still:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ours)
