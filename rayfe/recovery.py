"""Making a trajectory's files consistent after a crash, or after damage to a disk (`Store.recover`)."""

from __future__ import annotations

import logging

from rayfe.files import CorruptFile, Files
from rayfe.layout import carry_path, read_checked, read_table, readings_path, steps_path, with_row
from rayfe.records import ReadingRecord, StepRecord
from rayfe.tables import Record, encode

log = logging.getLogger(__name__)


def recover(files: Files, trajectory: str) -> list[StepRecord]:
    """Rows from which the trajectory can go on. Damage is set aside and logged, never overwritten."""
    _sweep(files, trajectory)
    rows = _readable(files, steps_path(trajectory), StepRecord)
    end = _usable_end(files, rows)
    if end < len(rows):
        log.warning("%s: later weights are damaged or gone; keeping %d of %d rows", trajectory, end, len(rows))
        files.write(steps_path(trajectory), encode(rows[:end], StepRecord))
    readings = _readable(files, readings_path(trajectory), ReadingRecord)
    kept = with_row(readings, rows[:end])
    if len(kept) < len(readings):
        files.write(readings_path(trajectory), encode(kept, ReadingRecord))
    return rows[:end]


def _usable_end(files: Files, rows: list[StepRecord]) -> int:
    """Number of rows before the first accepted one that is lost; rejected attempts before it lead to it and stay."""
    end = len(rows)
    for index in reversed([index for index, row in enumerate(rows) if row.accepted]):
        row = rows[index]
        # both are looked at: a damaged file must be set aside before the repeated step writes it anew
        state, carry = _intact(files, row.state, row.state_sha256), _intact(files, carry_path(row), row.carry_sha256)
        if state and carry:
            break
        end = index
    return end


def _intact(files: Files, path: str | None, sha256: str | None) -> bool:
    """Whether a weight file is as written; True also where the row has none."""
    if path is None or sha256 is None:
        return True
    try:
        read_checked(files, path, sha256)
    except FileNotFoundError:
        return False
    except CorruptFile as error:
        log.warning("%s; set aside as %s", error, files.set_aside(path))
        return False
    return True


def _readable(files: Files, path: str, record_class: type[Record]) -> list[Record]:
    try:
        return read_table(files, path, record_class)
    except CorruptFile as error:
        log.warning("%s; set aside as %s, starting it anew", error, files.set_aside(path))
        return []


def _sweep(files: Files, trajectory: str) -> None:
    """Remove temporary files of a process that was killed while it wrote."""
    table = f".{trajectory}.parquet."
    prefixes = {"steps": table, "readings": table, f"states/{trajectory}": ".", f"carry/{trajectory}": "."}
    for folder, prefix in prefixes.items():
        for name in files.names(folder):
            if name.startswith(prefix) and name.endswith(".tmp"):
                files.remove(f"{folder}/{name}")
