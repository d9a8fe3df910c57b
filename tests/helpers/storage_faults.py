"""Places where storage fails: each makes one in a folder that has a small run in `run`, and returns it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pandas as pd
import pytest

OVERRIDES = 0b110
"""Capabilities by which the superuser passes permissions: to read and write any file, and to look into any folder."""
LINUX_CAPABILITY_VERSION_3 = 0x20080522


@contextlib.contextmanager
def as_anybody() -> Iterator[None]:
    """Permissions hold, also for the superuser."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, before = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, before) == 0
    without = (ctypes.c_uint32 * 6)(before[0] & ~OVERRIDES, *before[1:])
    assert libc.capset(header, without) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0


def _closed(path: Path) -> None:
    path.chmod(0)


def closed_folder(folder: Path) -> str:
    _closed(folder / "run")
    return str(folder / "run")


def closed_parent(folder: Path) -> str:
    (folder / "parent").mkdir()
    (folder / "run").rename(folder / "parent" / "run")
    _closed(folder / "parent")
    return str(folder / "parent" / "run")


def closed_rows(folder: Path) -> str:
    for path in (folder / "run" / "steps").iterdir():
        _closed(path)
    return str(folder / "run")


def text_file(folder: Path) -> str:
    (folder / "notes.txt").write_text("hello")
    return str(folder / "notes.txt")


def photographs(folder: Path) -> str:
    (folder / "photographs").mkdir()
    (folder / "photographs" / "a.jpg").write_bytes(b"\xff\xd8\xff")
    return str(folder / "photographs")


def foreign_table(folder: Path) -> str:
    shutil.rmtree(folder / "run" / "copies" / "steps")
    for path in (folder / "run" / "steps").iterdir():
        pd.DataFrame({"price": [1, 2]}).to_parquet(path)
    return str(folder / "run")


def file_for_folder(folder: Path) -> str:
    shutil.rmtree(folder / "run" / "steps")
    (folder / "run" / "steps").write_text("")
    return str(folder / "run")


def folder_for_file(folder: Path) -> str:
    for path in (folder / "run" / "run.json", folder / "run" / "copies" / "run.json"):
        path.unlink()
        path.mkdir()
    return str(folder / "run")


def no_keys(folder: Path) -> str:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ.pop(name, None)
    return "s3://bucket/run"


def dead_server(folder: Path) -> str:
    with socket.socket() as listener:  # a port where nobody listens
        listener.bind(("127.0.0.1", 0))
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{listener.getsockname()[1]}"
    return "s3://bucket/run"


FAULTS: Mapping[str, tuple[Callable[[Path], str], str]] = {
    "closed folder": (closed_folder, "run: permission denied; ask its owner"),
    "closed parent": (closed_parent, "parent: permission denied; ask its owner"),
    "closed rows": (closed_rows, ".parquet: permission denied; ask its owner"),
    "text file": (text_file, "notes.txt: it is a file; give a run's folder"),
    "photographs": (photographs, "photographs: it has no run.json"),
    "foreign table": (foreign_table, ".parquet: not a table of StepRecord"),
    "file for a folder": (file_for_folder, "steps: is a file where a folder must be"),
    "folder for a file": (folder_for_file, "run.json: is no regular file"),
    "one slash": (lambda folder: "s3:/bucket/run", "s3:/bucket/run: is no URI; write s3://bucket/run"),
    "no user": (lambda folder: "~no-such-user/run", "~no-such-user/run: there is no such user here"),
    "unknown protocol": (lambda folder: "xyz://bucket/run", "xyz://bucket/run: cannot be opened (Protocol not known: xyz)"),
    "no keys": (no_keys, "access is denied (Unable to locate credentials); set credentials"),
    "dead server": (dead_server, "cannot be reached (Could not connect to the endpoint URL"),
}
"""What makes each, and what the line must say."""


@contextlib.contextmanager
def fault(name: str, folder: Path) -> Iterator[str]:
    """The place of a fault in `folder`, which holds a run in `run`; permissions hold meanwhile."""
    environment = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
        "AWS_CONFIG_FILE": str(folder / "none"),
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    }
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in environment.items():
            patch.setenv(variable, value)
        make, _ = FAULTS[name]
        if name in ("no keys", "dead server"):
            s3fs = pytest.importorskip("s3fs", reason="no S3 client: pip install s3fs")
            s3fs.S3FileSystem.clear_instance_cache()
        place = make(folder)
        try:
            with as_anybody():
                yield place
        finally:
            for path in (folder / "run", folder / "parent"):
                if path.exists():
                    path.chmod(0o755)
