"""Where things are in a run directory, and reading them with a check; used by `store` and `recovery` only.

run.json                                the configuration
failed.json                             why trajectories failed for the last driver; missing where none ever did
steps/<trajectory>.parquet              one row per attempted step; a step exists exactly when its row is here
readings/<trajectory>.parquet           one row per replica, split and recorded update
  <trajectory>.part0001.parquet ...     their next rows, where there are more than one file holds (`table`)
certificates/<trajectory>.parquet       one row per certified model and method (`trajectory.certification`)
states/<trajectory>/<step>.safetensors  weights of an accepted step
start.safetensors                       what a run starts from, where that is a stored model or a state dict
data/<name>.npz                         examples that a run was given as arrays, from Python
couplings/<split>.parquet               pairs of source and target examples, of transfers by displacement
carry/<trajectory>/<step>.safetensors   what the next step needs besides the weights; of the last two steps only
previous/<folder>/<name>.parquet        a file of a table as it was before the last write, for when that is damaged
damaged/<folder>/<n>-<name>             files that could not be read
figures/*.png, report.html
.lock, .lease/<n>                       who works on the run: local folders, object stores (`lease`)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from rayfe.exceptions import CorruptFile
from rayfe.records import ReadingRecord, StepRecord
from rayfe.storage.files import Files
from rayfe.storage.parquet import Record, decode

CONFIG, FAILED = "run.json", "failed.json"
START = "start.safetensors"
STEPS, READINGS, CERTIFICATES = "steps", "readings", "certificates"
FILE_OF_TABLE = re.compile(r"(?P<trajectory>[^.].*?)(\.part(?P<number>\d{4,}))?\.parquet")


def table_path(folder: str, trajectory: str, number: int = 0) -> str:
    """The file of a table with this number, from 0. By name the files of a trajectory are in order, with no other's between them."""
    return f"{folder}/{trajectory}{f'.part{number:04d}' if number else ''}.parquet"


def tables_in(names: Sequence[str]) -> dict[str, list[int]]:
    """Numbers of the files in a folder of tables, by trajectory, both in order."""
    found: dict[str, list[int]] = {}
    for name in sorted(names):
        if match := FILE_OF_TABLE.fullmatch(name):
            found.setdefault(match["trajectory"], []).append(int(match["number"] or 0))
    return {trajectory: sorted(numbers) for trajectory, numbers in found.items()}


def certificates_path(trajectory: str) -> str:
    return table_path(CERTIFICATES, trajectory)


def state_path(record: StepRecord) -> str:
    return f"states/{record.trajectory}/{record.step}.safetensors"


def carry_path(record: StepRecord) -> str:
    return f"carry/{record.trajectory}/{record.step}.safetensors"


def coupling_path(split: str) -> str:
    return f"couplings/{split}.parquet"


def data_path(name: str) -> str:
    return f"data/{name}.npz"


def previous_path(path: str) -> str:
    """Where a file of a table is kept as it was before the last commit."""
    return f"previous/{path}"


def key(record: StepRecord | ReadingRecord) -> tuple[int, int]:
    """What orders the rows of a trajectory: step, then attempt."""
    return record.step, record.attempt


def with_row(readings: list[ReadingRecord], rows: Sequence[StepRecord]) -> list[ReadingRecord]:
    """The readings of attempts that have a row: those of a step that was cut short do not exist."""
    keys = {key(row) for row in rows}
    return [reading for reading in readings if key(reading) in keys]


def read_table(files: Files, path: str, record_class: type[Record]) -> list[Record]:
    """Records of a Parquet file, none if it is missing; CorruptFile if it cannot be read."""
    try:
        data = files.read(path)
    except FileNotFoundError:
        return []
    try:
        return decode(data, record_class)
    except ValueError as error:
        raise CorruptFile(files.url(path), str(error)) from error


def read_checked(files: Files, path: str, sha256: str) -> bytes:
    """Bytes of a weight file; FileNotFoundError if it is missing, CorruptFile if it is not the one of its row."""
    try:
        data = files.read(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{files.url(path)}: these weights are not stored any more (--keep-states)") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise CorruptFile(files.url(path), f"its SHA-256 is not the {sha256} of its row in steps/")
    return data
