"""The operating system's lock on a run's folder, which dies with its holder; `lease` says what stands for it where there is none."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
import uuid

from rayfe.exceptions import CorruptFile, UsageError, visible
from rayfe.storage.files import Files
from rayfe.storage.local import NO_FILE

LOCK = ".lock"
LOOKS = 5
"""Times that a lock is tried, 0.1 s apart: who only asks whether it is held has it for a moment."""
MOST = 10_000
"""Bytes of the file that are read at most."""
NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})
"""What flock answers on filesystems that are mounted without locks (some Lustre and FUSE mounts)."""


def take(descriptor: int, files: Files) -> str | None:
    """Lock the open lock file and write who holds it; returns the token, None where there are no locks."""
    for look in range(LOOKS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if look + 1 == LOOKS:
                who = visible(os.pread(descriptor, 300, 0).decode(errors="replace").partition("\n")[0])
                raise refusal(files, who) from None
            time.sleep(0.1)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            return None
    token = uuid.uuid4().hex
    with files.naming(LOCK):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{holder()}\n{token}\n".encode(), 0)
    return token


def is_locked(files: Files) -> bool:
    """Whether a process has the lock; False where the folder has no locks, or nobody has worked in it."""
    try:
        with files.naming(LOCK):
            descriptor = os.open(files.url(LOCK), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in NO_FILE:  # a link or a pipe: no driver of ours
            return False
        raise
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    finally:
        os.close(descriptor)
    return False


def token_in(files: Files) -> str | None:
    """The token of who holds the lock, or held it last; None where the last holder found no locks."""
    try:
        lines = files.read(LOCK, MOST).decode(errors="replace").splitlines()
    except (FileNotFoundError, CorruptFile):
        return None
    return lines[1] if len(lines) > 1 else None


def refusal(files: Files, name: str) -> UsageError:
    """What is raised where another process, of this name, holds the run."""
    who = f"another process ({name})" if name else "another process"
    return UsageError("out", files.url(), f"{who} is working on this run; wait until it ends, stop it, or give another folder")


def holder() -> str:
    """How this process is named to others."""
    return f"pid {os.getpid()} on {socket.gethostname()}"
