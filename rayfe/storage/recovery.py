"""Making a trajectory's files consistent after a crash, or after damage to a disk (`Store.recover`)."""

from __future__ import annotations

import itertools
import logging
import re

from rayfe.exceptions import CorruptFile
from rayfe.records import CertificateRecord, ReadingRecord, StepRecord
from rayfe.records.older import told
from rayfe.storage.files import DAMAGED, TEMPORARY, Files
from rayfe.storage.layout import (
    CERTIFICATES,
    READINGS,
    STEPS,
    carry_path,
    certificates_path,
    key,
    previous_path,
    read_checked,
    read_table,
    table_path,
    with_row,
)
from rayfe.storage.parquet import Record, encode
from rayfe.storage.table import Row, Table

log = logging.getLogger(__name__)

TABLES, WEIGHTS = (STEPS, READINGS, CERTIFICATES), ("states", "carry")


def recover(files: Files, steps: Table[StepRecord], readings: Table[ReadingRecord]) -> list[StepRecord]:
    """Rows from which the trajectory can go on. Damage is set aside and logged, never overwritten."""
    trajectory = steps.trajectory
    _sweep(files, trajectory)
    _clear(files, trajectory)
    stored, _ = _mended(files, steps)
    rows = told(stored)
    read, damaged = _mended(files, readings)
    # certificates that are lost are made again, or asked for again
    _readable(files, certificates_path(trajectory), CertificateRecord)
    end = min(_unbroken(rows), _usable_end(files, rows))
    if damaged and (read or len(rows) == 1):  # only those of the last row are lost: its step comes again, and they with it
        end = min(end, max(0, len(rows) - 1))
    if end < len(rows):
        log.warning(
            "%s: what was stored after row %d is damaged or gone; keeping %d of %d rows", trajectory, end, end, len(rows)
        )
        steps.retain({key(row) for row in rows[:end]}, drop=files.set_aside)
    if len(with_row(read, rows[:end])) < len(read):
        readings.retain({key(row) for row in rows[:end]}, drop=files.remove)
    return rows[:end]


def _unbroken(rows: list[StepRecord]) -> int:
    """Number of rows before the first gap, as damage to a file that is not the last one leaves."""
    for index, (before, after) in enumerate(itertools.pairwise(rows), start=1):
        follows = (before.step + 1, 0) if before.accepted else (before.step, before.attempt + 1)
        if key(after) != follows:
            return index
    return len(rows)


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


def _mended(files: Files, table: Table[Row]) -> tuple[list[Row], bool]:
    """Records of a table, and whether its last file was damaged."""
    records: list[Row] = []
    damaged = False
    for number in table.numbers():
        found, damaged = _readable(files, table.path(number), table.record_class)
        records += found
    return records, damaged


def _readable(files: Files, path: str, record_class: type[Record]) -> tuple[list[Record], bool]:
    """Records of a table, and whether it was damaged: then they are those of before the last commit, as far as they are kept."""
    try:
        return read_table(files, path, record_class), False
    except CorruptFile as error:
        damage = error
    previous = previous_path(path)
    try:
        records = read_table(files, previous, record_class)
    except CorruptFile as error:
        log.warning("%s; set aside as %s", error, files.set_aside(previous))
        records = []
    log.warning("%s; set aside as %s", damage, files.set_aside(path, instead=encode(records, record_class)))
    return records, True


def _sweep(files: Files, trajectory: str) -> None:
    """Remove temporary files of a process that was killed while it wrote."""
    for path in (*(f"{folder}/{trajectory}." for folder in TABLES), *(f"{folder}/{trajectory}/" for folder in WEIGHTS)):
        files.remove_temporaries(path)


def _clear(files: Files, trajectory: str) -> None:
    """Empty the folders of tables of what older versions put there under a dot: Polars and DuckDB read it as rows.

    Copies are moved to where they are now, whole before they go; temporary files are removed.
    """
    name = re.escape(f"{trajectory}.parquet")
    for folder in TABLES:
        path = table_path(folder, trajectory)
        for found in files.names(folder):
            if re.fullmatch(rf"\.previous-{name}", found):
                files.keep(f"{folder}/{found}", previous_path(path))
            elif re.fullmatch(rf"\.bad-\d+-(\.previous-)?{name}", found):
                files.keep(f"{folder}/{found}", f"{DAMAGED}/{folder}/{found.removeprefix('.bad-')}")
            elif not re.fullmatch(rf"\.(\.previous-)?{name}\..*\.tmp", found):
                continue
            files.remove(f"{folder}/{found}")
    for folder in WEIGHTS:
        for found in files.names(f"{folder}/{trajectory}"):
            if found.startswith(".") and found.endswith(TEMPORARY):
                files.remove(f"{folder}/{trajectory}/{found}")
