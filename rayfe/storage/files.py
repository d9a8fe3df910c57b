"""Files below one folder of any fsspec filesystem: whole-file reads, atomic writes, setting aside."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import posixpath
import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from rayfe.config import require
from rayfe.exceptions import CorruptFile, StorageFull, UsageError
from rayfe.storage.local import (
    TEMPORARY,
    check_no_link,
    create_file,
    read_file,
    replace_file,
    room_for,
    through_a_link,
    try_folder,
    with_folder,
)

log = logging.getLogger(__name__)

DAMAGED = "damaged"
"""Folder of what could not be read; the folders below it are those in which the files were."""
LEFT_OVER = re.compile(rf"\..+\.[0-9a-f]{{8}}{re.escape(TEMPORARY)}|\.probe-[0-9a-f]{{32}}.*")
"""Names of what a process leaves in a run's folder when it is killed while it writes, or tries whether it can."""
STAMPED = ("name", "size", "mtime", "ino", "created", "LastModified", "ETag", "etag", "updated")
"""What filesystems say of a file's version; each has some of them."""
WITHOUT_LINKS = frozenset({"memory", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci"})
"""Protocols of storage that knows no links."""


@functools.cache
def most_bytes() -> int:
    """What a file may have to be read: half of this machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


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

    def write(self, relative: str, data: bytes, *, durable: bool = True) -> None:
        """Replace one file as a whole: a reader, or a crash at any moment, sees the old bytes or the new ones.

        What is half-written lies in the folder that all files are below, so that in the others there are whole files only.
        Without `durable` a power failure may tear it: enough for a copy.

        Raises:
            StorageFull: there is no room; the old bytes stay.
            UsageError: a folder on the way is a link.
        """
        path = self._own(relative)
        with room_for(self.url(relative)):
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

    def _own(self, relative: str) -> str:
        """The path of a file that is to be changed: no link leads there. Raises UsageError."""
        if self.local:
            check_no_link(self._root, relative)
        elif self._may_have_links:
            self._look_for_links(relative)
        return self._path(relative)

    @property
    def _may_have_links(self) -> bool:
        protocols = self._fs.protocol
        return WITHOUT_LINKS.isdisjoint((protocols,) if isinstance(protocols, str) else protocols)

    def _look_for_links(self, relative: str) -> None:
        """Raises UsageError if the file or a folder on the way is a link: such storage writes through both."""
        place = relative
        while place:
            folder = posixpath.dirname(place)
            with contextlib.suppress(FileNotFoundError):
                for entry in self._fs.ls(self._path(folder) if folder else self._root, detail=True):
                    is_link = entry.get("islink") or entry.get("type") == "link"
                    if is_link and entry["name"].rstrip("/") == self._path(place):
                        raise through_a_link(self.url(), self.url(place))
            place = folder

    def links(self, folders: Sequence[str]) -> list[tuple[str, str]]:
        """Those of these folders that are links, so that nothing can be written there, and what is said of them."""
        found = []
        for folder in folders:
            try:
                self._own(f"{folder}/any")
            except UsageError as error:
                found.append((folder, error.fix))
        return found

    def is_link(self, relative: str) -> bool:
        """Whether a file of this machine is a link."""
        return self.local and os.path.islink(self._path(relative))

    def sweep(self, trajectory: str | None = None) -> None:
        """Remove what processes that were killed left of writing, or of trying whether they could; only of a trajectory's files if
        there is one."""
        for name in self.names(""):
            if LEFT_OVER.fullmatch(name) and (trajectory is None or re.search(rf"\+{re.escape(trajectory)}[.+]", name)):
                self.remove(name)

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

    def remove(self, relative: str) -> None:
        """Remove a file, or a link to one, if it is there."""
        path = self._own(relative)
        try:
            os.unlink(path) if self.local else self._fs.rm_file(path)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            self._folder_aside(relative)

    def move(self, relative: str, to: str) -> None:
        """Give a file another name; what had that name is replaced."""
        if self.local:
            source, target = self._own(relative), self._own(to)
            with_folder(target, lambda: os.replace(source, target))
        else:
            self.write(to, self.read(relative))
            self.remove(relative)

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
            require(not self._fs.isfile(self._root), "out", self.url(), "is a file; give a folder")
            for folder in folders:
                self._own(f"{folder}/any")
            if self.local:
                with room_for(self.url()):
                    try_folder(Path(self._root))
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
    return f".{relative.replace('/', '+')}.{uuid.uuid4().hex[:8]}{TEMPORARY}"
