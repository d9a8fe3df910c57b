"""Making a trajectory's files consistent after a crash, or after damage to a disk (`Store.recover`)."""

from __future__ import annotations

import logging

from rayfe.exceptions import CorruptFile
from rayfe.records import CertificateRecord, ReadingRecord, StepRecord
from rayfe.records.older import told
from rayfe.storage.files import Files
from rayfe.storage.layout import (
    carry_path,
    certificates_path,
    previous_path,
    read_checked,
    read_table,
    readings_path,
    steps_path,
    with_row,
)
from rayfe.storage.parquet import Record, encode

log = logging.getLogger(__name__)


def recover(files: Files, trajectory: str) -> list[StepRecord]:
    """Rows from which the trajectory can go on. Damage is set aside and logged, never overwritten."""
    _sweep(files, trajectory)
    stored, _ = _readable(files, steps_path(trajectory), StepRecord)
    rows = told(stored)
    readings, damaged = _readable(files, readings_path(trajectory), ReadingRecord)
    _readable(files, certificates_path(trajectory), CertificateRecord)  # those that are lost are made again, or asked for again
    end = _usable_end(files, rows)
    if damaged and (readings or len(rows) == 1):  # only those of the last row are lost: its step comes again, and they with it
        end = min(end, max(0, len(rows) - 1))
    if end < len(rows):
        log.warning(
            "%s: what was stored after row %d is damaged or gone; keeping %d of %d rows", trajectory, end, end, len(rows)
        )
        files.write(steps_path(trajectory), encode(rows[:end], StepRecord))
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


def _readable(files: Files, path: str, record_class: type[Record]) -> tuple[list[Record], bool]:
    """Records of a table, and whether it was damaged: then they are those of before the last commit, as far as they are kept."""
    try:
        return read_table(files, path, record_class), False
    except CorruptFile as error:
        log.warning("%s; set aside as %s", error, files.set_aside(path))
    previous = previous_path(path)
    try:
        records = read_table(files, previous, record_class)
    except CorruptFile as error:
        log.warning("%s; set aside as %s", error, files.set_aside(previous))
        records = []
    files.write(path, encode(records, record_class))
    return records, True


def _sweep(files: Files, trajectory: str) -> None:
    """Remove temporary files of a process that was killed while it wrote."""
    tables = f".{trajectory}.parquet.", f"..previous-{trajectory}.parquet."
    prefixes: dict[str, tuple[str, ...]] = dict.fromkeys(("steps", "readings", "certificates"), tables)
    prefixes |= {f"states/{trajectory}": (".",), f"carry/{trajectory}": (".",)}
    for folder, starts in prefixes.items():
        for name in files.names(folder):
            if name.startswith(starts) and name.endswith(".tmp"):
                files.remove(f"{folder}/{name}")
