"""run.json, its copy, and the run's fingerprint: of the three, any one says what the run is, or whether another saying is right."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any

from rayfe.exceptions import CorruptFile
from rayfe.records.json_text import parsed
from rayfe.records.run_json import RunJson
from rayfe.storage.files import Files
from rayfe.storage.layout import CONFIG, FINGERPRINT, MISSING, MOST_OF_TEXT, copy_path

log = logging.getLogger(__name__)


def read_config(files: Files) -> dict[str, Any]:
    """run.json: what its copy says, which has a checksum, or the file itself where there is no whole copy.

    Raises:
        FileNotFoundError: there is no run here.
        CorruptFile: neither can be read.
    """
    copied = _copy(files)
    if copied is not None:
        return _parsed(files, copied)
    return _parsed(files, _text(files))


def write_config(files: Files, config: dict[str, Any], fingerprint: str | None) -> None:
    """Write run.json, its copy and, if there is one, the fingerprint; a run.json that is damaged is set aside."""
    if (fault := config_fault(files)) is not None:
        aside = "" if fault == MISSING else f"; set aside as {files.set_aside(CONFIG)}"
        log.warning("%s: %s%s; written again", files.url(CONFIG), fault, aside)
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
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
        text = _text(files)
        _parsed(files, text)
    except FileNotFoundError:
        return None if copied is None else MISSING
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


def _text(files: Files) -> str:
    try:
        return files.read(CONFIG, MOST_OF_TEXT).decode()
    except FileNotFoundError:
        raise no_run(files) from None
    except UnicodeDecodeError as error:
        raise CorruptFile(files.url(CONFIG), f"is not JSON ({error})") from error


def _copy(files: Files) -> str | None:
    """The text of run.json by its copy; None if that is missing or damaged."""
    try:
        stored = parsed(files.read(copy_path(CONFIG), MOST_OF_TEXT), dict[str, str])
        return stored["text"] if stored["sha256"] == _sha256(stored["text"]) else None
    except (FileNotFoundError, CorruptFile, ValueError, KeyError):
        return None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _parsed(files: Files, text: str) -> dict[str, Any]:
    try:
        return parsed(text, RunJson)
    except ValueError as error:
        raise CorruptFile(files.url(CONFIG), str(error)) from error
