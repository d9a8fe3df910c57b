"""Where things are in a run directory, and reading them with a check; used by `store` and `recovery` only.

run.json                                the configuration
failed.json                             why trajectories failed for the last driver; missing where none ever did
steps/<trajectory>.parquet              one row per attempted step; a step exists exactly when its row is here
readings/<trajectory>.parquet           one row per replica, split and recorded update
  <trajectory>.part0001.parquet ...     their next rows, where there are more than one file holds (`table`)
certificates/<trajectory>.parquet       one row per certified model and method (`trajectory.certification`)
universal.parquet                       one row per stored encoder and new decoder (`trajectory.universal`)
codec/<trajectory>-<step>.json, .z, .x  what a model's codes cost in bits, and streams that it coded (`coded`)
states/<trajectory>/<step>.safetensors  weights of an accepted step
start.safetensors                       what a run starts from, where that is a stored model or a state dict (`inputs`, as the next two)
data/<name>.npz                         examples that a run was given as arrays, from Python
couplings/<split>.parquet               pairs of source and target examples, of transfers by displacement
carry/<trajectory>/<step>.safetensors   what the next step needs besides the weights; of the last two steps only
copies/<path>                           run.json, tables and certificates once more, for when they are damaged
copies/states/<trajectory>.safetensors  the last step's weights once more, and copies/carry/ what they leave for the next step
copies/fingerprint                      the run's eight letters (`manifest.digest_of`), for when run.json and its copy are damaged
damaged/<folder>/<n>-<name>             files that could not be read
figures/*.png, report.html
.lock, .lease/<n>                       who works on the run: local folders, object stores (`lease`)
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Sequence

from rayfe.config import require
from rayfe.exceptions import CorruptFile
from rayfe.records import ReadingRecord, StepRecord, Weights
from rayfe.records.possible import fault_of
from rayfe.records.weights import arrays_in
from rayfe.storage.files import Files
from rayfe.storage.parquet import Record, decode

CONFIG, FINGERPRINT, FAILED, START = "run.json", "copies/fingerprint", "failed.json", "start.safetensors"
UNIVERSAL = "universal.parquet"
STEPS, READINGS, CERTIFICATES, STATES, CARRY, COPIES = "steps", "readings", "certificates", "states", "carry", "copies"
DATA, COUPLINGS, CODEC = "data", "couplings", "codec"
COPIED = tuple(f"{COPIES}/{folder}" for folder in (STEPS, READINGS, CERTIFICATES, STATES, CARRY))
FOLDERS = (
    STEPS,
    READINGS,
    CERTIFICATES,
    STATES,
    CARRY,
    COPIES,
    *COPIED,
    DATA,
    COUPLINGS,
    CODEC,
    "figures",
    "damaged",
    ".lease",
)
"""Where a run is written; a folder is before those in it."""
MOST_OF_TEXT, MOST_OF_TABLE = 2**24, 2**28
"""Bytes of run.json and of a file of a table that are read at most."""
MISSING = "is missing"
"""What is said of a file that should be there."""
NAME = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,199}")
TRAJECTORY = re.compile(r"lam[0-9.e+-]+-gamma[0-9.e+-]+-seed[0-9]+")
"""Names of trajectories (`config.run.Start`). A copy that a sync program or a file manager made has none."""
FILE_OF_TABLE = re.compile(r"(?P<trajectory>[^.].*?)(\.part(?P<number>\d{4,}))?\.parquet")


def named(trajectory: str) -> str:
    """The name, if it can be that of files. Raises UsageError: it leads elsewhere."""
    sound = NAME.fullmatch(trajectory) is not None
    require(sound, "trajectory", trajectory, "cannot be the name of a trajectory; status shows those of a run")
    return trajectory


def table_path(folder: str, trajectory: str, number: int = 0) -> str:
    """The file of a table with this number, from 0. By name the files of a trajectory are in order, with no other's between them."""
    return f"{folder}/{named(trajectory)}{f'.part{number:04d}' if number else ''}.parquet"


def tables_in(names: Sequence[str]) -> dict[str, list[int]]:
    """Numbers of the files in a folder of tables, by trajectory, both in order."""
    return _tables_in(tuple(names))


def strangers_in(names: Sequence[str]) -> list[str]:
    """Names of files in a folder of tables that read as tables, but of no trajectory."""
    return [
        name for name in names if (match := FILE_OF_TABLE.fullmatch(name)) and not TRAJECTORY.fullmatch(match["trajectory"])
    ]


