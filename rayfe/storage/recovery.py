"""Making a trajectory's files consistent after a crash, or after damage to a disk (`Store.recover`).

What a trajectory goes on from is stored twice: its tables, and the last step's weights. First everything is looked at, and it is decided
which rows can be kept. Then files are put in order so that a crash on the way leads to the same decision.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence

from rayfe.records import CertificateRecord, ReadingRecord, StepRecord
from rayfe.records.older import told
from rayfe.storage.files import Files
from rayfe.storage.found import FoundTable, FoundWeights, Version
from rayfe.storage.layout import READINGS, STEPS, key, table_path
from rayfe.storage.older_folders import take_over
from rayfe.storage.table import certificates_of, readings_of, steps_of

log = logging.getLogger(__name__)


def recover(files: Files, trajectory: str) -> list[StepRecord]:
    """Rows from which the trajectory can go on. Damage is set aside and logged, never overwritten."""
    files.sweep(trajectory)
    take_over(files, trajectory)
    weights = FoundWeights(files)
    steps, readings = FoundTable(files, steps_of(files, trajectory)), FoundTable(files, readings_of(files, trajectory))
    by, rows, end = _most(steps, weights)
    read, covered = _with_readings(readings, rows[:end])
    end = usable_end(rows, weights, covered)
    if not rows and any(key(reading) != (0, 0) for reading in read.records):  # else a first step was cut short
        log.warning(
            "%s: neither it nor its copy can be used; the trajectory begins again", files.url(table_path(STEPS, trajectory))
        )
    if end < len(rows):
        text = "%s: what was stored after row %d is damaged or gone; keeping %d of %d rows"
        log.warning(text, trajectory, end, end, len(rows))
    kept = {key(row) for row in rows[:end]}
    # in this order: while there is a row too many, what is wrong with its readings can still be seen
    weights.put_in_order(rows, end)
    steps.put_in_order(by, lambda row: key(row) in kept, set_aside=True)
    readings.put_in_order(read, lambda reading: key(reading) in kept)
    if unlike := _unlike(read.records, rows[:end]):
        text = "%s: these readings and their copy are not those of %d rows; nothing needs them to go on"
        log.warning(text, files.url(table_path(READINGS, trajectory)), unlike)
    certificates = FoundTable(files, certificates_of(files, trajectory))
    # those that are lost are made again, or asked for again
    certificates.put_in_order(_most_certified(certificates, rows[:end]))
    return rows[:end]


def _most(steps: FoundTable[StepRecord], weights: FoundWeights) -> tuple[Version[StepRecord], list[StepRecord], int]:
    """The version of the table of which most rows can be kept, its rows, and how many can be."""
    found = []
    for version in steps.versions():
        rows = told(version.records)
        found.append((version, rows, usable_end(rows, weights, unbroken(rows))))
    return max(found, key=lambda one: one[2])  # the first of equals: that of the files themselves


def _with_readings(readings: FoundTable[ReadingRecord], rows: Sequence[StepRecord]) -> tuple[Version[ReadingRecord], int]:
    """The version of the readings that belongs to most of the rows, and to how many; of equals the one that is more like them.

    Where no file is missing or damaged, accepted rows before others with readings have lost theirs long ago: older versions went
    on without.
    """
    found = [(version, _covered(version.records, rows, gaps=readings.is_whole)) for version in readings.versions()]
    return max(found, key=lambda one: (one[1], -_unlike(one[0].records, rows)))


def _unlike(readings: Sequence[ReadingRecord], rows: Sequence[StepRecord]) -> int:
    """Number of accepted rows with readings of which none has their R, D and C: these are of another run."""
    read = {(key(reading), reading.R, reading.D, reading.C) for reading in readings}
    there = {key(reading) for reading in readings}
    measured = [row for row in rows if row.accepted and row.R is not None and key(row) in there]
    return sum((key(row), row.R, row.D, row.C) not in read for row in measured)


def _most_certified(certificates: FoundTable[CertificateRecord], rows: Sequence[StepRecord]) -> Version[CertificateRecord]:
    """The version with most certificates of these rows' models, less those of other models of the same steps; perhaps an empty one.

    Those of steps that are no rows any more count neither way: the steps come again.
    """
    models = {row.step: row.state_sha256 for row in rows if row.accepted}

    def value(version: Version[CertificateRecord]) -> tuple[int, int]:
        known = [one.state_sha256 == models[one.step] for one in version.records if one.step in models]
        return sum(1 if same else -1 for same in known), len(version.records)

    return max((*certificates.versions(), Version({})), key=value)


def _covered(readings: Sequence[ReadingRecord], rows: Sequence[StepRecord], *, gaps: bool) -> int:
    """Number of rows before the first accepted one that has no reading; with `gaps` only those after the last reading count."""
    read = {key(reading) for reading in readings}
    first = max((index for index, row in enumerate(rows) if key(row) in read), default=len(rows)) if gaps else 0
    lost = (index for index, row in enumerate(rows) if index >= first and row.accepted and key(row) not in read)
    return next(lost, len(rows))


def unbroken(rows: Sequence[StepRecord]) -> int:
    """Number of rows before the first gap, as damage to a file leaves."""
    if rows and key(rows[0]) != (0, 0):
        return 0
    for index, (before, after) in enumerate(itertools.pairwise(rows), start=1):
        follows = (before.step + 1, 0) if before.accepted else (before.step, before.attempt + 1)
        if key(after) != follows:
            return index
    return len(rows)


def usable_end(rows: Sequence[StepRecord], weights: FoundWeights, end: int) -> int:
    """Number of rows, `end` at most, before the first accepted one that is lost; rejected attempts before it lead to it and stay."""
    for index in reversed([index for index, row in enumerate(rows[:end]) if row.accepted]):
        if weights.has(rows[index]):
            break
        end = index
    return end
