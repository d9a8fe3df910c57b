"""Errors of storage, of the system or of a client's own kinds, as one family that names the place and the fix."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from rayfe.exceptions import CorruptFile, StorageError, StorageFull, UsageError, visible

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What a full disk, or a user's full share of one, answers."""
ANSWERS = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, NotImplementedError)
"""What is no failure, but an answer to who asked."""
KEYS = "access is denied ({}); set credentials that allow it, for S3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
FAULTS = (TypeError, AttributeError, AssertionError, LookupError, MemoryError)
"""What no storage answers."""
PASSED = (*ANSWERS, *FAULTS, StorageError, CorruptFile, UsageError)


@contextlib.contextmanager
def naming(place: str, *, kinds: type[Exception] = OSError) -> Iterator[None]:
    """Raises StorageError, or StorageFull, in place of errors of these `kinds`; what is an answer, or a fault of a program, passes."""
    try:
        yield
    except PASSED:
        raise
    except kinds as error:
        raise storage_error(place, error) from error


@contextlib.contextmanager
def as_bad_input(name: str, value: object) -> Iterator[None]:
    """Raises UsageError of the field `name` in place of StorageError and CorruptFile: before any work it is the user who named it.

    StorageFull passes: the place is right.
    """
    try:
        yield
    except StorageFull:
        raise
    except StorageError as error:
        raise UsageError(name, value, error.fix if value == error.path else str(error)) from error
    except CorruptFile as error:
        raise UsageError(name, value, f"{error}; give another place") from error


def storage_error(place: str, error: Exception) -> StorageError:
    """What is said of an error at `place`, a path or a URI."""
    number = error.errno if isinstance(error, OSError) else None
    if number in NO_ROOM:
        return StorageFull(place)
    denied = isinstance(error, PermissionError) or "Credential" in type(error).__name__
    if "://" in place:
        cause = visible(str(error)) or type(error).__name__
        fix = KEYS if denied else "cannot be reached ({}); check its address and the network, then try again"
        return StorageError(place, fix.format(cause))
    if denied:
        return StorageError(_closed(place), "permission denied; ask its owner, or use another place")
    if number == errno.EROFS:
        return StorageError(place, "is on a read-only file system; use a place that can be written")
    return StorageError(place, f"{os.strerror(number or errno.EIO)}; check the path and the disk, then try again")


def _closed(path: str) -> str:
    """The first folder on the way that this process may not enter; the path itself where there is none."""
    effective = os.access in os.supports_effective_ids
    folders = (str(folder) for folder in reversed(Path(path).parents))
    return next((folder for folder in folders if not os.access(folder, os.X_OK, effective_ids=effective)), path)