@functools.lru_cache(maxsize=4)
def _tables_in(names: tuple[str, ...]) -> dict[str, list[int]]:
    """Kept: each trajectory of a run asks it of the same names."""
    found: dict[str, list[int]] = {}
    for name in sorted(names):
        if match := FILE_OF_TABLE.fullmatch(name):
            found.setdefault(match["trajectory"], []).append(int(match["number"] or 0))
    return {trajectory: sorted(numbers) for trajectory, numbers in found.items()}


def state_path(record: StepRecord) -> str:
    return f"{STATES}/{named(record.trajectory)}/{record.step}.safetensors"


def carry_path(record: StepRecord) -> str:
    return f"{CARRY}/{named(record.trajectory)}/{record.step}.safetensors"


def coupling_path(split: str) -> str:
    return f"{COUPLINGS}/{split}.parquet"


def data_path(name: str) -> str:
    return f"{DATA}/{named(name)}.npz"


def copy_path(path: str) -> str:
    """Where a file is kept once more."""
    return f"{COPIES}/{path}"


def step_of(name: str) -> int | None:
    """The step of a weight file; None if that is no name of one."""
    match = re.fullmatch(r"([0-9]{1,9})\.safetensors", name)
    return int(match[1]) if match else None


def weights_copy_path(folder: str, trajectory: str) -> str:
    """Where the last step's file of `states` or `carry` is kept once more; the hash in its row says of which step it is."""
    return copy_path(f"{folder}/{named(trajectory)}.safetensors")


def key(record: StepRecord | ReadingRecord) -> tuple[int, int]:
    """What orders the rows of a trajectory: step, then attempt."""
    return record.step, record.attempt


def with_row(readings: list[ReadingRecord], rows: Sequence[StepRecord]) -> list[ReadingRecord]:
    """The readings of attempts that have a row: those of a step that was cut short do not exist."""
    keys = {key(row) for row in rows}
    return [reading for reading in readings if key(reading) in keys]


def read_table(files: Files, path: str, record_class: type[Record], trajectory: str) -> list[Record]:
    """Records of a trajectory's Parquet file, none if it is missing; CorruptFile if it cannot be read."""
    try:
        data = files.read(path, MOST_OF_TABLE)
    except FileNotFoundError:
        return []
    return records_in(files, path, data, record_class, trajectory)


def records_in(files: Files, path: str, data: bytes, record_class: type[Record], trajectory: str) -> list[Record]:
    """Records of a trajectory, from the bytes of a file. Raises CorruptFile: they are not such, or of another trajectory."""
    try:
        records = decode(data, record_class)
    except ValueError as error:
        raise CorruptFile(files.url(path), str(error)) from error
    for record in records:
        if getattr(record, "trajectory", None) != trajectory:
            raise CorruptFile(files.url(path), "holds rows of another trajectory")
        if (fault := fault_of(record)) is not None:  # type: ignore[arg-type]
            raise CorruptFile(files.url(path), f"has a row that no run writes: {fault}")
        if isinstance(record, StepRecord) and record.state not in (None, state_path(record)):
            raise CorruptFile(files.url(path), f"step {record.step} names another file of weights than its own")
    return records


def arrays_of(files: Files, path: str, sha256: str | None = None) -> Weights:
    """The arrays of a weight file. Raises as `read_checked`; CorruptFile also if it is no weight file."""
    data = files.read(path) if sha256 is None else read_checked(files, path, sha256)
    try:
        return arrays_in(data)
    except ValueError as error:
        raise CorruptFile(files.url(path), str(error)) from error


def read_checked(files: Files, path: str, sha256: str) -> bytes:
    """Bytes of a weight file; FileNotFoundError if it is missing, CorruptFile if it is not the one of its row."""
    try:
        data = files.read(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{files.url(path)}: these weights are not stored any more (--keep-states)") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        what = "is a link to another file" if files.is_link(path) else f"its SHA-256 is not the {sha256} of its row in steps/"
        raise CorruptFile(files.url(path), what)
    return data


def fault_in(read: Callable[..., object], *arguments: object) -> str | None:
    """What is wrong with the file that `read` reads by these arguments; None if it is as it was written."""
    try:
        read(*arguments)
    except FileNotFoundError:
        return MISSING
    except CorruptFile as error:
        return error.fault
    return None
