"""Every operation on a folder, as Python's audit events and `os.fsync` tell of them: to look at it, or to die, in between."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

OPERATIONS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.listdir", "os.scandir"}
_told: list[Callable[[str, Any], None]] = []


class Killed(BaseException):
    """Stands for kill -9: nothing of our own code catches it."""


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _told and event in OPERATIONS:
        _told[-1](event, arguments[0])


sys.addaudithook(_hook)


@contextlib.contextmanager
def watched(folder: Path, before: Callable[[str], None]) -> Iterator[None]:
    """Calls `before` with the name of each operation below the folder before it is done; its own are not watched."""
    sync = os.fsync

    def told(name: str, path: Any) -> None:
        if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(os.fspath(folder)):
            _told.append(lambda *_: None)
            try:
                before(name)
            finally:
                _told.pop()

    def synced(descriptor: int) -> None:
        told("fsync", os.readlink(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    _told.append(told)
    os.fsync = synced
    try:
        yield
    finally:
        os.fsync = sync
        _told.pop()


@contextlib.contextmanager
def killed_after(folder: Path, operations: int) -> Iterator[list[str]]:
    """Ends the block by Killed before the next operation below the folder, if it has one; yields those done so far."""
    done: list[str] = []

    def before(name: str) -> None:
        if len(done) == operations:
            raise Killed  # and so at all that follow: who is dead cleans nothing up
        done.append(name)

    with watched(folder, before):
        yield done
