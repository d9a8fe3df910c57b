"""Where a run is: a folder of any fsspec filesystem, and what is said of it where storage fails, or a link leads elsewhere."""

from __future__ import annotations

import contextlib
import functools
import os
import posixpath
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from rayfe.config import require
from rayfe.config.places import location_of
from rayfe.exceptions import CorruptFile, StorageError, UsageError
from rayfe.storage.errors import naming
from rayfe.storage.local import check_no_link, through_a_link

WITHOUT_LINKS = frozenset({"memory", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci"})
"""Protocols of storage that knows no links."""
TRIES = 2
"""Times that s3fs asks, as it must where an answer breaks off. Each is five of botocore, of 15 s where the server is silent; its usual
five times five would be 31 minutes."""

Named = TypeVar("Named", bound="Place")
P = ParamSpec("P")
Result = TypeVar("Result")


def named_errors(method: Callable[Concatenate[Named, str, P], Result]) -> Callable[Concatenate[Named, str, P], Result]:
    """A method that names the file and the fix in whatever error comes of storage."""

    @functools.wraps(method)
    def named(self: Named, relative: str, *arguments: P.args, **options: P.kwargs) -> Result:
        with self.naming(relative):
            return method(self, relative, *arguments, **options)

    return named


class Place:
    """A location, and the paths below it, posix paths relative to it."""

    def __init__(self, location: str | Path) -> None:
        try:
            # no listings cache: other processes write here too, and s3fs would answer from memory
            self._fs, self._root = url_to_fs(location_of(os.fspath(location)), use_listings_cache=False)
        except UsageError as error:
            raise StorageError(str(location), error.fix) from error
        except Exception as error:  # each filesystem has a constructor of its own
            raise StorageError(str(location), f"cannot be opened ({error}); give a local path or an fsspec URI") from error
        self.local = isinstance(self._fs, LocalFileSystem)
        if "s3" in self._fs.protocol:
            self._fs.retries = TRIES

    @contextlib.contextmanager
    def naming(self, relative: str = "") -> Iterator[None]:
        """Raises what the class says in place of errors of the system or of a client's own kinds."""
        try:
            with naming(self.url(relative), kinds=OSError if self.local else Exception):
                yield
        except NotADirectoryError as error:
            if os.path.isfile(self._root):
                raise FileNotFoundError(f"{self.url(relative)}: {self._root} is a file, not a folder") from error
            path = Path(self._path(relative))
            file = next((folder for folder in path.parents if folder.is_file()), path)
            raise CorruptFile(str(file), "is a file where a folder must be; remove it") from error

    def url(self, relative: str = "") -> str:
        """Absolute path of a file (local) or its URI, for people to read."""
        path = self._path(relative) if relative else self._root
        return path if self.local else self._fs.unstrip_protocol(path)

    def _path(self, relative: str) -> str:
        return f"{self._root.rstrip('/')}/{relative}"

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

    def is_link(self, relative: str) -> bool:
        """Whether a file of this machine is a link."""
        return self.local and os.path.islink(self._path(relative))

    def links(self, folders: Sequence[str]) -> list[tuple[str, str]]:
        """Those of these folders that are links or files, so that nothing can be written there, and what is said of them."""
        found: dict[str, str] = {}
        for folder in folders:
            try:
                if posixpath.dirname(folder) not in found:
                    self._check_folder(folder)
            except UsageError as error:
                found[folder] = error.fix
        return list(found.items())

    def _check_folder(self, folder: str) -> None:
        """Raises UsageError if a folder of a run is a link, or a file."""
        self._own(f"{folder}/any")
        path = self._path(folder)
        fix = f"{self.url(folder)} is a file where a folder must be; remove it"
        require(not self.local or os.path.isdir(path) or not os.path.lexists(path), "out", self.url(), fix)

    def is_file(self) -> bool:
        """Whether the location is a file. `isfile` of a client says no where its server is away."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return bool(self._fs.info(self._root)["type"] == "file")
        return False
