"""Where a run is kept: what `out` says, as an absolute path or a URI."""

from __future__ import annotations

import os
import re
from pathlib import Path

from rayfe.config.checks import require

LOCAL = frozenset({"file", "local"})
STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "tos", "r2", "hf"})
"""Object stores: the first word of such a URI is a bucket."""
PROTOCOLS = LOCAL | STORES | {"memory", "hdfs", "webhdfs", "ftp", "sftp", "ssh", "smb", "http", "https", "dbfs", "root"}
"""Words that begin a URI even where its slashes are missing."""
COPIES = "runtime_resources"
"""Ray's folder of what it unpacks for jobs: `runtime_resources/working_dir_files/...`. It is emptied when they have ended."""
DURABLE = "~/rayfe-runs"
"""Where runs are kept, without `out`, of jobs that work in such a copy."""


def place_of(out: str) -> str:
    """An absolute path, or a URI whose filesystem and bucket are named.

    Raises:
        UsageError: it is neither, or a path that is lost when the job has ended.
    """
    require(out == out.strip(), "out", out, "begins or ends with a space; leave it away")
    require(out.isprintable(), "out", out, "has control characters; give a folder or a URI")
    require("::" not in out, "out", out, "has `::`, which joins filesystems in a URI; give a folder or a URI without it")
    path = location_of(out)
    if "://" in path:
        return path
    fix = "would be in the temporary copy of the working directory that Ray made for this job, and be lost; give an absolute path, "
    fix += f"a URI such as s3://bucket/run, or no ``out``: then it is kept in {DURABLE} of the node"
    require(not is_copy(Path(path).resolve()), "out", out, fix)
    return path


def location_of(place: str, field: str = "out") -> str:
    """Where a run is: an absolute path, or a URI whose filesystem and bucket are named.

    Raises:
        UsageError: the `field`; it is neither.
    """
    require(bool(place.strip()) and "\0" not in place, field, place, "is no place; give a folder or a URI")
    if "::" in place:  # filesystems that are joined, to read from
        return place
    protocol, slashes, rest = _parts(place)
    if protocol is not None:
        _check_uri(field, place, protocol, slashes, rest)
        if protocol not in LOCAL:
            return place
    return absolute_path(field, place if protocol is None else f"/{rest}")


def usual_place(name: str) -> str:
    """Where a run of this name is kept without `out`: in runs/ of the working directory, unless that is a copy made for a job."""
    return absolute_path("out", f"{DURABLE}/{name}" if is_copy(Path.cwd()) else f"runs/{name}")


def said_of(out: str) -> str:
    """What people must know of the place of a run, with fields in double backticks; empty where there is nothing."""
    if not (is_copy(Path.cwd()) and out.startswith(absolute_path("out", DURABLE))):
        return ""
    return (
        f"Without ``out`` a submitted job keeps its run in {DURABLE} of the node that it runs on. "
        "On a cluster of several nodes give a URI such as s3://bucket/run, or a folder that they share."
    )


def is_copy(path: Path) -> bool:
    """Whether a path is below what Ray unpacks for a job: its working directory, or modules."""
    parts = path.parts
    return any(one == COPIES and below.endswith("_files") for one, below in zip(parts, parts[1:], strict=False))


def absolute_path(field: str, text: str) -> str:
    """The path that a field gives, absolute on this machine, `~` and `~user` resolved.

    Raises:
        UsageError: there is no such user.
    """
    path = os.path.expanduser(text)
    require(not path.startswith("~"), field, text, f"there is no such user here; a folder of that name is ./{text}")
    return str(Path(path).absolute())


def _parts(out: str) -> tuple[str | None, int, str]:
    """The protocol that a place begins with, the number of slashes after it, and the rest; no protocol: it is a path."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):(/*)", out)
    if found is None or not (found[2].startswith("//") or found[1].lower() in PROTOCOLS):
        return None, 0, out
    return found[1], len(found[2]), out[found.end() :]


def _check_uri(field: str, out: str, protocol: str, slashes: int, rest: str) -> None:
    known = protocol.lower()
    if known in LOCAL:  # two slashes: a machine would follow
        path = f"/{rest}" if slashes > 2 else rest or "/folder"
        require(protocol == known and slashes not in (0, 2) and bool(rest), field, out, f"give the path itself, such as {path}")
        return
    start = rest or "bucket/run"
    fix = f"is no URI; write {known}://{start}, or ./{out} for a folder of that name"
    if slashes == 1:
        fix += " (a pathlib.Path keeps one slash of a URI: give it as text)"
    require(slashes >= 2, field, out, fix)
    require(protocol == known, field, out, f"protocols are written small: {known}://{start}")
    require(bool(rest), field, out, f"names no place; write {known}://bucket/run")
    require(slashes == 2 or known not in STORES, field, out, f"names no bucket; write {known}://{start}")
