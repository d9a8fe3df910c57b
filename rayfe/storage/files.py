"""Files below one folder of any fsspec filesystem: whole-file reads, atomic writes, setting aside."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import posixpath
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from rayfe.config import require
from rayfe.exceptions import StorageFull, UsageError

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What a full disk, or a user's full share of one, answers."""

DAMAGED = "damaged"
"""Folder of what could not be read; the folders below it are those in which the files were."""
TEMPORARY = ".tmp"
STAMPED = ("name", "size", "mtime", "ino", "created", "LastModified", "ETag", "etag", "updated")
"""What filesystems say of a file's version; each has some of them."""

Result = TypeVar("Result")


@contextlib.contextmanager
def room_for(path: str) -> Iterator[None]:
    """Says what to do where there is no room for `path`: raises StorageFull in place of the system's error."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise StorageFull(path) from error


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
        except Exception as error:  # each filesystem has a constructor of its own
            raise UsageError("out", location, f"cannot be opened ({error}); give a local path or an fsspec URI") from error
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

    def modified(self, relative: str) -> datetime | None:
        """When a file was last replaced, by the clock of its storage; None where there is none, or the storage does not tell."""
        try:
            found = self._fs.modified(self._path(relative))
        except (FileNotFoundError, NotImplementedError):
            return None
        return found if found.tzinfo else found.replace(tzinfo=UTC)

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
        """Replace one file as a whole: a reader, or a crash at any moment, sees the old bytes or the new ones.

        What is half-written lies in the folder that all files are below, so that in the others there are whole files only.

        Raises:
            StorageFull: there is no room; the old bytes stay.
        """
        path = self._path(relative)
        with room_for(self.url(relative)):
            if self.local:
                _replace(path, data, self._path(f"{_temporary(relative)}.{uuid.uuid4().hex[:8]}{TEMPORARY}"))
            else:
                self._put(path, data)

    def remove_temporaries(self, prefix: str) -> None:
        """Remove what a process that was killed left of writing files whose relative path begins with `prefix`."""
        if self.local:
            for name in self.names(""):
                if name.startswith(_temporary(prefix)) and name.endswith(TEMPORARY):
                    self.remove(name)

    def keep(self, relative: str, copy: str) -> None:
        """Make `copy` what `relative` is now; nothing if that does not exist.

        A link on a local disk: `relative` is safe there already, and the next `write` gives it another inode.
        """
        path, copied = self._path(relative), self._path(copy)
        if not (self.local and _link(path, copied)):
            with contextlib.suppress(FileNotFoundError):
                self.write(copy, self.read(relative))

    def create(self, relative: str, data: bytes) -> bool:
        """Write a file that is not there yet; False if it is, and nothing is written then.

        Two that create the same file at once cannot both succeed on filesystems that can tell (object stores: by a
        conditional PUT). Others answer True to both, and the later bytes stay; a PUT that is repeated after a lost
        answer is told False. So read the file back.
        """
        path = self._path(relative)
        if self.local:
            return _create(path, data)
        try:
            self._put(path, data, mode="create")
        except (OSError, TypeError):  # servers word a refused condition, or that they know none, in different ways
            if self.exists(relative):
                return False
            self._put(path, data)
        return True

    def _put(self, path: str, data: bytes, **options: str) -> None:
        try:
            self._fs.pipe_file(path, data, **options)
        except FileNotFoundError:  # a filesystem with real folders; an object store needs none and gets one PUT
            bucket = path.partition("/")[0]
            if bucket and not self._fs.exists(bucket):  # mistyped: it must not be made
                raise
            self._fs.makedirs(posixpath.dirname(path), exist_ok=True)
            self._fs.pipe_file(path, data, **options)

    def remove(self, relative: str) -> None:
        """Remove a file if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path(relative))

    def set_aside(self, relative: str, instead: bytes | None = None) -> str:
        """Move a damaged file to the folder `damaged`, and put `instead` in its place; returns where it is now.

        It is never missing on the way if there is something in its place.
        """
        folder, name = posixpath.split(relative)
        aside = posixpath.join(DAMAGED, folder)
        taken = set(self.names(aside))
        number = next(n for n in range(1, len(taken) + 2) if f"{n}-{name}" not in taken)
        self.keep(relative, f"{aside}/{number}-{name}")
        if instead is None:
            self.remove(relative)
        else:
            self.write(relative, instead)
        return f"{aside}/{number}-{name}"

    def check_writable(self) -> None:
        """Try to make the folder and a file in it, and take both away again.

        Raises:
            UsageError: the location is a file, or cannot be written.
            StorageFull: there is no room.
        """
        try:
            require(not self._fs.isfile(self._root), "out", self.url(), "is a file; give a folder")
            if self.local:
                with room_for(self.url()):
                    _try_folder(Path(self._root))
            else:
                probe = f".probe-{uuid.uuid4().hex}"
                self.write(probe, b"")
                self.remove(probe)
        except (UsageError, StorageFull):
            raise
        except Exception as error:  # clients of object stores raise their own kinds for credentials and networks
            fix = f"cannot be written ({error}); give a folder where files can be made"
            raise UsageError("out", self.url(), fix) from error


def _temporary(relative: str) -> str:
    return "." + relative.replace("/", "+")


def _replace(path: str, data: bytes, temporary: str) -> None:
    """Write a temporary file, sync, and rename it to `path`."""
    try:
        with _with_folder(temporary, lambda: open(temporary, "wb")) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _with_folder(path, lambda: os.replace(temporary, path))
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network filesystems cannot sync a folder
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _with_folder(path: str, make: Callable[[], Result]) -> Result:
    """What `make` does at `path`, whose folder is made only where it is missing: to look each time is a call more."""
    try:
        return make()
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return make()


def _link(path: str, copy: str) -> bool:
    """Make `copy` another name of the file `path`; False where that cannot be done (no such file, or no links here)."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(copy)
    try:
        _with_folder(copy, lambda: os.link(path, copy))
    except OSError:
        return False
    return True


def _create(path: str, data: bytes) -> bool:
    try:
        with room_for(path), _with_folder(path, lambda: open(path, "xb")) as file:
            file.write(data)
    except FileExistsError:
        return False
    return True


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
