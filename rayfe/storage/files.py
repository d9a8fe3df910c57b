"""Files below one folder of any fsspec filesystem: whole-file reads, atomic writes, setting aside."""

from __future__ import annotations

import copy
import errno
import functools
import logging
import os
import posixpath
import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rayfe.config import require
from rayfe.exceptions import CorruptFile, UsageError
from rayfe.storage.errors import as_bad_input
from rayfe.storage.local import (
    TEMPORARY,
    create_file,
    read_file,
    replace_file,
    try_folder,
    with_folder,
)
from rayfe.storage.place import Place, named_errors

log = logging.getLogger(__name__)

DAMAGED = "damaged"
"""Folder of what could not be read; the folders below it are those in which the files were."""
LEFT_OVER = re.compile(rf"\..+\.[0-9a-f]{{8}}{re.escape(TEMPORARY)}|\.probe-[0-9a-f]{{32}}.*")
"""Names of what a process leaves in a run's folder when it is killed while it writes, or tries whether it can."""
STAMPED = ("name", "size", "mtime", "ino", "created", "LastModified", "ETag", "etag", "updated")
"""What filesystems say of a file's version; each has some of them."""


@functools.cache
def most_bytes() -> int:
    """What a file may have to be read: half of this machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


class Files(Place):
    """Files by posix path relative to `location`. Building one touches no disk.

    A relative local location is taken from the working directory of that moment.

    Every error of storage that its methods raise is a StorageError, but these: FileNotFoundError, where there is no such file, or
    the location is a file; CorruptFile, where something else than a file or a folder is in its place.

    Raises:
        StorageError: the location is no path and no URI, no filesystem is known for its protocol, or its package is missing.
    """

    @named_errors
    def exists(self, relative: str) -> bool:
        """Whether there is such a file or folder; it may be closed."""
        try:
            self._fs.info(self._path(relative))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    @named_errors
    def read(self, relative: str, limit: int | None = None) -> bytes:
        """The whole file.

        Raises:
            FileNotFoundError: there is none.
            CorruptFile: it is no regular file, or has more than `limit` bytes (None: `most_bytes`).
        """
        limit = most_bytes() if limit is None else limit
        if self.local:
            return read_file(self._path(relative), limit)
        data = self._get(self._path(relative), limit + 1)
        if len(data) > limit:
            raise CorruptFile(self.url(relative), f"has more than the {limit} bytes that are read")
        return data

    def _get(self, path: str, limit: int) -> bytes:
        """At most `limit` bytes, by one request."""
        try:
            return self._fs.cat_file(path, start=0, end=limit)
        except FileNotFoundError:
            raise
        except (OSError, ValueError):  # servers refuse to give a part of nothing
            if self._fs.size(path):
                raise
            return b""

    def at_one_moment(self) -> Files:
        """The same files, to read many of them: each folder is listed once."""
        found = copy.copy(self)
        found.names = functools.cache(self.names)  # type: ignore[method-assign]
        return found

    @named_errors
    def names(self, folder: str) -> list[str]:
        """Names in a folder, in order; none if it does not exist."""
        try:
            if self.local:
                return sorted(os.listdir(self._path(folder)))
            paths = self._fs.ls(self._path(folder), detail=False)
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            if self.is_file():
                return []
            raise
        return sorted(name for name in (posixpath.basename(path.rstrip("/")) for path in paths) if name)

    @named_errors
    def modified(self, relative: str) -> datetime | None:
        """When a file was last replaced, by the clock of its storage; None where there is none, or the storage does not tell."""
        try:
            found = self._fs.modified(self._path(relative))
        except (FileNotFoundError, NotADirectoryError, NotImplementedError):
            return None
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            return None  # a link to itself
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    @named_errors
    def versions(self, place: str) -> dict[str, str]:
        """By name what changes when a file is replaced, its size and times: of this file, or of those in this folder."""
        try:
            entries = self._fs.ls(self._path(place), detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return {posixpath.basename(entry["name"]): str([entry.get(name) for name in STAMPED]) for entry in entries}

    @named_errors
    def write(self, relative: str, data: bytes, *, durable: bool = True) -> None:
        """Replace one file as a whole: a reader, or a crash at any moment, sees the old bytes or the new ones.

        What is half-written lies in the folder that all files are below, so that in the others there are whole files only.
        Without `durable` a power failure may tear it: enough for a copy.

        Raises:
            StorageFull: there is no room; the old bytes stay.
            StorageError: it cannot be written.
            UsageError: a folder on the way is a link.
        """
        path = self._own(relative)
        if not self.local:
            return self._put(path, data)
        try:
            replace_file(path, data, self._path(_temporary(relative)), durable=durable)
        except IsADirectoryError:
            self._folder_aside(relative)
            replace_file(path, data, self._path(_temporary(relative)), durable=durable)

    def _folder_aside(self, relative: str) -> None:
        """Make way where a folder is in the place of a file."""
        log.warning("%s: is a folder; set aside as %s", self.url(relative), self.set_aside(relative))

    def sweep(self, trajectory: str | None = None) -> None:
        """Remove what processes that were killed left of writing, or of trying whether they could; only of a trajectory's files if
        there is one."""
        for name in self.names(""):
            if LEFT_OVER.fullmatch(name) and (trajectory is None or re.search(rf"\+{re.escape(trajectory)}[.+]", name)):
                self.remove(name)

    @named_errors
    def create(self, relative: str, data: bytes) -> bool:
        """Write a file that is not there yet; False if it is, and nothing is written then.

        Two that create the same file at once cannot both succeed on filesystems that can tell (object stores: by a
        conditional PUT). Others answer True to both, and the later bytes stay; a PUT that is repeated after a lost
        answer is told False. So read the file back.
        """
        path = self._own(relative)
        if self.local:
            return create_file(path, data)
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

    @named_errors
    def remove(self, relative: str) -> None:
        """Remove a file, or a link to one, if it is there."""
        path = self._own(relative)
        try:
            os.unlink(path) if self.local else self._fs.rm_file(path)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            self._folder_aside(relative)

    @named_errors
    def move(self, relative: str, to: str) -> None:
        """Give a file another name; what had that name is replaced."""
        if self.local:
            source, target = self._own(relative), self._own(to)
            with_folder(target, lambda: os.replace(source, target))
        else:
            self.write(to, self.read(relative))
            self.remove(relative)

    @named_errors
    def set_aside(self, relative: str) -> str:
        """Move a damaged file, or whatever else is there, to the folder `damaged`; returns where it is now."""
        folder, name = posixpath.split(relative)
        aside = f"{DAMAGED}/{folder}".rstrip("/")
        taken = set(self.names(aside))
        number = next(n for n in range(1, len(taken) + 2) if f"{n}-{name}" not in taken)
        self.move(relative, f"{aside}/{number}-{name}")
        return f"{aside}/{number}-{name}"

    def check_writable(self, folders: Sequence[str] = ()) -> None:
        """Try to make the folder and a file in it, and take both away again.

        Raises:
            UsageError: the location is a file, or cannot be written, or one of the `folders` in it is a link.
            StorageFull: there is no room.
        """
        try:
            with as_bad_input("out", self.url()), self.naming():
                require(not self.is_file(), "out", self.url(), "is a file; give a folder")
                for folder in folders:
                    self._check_folder(folder)
                if self.local:
                    try_folder(Path(self._root))
                else:
                    probe = f".probe-{uuid.uuid4().hex}"
                    self.write(probe, b"")
                    self.remove(probe)
        except (FileNotFoundError, FileExistsError) as error:
            fix = f"cannot be written ({error}); give a folder where files can be made"
            raise UsageError("out", self.url(), fix) from error


def _temporary(relative: str) -> str:
    return f".{relative.replace('/', '+')}.{uuid.uuid4().hex[:8]}{TEMPORARY}"
