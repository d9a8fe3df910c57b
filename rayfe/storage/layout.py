"""Where things are in a run directory, and reading them with a check; used by `store` and `recovery` only.

run.json                                the configuration
steps/<trajectory>.parquet              one row per attempted step; a step exists exactly when its row is here
readings/<trajectory>.parquet           one row per replica, split and recorded update
certificates/<trajectory>.parquet       one row per certified model and method (`trajectory.certification`)
states/<trajectory>/<step>.safetensors  weights of an accepted step
data/<name>.npz                         examples that a run was given as arrays, from Python
couplings/<split>.parquet               pairs of source and target examples, of transfers by displacement
carry/<trajectory>/<step>.safetensors   what the next step needs besides the weights; of the last two steps only
.previous-* in steps, readings and certificates: the same tables before the last write, for when one is damaged
figures/*.png, report.html
.lock, .lease/<n>                       who works on the run: local folders, object stores (`lease`)
"""

from __future__ import annotations

import hashlib
import posixpath

from rayfe.exceptions import CorruptFile
from rayfe.records import ReadingRecord, StepRecord
from rayfe.records.older import told
from rayfe.storage.files import Files
from rayfe.storage.parquet import Record, decode

CONFIG = "run.json"


def steps_path(trajectory: str) -> str:
    return f"steps/{trajectory}.parquet"


def readings_path(trajectory: str) -> str:
    return f"readings/{trajectory}.parquet"


def certificates_path(trajectory: str) -> str:
    return f"certificates/{trajectory}.parquet"


def state_path(record: StepRecord) -> str:
    return f"states/{record.trajectory}/{record.step}.safetensors"


def carry_path(record: StepRecord) -> str:
    return f"carry/{record.trajectory}/{record.step}.safetensors"


def coupling_path(split: str) -> str:
    return f"couplings/{split}.parquet"


def data_path(name: str) -> str:
    return f"data/{name}.npz"


def previous_path(path: str) -> str:
    """Where a table is kept as it was before the last commit, under a name that pandas skips."""
    folder, name = posixpath.split(path)
    return f"{folder}/.previous-{name}"


def key(record: StepRecord | ReadingRecord) -> tuple[int, int]:
    """What orders the rows of a trajectory: step, then attempt."""
    return record.step, record.attempt


def with_row(readings: list[ReadingRecord], rows: list[StepRecord]) -> list[ReadingRecord]:
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


def read_steps(files: Files, trajectory: str) -> list[StepRecord]:
    """Rows of a trajectory in order, those of older versions with what they did not store. Raises as `read_table` does."""
    return told(read_table(files, steps_path(trajectory), StepRecord))


def read_checked(files: Files, path: str, sha256: str) -> bytes:
    """Bytes of a weight file; FileNotFoundError if it is missing, CorruptFile if it is not the one of its row."""
    try:
        data = files.read(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{files.url(path)}: these weights are not stored any more (--keep-states)") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise CorruptFile(files.url(path), f"its SHA-256 is not the {sha256} of its row in steps/")
    return data
