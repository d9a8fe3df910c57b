"""A trajectory's table in flat files of at most `LIMIT` rows: a commit replaces the last one only, and nothing is compacted."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import pyarrow as pa

from rayfe.records import CertificateRecord, ReadingRecord, StepRecord
from rayfe.records.older import told
from rayfe.storage.files import Files
from rayfe.storage.layout import (
    CERTIFICATES,
    FILE_OF_TABLE,
    MOST_OF_TABLE,
    READINGS,
    STEPS,
    copy_path,
    named,
    read_table,
    table_path,
    tables_in,
)
from rayfe.storage.parquet import encode_table, table_of

Row = TypeVar("Row", bound=StepRecord | ReadingRecord | CertificateRecord)

LIMIT = 500
"""Rows of a file. One with more has them all from one attempt, or is of a version that had one file for a trajectory."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Tail:
    """The last file of a table: its number, its rows, and its bytes as stored; None if there is no file so far."""

    number: int
    rows: pa.Table
    stored: bytes | None

    def followed_by(self, rows: pa.Table) -> Tail:
        """The last file with these rows after its own, or a new one of them alone where they do not fit. Nothing is stored yet."""
        if self.rows.num_rows and self.rows.num_rows + rows.num_rows > LIMIT:
            return Tail(number=self.number + 1, rows=rows, stored=encode_table(rows))
        rows = pa.concat_tables([self.rows, rows]).combine_chunks()
        return Tail(number=self.number, rows=rows, stored=encode_table(rows))


class Table(Generic[Row]):
    """The files of one trajectory in one folder, as records; `completed` adds what older versions did not store."""

    def __init__(
        self,
        files: Files,
        folder: str,
        trajectory: str,
        record_class: type[Row],
        completed: Callable[[Sequence[Row]], list[Row]] = list,
    ) -> None:
        self._files, self._folder, self._completed = files, folder, completed
        self.trajectory, self.record_class = named(trajectory), record_class

    def numbers(self, *, copies: bool = False) -> list[int]:
        """Numbers of its files, or of their copies, in order."""
        folder = copy_path(self._folder) if copies else self._folder
        return tables_in(self._files.names(folder)).get(self.trajectory, [])

    def path(self, number: int) -> str:
        return table_path(self._folder, self.trajectory, number)

    def file(self, number: int) -> list[Row]:
        """Records of one file, none if it is missing. Raises CorruptFile if it cannot be read."""
        return read_table(self._files, self.path(number), self.record_class, self.trajectory)

    def records(self) -> list[Row]:
        """All records in order. Raises CorruptFile if a file cannot be read."""
        return self._completed([record for number in self.numbers() for record in self.file(number)])

    # --- the last file ------------------------------------------------------------------------------------------------

    def tail(self, known: Callable[[list[Row]], list[Row]]) -> Tail:
        """The last file as it is stored, with what `known` makes of its records."""
        number = max(self.numbers(), default=0)
        return Tail(number=number, rows=self.rows(known(self.file(number))), stored=self._stored(number))

    def rows(self, records: Sequence[Row]) -> pa.Table:
        """These records as Arrow has them."""
        return table_of(records, self.record_class)

    def ends_with(self, tail: Tail) -> bool:
        """Whether the table's last file is this one, byte for byte."""
        full = tail.rows.num_rows >= LIMIT
        return self._stored(tail.number) == tail.stored and not (full and self._files.exists(self.path(tail.number + 1)))

    def _stored(self, number: int) -> bytes | None:
        try:
            return self._files.read(self.path(number), MOST_OF_TABLE)
        except FileNotFoundError:
            return None

    def replace(self, after: Tail) -> None:
        """Write the last file."""
        assert after.stored is not None
        self._files.write(self.path(after.number), after.stored)

    def copy(self, tail: Tail) -> None:
        """Write the last file once more, for `recovery`."""
        assert tail.stored is not None
        self._files.write(copy_path(self.path(tail.number)), tail.stored, durable=False)


def versions_of(files: Files) -> dict[str, str]:
    """By trajectory what changes when one of its tables is written, without reading them."""
    found: dict[str, str] = {}
    for folder in (STEPS, READINGS, CERTIFICATES):
        for name, version in sorted(files.versions(folder).items()):
            if match := FILE_OF_TABLE.fullmatch(name):
                found[match["trajectory"]] = found.get(match["trajectory"], "") + version
    return found


def digest_of(files: Files, places: Sequence[str]) -> str:
    """Changes when one of these files, or a file in one of these folders, is replaced."""
    found = [sorted(files.versions(place).items()) for place in places]
    return hashlib.sha256(repr(found).encode()).hexdigest()[:16]


def steps_of(files: Files, trajectory: str) -> Table[StepRecord]:
    """The trajectory's attempted steps."""
    return Table(files, STEPS, trajectory, StepRecord, completed=told)


def readings_of(files: Files, trajectory: str) -> Table[ReadingRecord]:
    """The trajectory's readings, those of a step that was cut short included."""
    return Table(files, READINGS, trajectory, ReadingRecord)


def certificates_of(files: Files, trajectory: str) -> Table[CertificateRecord]:
    """The trajectory's certificates, those of models that are no rows any more included."""
    return Table(files, CERTIFICATES, trajectory, CertificateRecord)


def read_certificates(files: Files, trajectory: str, rows: Sequence[StepRecord]) -> list[CertificateRecord]:
    """Certificates of models that these rows have, by step and method. Raises CorruptFile if they cannot be read."""
    models = {(row.step, row.state_sha256) for row in rows if row.accepted}
    return [one for one in certificates_of(files, trajectory).records() if (one.step, one.state_sha256) in models]


def write_certificate(files: Files, record: CertificateRecord, others: Sequence[CertificateRecord]) -> None:
    """Replace the table by `others` and `record`, which takes the place of one of the same model and method."""
    table, same = certificates_of(files, record.trajectory), (record.state_sha256, record.method)
    kept = [one for one in others if (one.state_sha256, one.method) != same]
    rows = table.rows(sorted([*kept, record], key=lambda one: (one.step, one.method)))
    tail = Tail(number=0, rows=rows, stored=encode_table(rows))
    table.replace(tail)
    table.copy(tail)
