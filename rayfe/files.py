"""Files below one folder of any fsspec filesystem: whole-file reads, atomic writes, setting aside, a lock."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import posixpath
import socket
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from rayfe.config import UsageError, require

log = logging.getLogger(__name__)

NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})
"""What flock answers on filesystems that are mounted without locks (some Lustre and FUSE mounts)."""

STAMPED = ("name", "size", "mtime", "ino", "created", "LastModified", "ETag", "etag", "updated")
"""What filesystems say of a file's version; each has some of them."""


class CorruptFile(RuntimeError):
    """A stored file is not what was written: `path` names it, `fault` says what is wrong."""

    def __init__(self, path: str, fault: str) -> None:
        super().__init__(path, fault)  # both, so that it survives pickling between processes
        self.path = path
        self.fault = fault

    def __str__(self) -> str:
        return f"{self.path}: {self.fault}"


class Files:
    """Files by posix path relative to `location`. Building one touches no disk.

    A relative local location is taken from the working directory of that moment.

    Raises:
        UsageError: no filesystem is known for the location's protocol, or its package is missing.
    """

    def __init__(self, location: str | Path) -> None:
        try:
            # no listings cache: other processes write here too, and s3fs would answer from memory
            self._fs, self._root = url_to_fs(os.fspath(location), use_listings_cache=False)
        except (ValueError, ImportError) as error:
            raise UsageError("out", location, f"{error}; give a local path or an fsspec URI") from error
        self.local = isinstance(self._fs, LocalFileSystem)

    def url(self, relative: str = "") -> str:
        """Absolute path of a file (local) or its URI, for people to read."""
        path = self._path(relative) if relative else self._root
        return path if self.local else self._fs.unstrip_protocol(path)

    def _path(self, relative: str) -> str:
        return f"{self._root.rstrip('/')}/{relative}"

    def exists(self, relative: str) -> bool:
        return bool(self._fs.exists(self._path(relative)))

    def read(self, relative: str) -> bytes:
        """The whole file; FileNotFoundError if there is none."""
        return self._fs.cat_file(self._path(relative))

    def names(self, folder: str) -> list[str]:
        """Names in a folder, in order; none if it does not exist."""
        try:
            paths = self._fs.ls(self._path(folder), detail=False)
        except FileNotFoundError:
            return []
        return sorted(name for name in (posixpath.basename(path.rstrip("/")) for path in paths) if name)

    def stamp(self, places: Sequence[str]) -> str:
        """Changes when one of these files, or a file in one of these folders, is replaced: a hash of sizes and times."""
        found = []
        for place in places:
            try:
                entries = self._fs.ls(self._path(place), detail=True)
            except FileNotFoundError:
                continue
            found += [[str(entry.get(name)) for name in STAMPED] for entry in entries]
        return hashlib.sha256(repr(sorted(found)).encode()).hexdigest()[:16]

    def write(self, relative: str, data: bytes) -> None:
        """Replace one file as a whole: a reader, or a crash at any moment, sees the old bytes or the new ones."""
        path = self._path(relative)
        if self.local:
            _replace(path, data)
            return
        try:
            self._fs.pipe_file(path, data)
        except FileNotFoundError:  # a filesystem with real folders; an object store needs none and gets one PUT
            self._fs.makedirs(posixpath.dirname(path), exist_ok=True)
            self._fs.pipe_file(path, data)

    def remove(self, relative: str) -> None:
        """Remove a file if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path(relative))

    def set_aside(self, relative: str) -> str:
        """Rename a file to `.bad-<n>-<name>` in its folder, which readers of the folder ignore; returns the new path."""
        folder, name = posixpath.split(relative)
        taken = set(self.names(folder))
        number = next(n for n in range(1, len(taken) + 2) if f".bad-{n}-{name}" not in taken)
        aside = posixpath.join(folder, f".bad-{number}-{name}")
        self._fs.mv(self._path(relative), self._path(aside))
        return aside

    @contextlib.contextmanager
    def lock(self, name: str = ".lock") -> Iterator[None]:
        """Hold the folder (made if missing) for this process; the lock dies with the process, however it dies.

        Local folders only: elsewhere this does nothing, and the caller must see to it that one process writes.

        Raises:
            UsageError: another process holds it.
        """
        if not self.local:
            yield
            return
        os.makedirs(self._root, exist_ok=True)
        # never removed: a lock file that is deleted can be held by two processes, one of them by a name that is gone
        descriptor = os.open(self._path(name), os.O_RDWR | os.O_CREAT, 0o666)
        try:
            self._take(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _take(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            who = f"another process ({holder})" if holder else "another process"
            fix = f"{who} is working on this run; wait until it ends, stop it, or give another folder"
            raise UsageError("out", self.url(), fix) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            log.warning("%s: this filesystem has no locks; see to it that no second process works on this run", self.url())
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def check_writable(self) -> None:
        """Try to make the folder and a file in it, and take both away again.

        Raises:
            UsageError: the location is a file, or cannot be written.
        """
        try:
            require(not self._fs.isfile(self._root), "out", self.url(), "is a file; give a folder")
            if self.local:
                _try_folder(Path(self._root))
            else:
                probe = f".probe-{uuid.uuid4().hex}"
                self.write(probe, b"")
                self.remove(probe)
        except UsageError:
            raise
        except Exception as error:  # clients of object stores raise their own kinds for credentials and networks
            fix = f"cannot be written ({error}); give a folder where files can be made"
            raise UsageError("out", self.url(), fix) from error


def _replace(path: str, data: bytes) -> None:
    """Write beside `path`, under a name that begins with a dot (pandas skips those), sync, and rename over it."""
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network filesystems cannot sync a folder
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _try_folder(folder: Path) -> None:
    """Make `folder` and a file in it for a moment; OSError if that cannot be done. Permission bits alone do not tell."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    made: list[Path] = []
    try:
        for path in reversed(missing):
            path.mkdir()
            made.append(path)
        probe = folder / f".probe-{uuid.uuid4().hex}"
        probe.touch(exist_ok=False)
        probe.unlink()
    finally:
        for path in reversed(made):
            with contextlib.suppress(OSError):  # another process may use it by now
                path.rmdir()
