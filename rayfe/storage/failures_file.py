"""failed.json: why trajectories failed for the last driver of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping

from rayfe.exceptions import CorruptFile
from rayfe.records.json_text import parsed
from rayfe.storage.files import Files
from rayfe.storage.layout import FAILED, MOST_OF_TEXT


def write_failures(files: Files, failed: Mapping[str, str]) -> None:
    """Store why trajectories failed, a line each, in the place of what was stored before."""
    if failed or files.exists(FAILED):
        files.write(FAILED, (json.dumps(dict(failed), indent=2) + "\n").encode())


def read_failures(files: Files) -> dict[str, str]:
    """What `write_failures` stored; nothing where it did not.

    Raises:
        CorruptFile: it cannot be read.
    """
    try:
        return parsed(files.read(FAILED, MOST_OF_TEXT), dict[str, str])
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise CorruptFile(files.url(FAILED), str(error)) from error
