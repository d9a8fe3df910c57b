"""Single files of this machine: regular ones are read whole, within a limit; they are replaced whole, and through no link."""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import stat
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from rayfe.exceptions import CorruptFile, StorageError, UsageError
from rayfe.signals import released
from rayfe.storage.errors import naming

NO_FILE = frozenset({errno.ENXIO, errno.ELOOP})
"""What opening answers for a socket, and a link to itself."""
TEMPORARY = ".tmp"

Result = TypeVar("Result")


def read_file(path: str, limit: int) -> bytes:
    """The whole file; links are followed.

    Raises:
        FileNotFoundError: there is none.
        CorruptFile: it is no regular file, or has more than `limit` bytes. A device or a pipe is not waited for.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in NO_FILE:
            raise CorruptFile(path, f"is no regular file ({os.strerror(error.errno or 0)})") from error
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise CorruptFile(path, "is no regular file")
        if found.st_size > limit:
            raise CorruptFile(path, f"has {found.st_size} bytes, more than the {limit} that are read")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(found.st_size)
    finally:
        os.close(descriptor)


def check_no_link(root: str, relative: str) -> None:
    """Raises UsageError if a folder on the way from `root` to the file `relative` is a link. The root itself may be one."""
    folder = posixpath.dirname(relative)
    if os.path.realpath(os.path.join(root, folder)) != os.path.join(os.path.realpath(root), folder).rstrip("/"):
        raise through_a_link(root, os.path.join(root, folder))


def through_a_link(root: str, path: str) -> UsageError:
    """What is said where a run's files would be changed through a link."""
    return UsageError("out", root, f"{path} is a link, and nothing is changed through one; remove it, or use another ``out``")


def open_to_lock(root: str, name: str) -> int:
    """Descriptor of the file, made if missing. UsageError: it is a link, has another name elsewhere, or is no regular file."""
    path = os.path.join(root, name)
    fix = f"{path} is no file that can be locked: it is a link, a folder or a device; remove it, or use another ``out``"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (*NO_FILE, errno.EISDIR):
            raise UsageError("out", root, fix) from error
        raise
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
        return descriptor
    os.close(descriptor)
    raise UsageError("out", root, fix)


def replace_file(path: str, data: bytes, temporary: str, *, durable: bool = True) -> None:
    """Write a temporary file and rename it to `path`; `durable`: it is on the disk before it gets its name, and so is the name."""
    for last in (False, True):
        try:
            _write_new(temporary, data, durable=durable)
            with_folder(path, lambda: os.replace(temporary, path))
            break
        except FileNotFoundError:  # taken for what a killed process left, and removed: once more
            if last:
                raise
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
    if durable:
        _sync_folder(os.path.dirname(path))


def replace_together(files: Mapping[Path, bytes]) -> None:
    """Replace files of this machine, whole and in this order; none is if one cannot be written.

    Links are followed: the caller's user has named them. A device or a pipe is written to.

    Raises:
        StorageError: one of them cannot be written, or its folder is not there.
    """
    temporaries: dict[Path, Path] = {}

    def remove() -> None:
        for temporary in temporaries.values():
            with contextlib.suppress(OSError):
                temporary.unlink()

    with released(remove):
        for path, data in files.items():
            with naming(str(path)):
                _check_folder_of(path)
                if path.exists() and not path.is_file():
                    path.write_bytes(data)
                    continue
                target = Path(os.path.realpath(path))
                temporaries[target] = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}{TEMPORARY}")
                _write_new(str(temporaries[target]), data, durable=True)
        for target, temporary in temporaries.items():
            with naming(str(target)):
                os.replace(temporary, target)
    for folder in {target.parent for target in temporaries}:
        _sync_folder(str(folder))


def _check_folder_of(path: Path) -> None:
    """A folder that is mistyped is not made. Raises StorageError."""
    if path.is_dir():
        raise StorageError(str(path), "cannot be written: it is a folder; give a file")
    if not path.parent.is_dir():
        raise StorageError(
            str(path), f"cannot be written: there is no folder {path.parent}; give a file in a folder that exists"
        )


def create_file(path: str, data: bytes) -> bool:
    """Write a file that is not there yet; False if it is."""
    try:
        with with_folder(path, lambda: open(path, "xb")) as file:
            file.write(data)
    except FileExistsError:
        return False
    return True


def with_folder(path: str, make: Callable[[], Result]) -> Result:
    """What `make` does at `path`, whose folder is made only where it is missing: to look each time is a call more."""
    try:
        return make()
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return make()


def try_folder(folder: Path) -> None:
    """Make `folder` and a file in it for a moment; OSError if that cannot be done. Permission bits alone do not tell."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    made: list[Path] = []
    try:
        for path in reversed(missing):
            path.mkdir()
            made.append(path)
        probe = folder / f".probe-{uuid.uuid4().hex}"
        probe.touch(exist_ok=False)
        probe.unlink(missing_ok=True)
    finally:
        for path in reversed(made):
            with contextlib.suppress(OSError):  # another process may use it by now
                path.rmdir()


def _write_new(path: str, data: bytes, *, durable: bool) -> None:
    with with_folder(path, lambda: open(path, "xb")) as file:
        file.write(data)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network filesystems cannot sync a folder
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
