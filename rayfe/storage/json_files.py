"""run.json, its copy, and the run's fingerprint: of the three, any one says what the run is, or whether another saying is right.
And failed.json."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

from rayfe.exceptions import CorruptFile
from rayfe.records.json_text import parsed
from rayfe.records.run_json import RunJson
from rayfe.storage.files import Files
from rayfe.storage.layout import CONFIG, FAILED, FINGERPRINT, MISSING, MOST_OF_TEXT, copy_path

log = logging.getLogger(__name__)


def read_config(files: Files) -> dict[str, Any]:
    """run.json: what its copy says, which has a checksum, or the file itself where there is no whole copy.

    Raises:
        FileNotFoundError: there is no run here.
        CorruptFile: neither can be read.
    """
    copied = _copy(files)
    return _parsed(files, CONFIG, _config_text(files) if copied is None else copied, RunJson)


def write_config(files: Files, config: dict[str, Any], fingerprint: str | None) -> None:
    """Write run.json, its copy and, if there is one, the fingerprint; a run.json that is damaged is set aside.

    Raises:
        ValueError: a number is not finite, and could not be read again.
    """
    text = json.dumps(config, indent=2, sort_keys=True, allow_nan=False) + "\n"
    if (fault := config_fault(files)) is not None:
        aside = "" if fault == MISSING else f"; set aside as {files.set_aside(CONFIG)}"
        log.warning("%s: %s%s; written again", files.url(CONFIG), fault, aside)
    if read_fingerprint(files) is not None and (fault := copy_fault(files)) is not None:
        log.warning("%s: %s; written again", files.url(copy_path(CONFIG)), fault)
    files.write(CONFIG, text.encode())
    files.write(copy_path(CONFIG), json.dumps({"sha256": _sha256(text), "text": text}).encode())
    if fingerprint is not None:
        files.write(FINGERPRINT, fingerprint.encode())


def read_fingerprint(files: Files) -> str | None:
    """What `write_config` was given; None if that is not there."""
    try:
        return files.read(FINGERPRINT, MOST_OF_TEXT).decode(errors="replace")
    except (FileNotFoundError, CorruptFile):
        return None


def config_fault(files: Files) -> str | None:
    """What is wrong with run.json; None if it is whole, or there is no run."""
    copied = _copy(files)
    try:
        text = _config_text(files)
        _parsed(files, CONFIG, text, RunJson)
    except FileNotFoundError:
        return None if copied is None and read_fingerprint(files) is None else MISSING
    except CorruptFile as error:
        return error.fault
    return None if copied in (None, text) else f"is not what its copy in {copy_path(CONFIG)} is"


def copy_fault(files: Files) -> str | None:
    """What is wrong with the copy of run.json; None if it is whole."""
    return None if _copy(files) is not None else "is missing or damaged"


def no_run(files: Files) -> FileNotFoundError:
    """What is raised where there is no run."""
    lacks = "it is a file; give a run's folder" if files.is_file() else f"it has no {CONFIG}"
    return FileNotFoundError(f"no run at {files.url()}: {lacks}")


def write_failures(files: Files, failed: Mapping[str, str]) -> None:
    """Store why trajectories failed, a line each, in the place of what was stored before."""
    if failed or files.exists(FAILED):
        files.write(FAILED, (json.dumps(dict(failed), indent=2) + "\n").encode())


def read_failures(files: Files) -> dict[str, str]:
    """What `write_failures` stored; nothing where it did not. Raises CorruptFile: it cannot be read."""
    try:
        return _parsed(files, FAILED, _text(files, FAILED), dict[str, str])
    except FileNotFoundError:
        return {}


def _config_text(files: Files) -> str:
    try:
        return _text(files, CONFIG)
    except FileNotFoundError:
        raise no_run(files) from None


def _text(files: Files, path: str) -> str:
    try:
        return files.read(path, MOST_OF_TEXT).decode()
    except UnicodeDecodeError as error:
        raise CorruptFile(files.url(path), f"is not JSON ({error})") from error


def _copy(files: Files) -> str | None:
    """The text of run.json by its copy; None if that is missing or damaged."""
    try:
        stored = parsed(files.read(copy_path(CONFIG), MOST_OF_TEXT), dict[str, str])
        return stored["text"] if stored["sha256"] == _sha256(stored["text"]) else None
    except (FileNotFoundError, CorruptFile, ValueError, KeyError):
        return None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _parsed(files: Files, path: str, text: str, kind: Any) -> dict[str, Any]:
    try:
        return parsed(text, kind)
    except ValueError as error:
        raise CorruptFile(files.url(path), str(error)) from error
