"""What is stored of a trajectory, damaged or not, beside the copies; and bringing both to what is decided."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic

from safetensors.numpy import load

from rayfe.exceptions import CorruptFile
from rayfe.records import StepRecord
from rayfe.records.carried import Carried
from rayfe.storage.files import Files
from rayfe.storage.layout import (
    CARRY,
    MISSING,
    MOST_OF_TABLE,
    STATES,
    carry_path,
    copy_path,
    fault_in,
    read_checked,
    records_in,
    state_path,
    weights_copy_path,
)
from rayfe.storage.parquet import encode
from rayfe.storage.row_commit import bytes_of
from rayfe.storage.table import Row, Table

log = logging.getLogger(__name__)

OTHER_ROWS = "has other rows than those that are kept"
"""Said of a file of a table, or a copy, that is sound but not of this run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundFile(Generic[Row]):
    """One file of a table, or its copy, as it is stored."""

    path: str
    records: list[Row] | None = None
    """None: it is missing, or cannot be read."""
    data: bytes | None = None
    fault: str | None = None
    """What is wrong with it."""


@dataclass(frozen=True, slots=True)
class Version(Generic[Row]):
    """A table put together from its files and their copies: one that can be read for each number, as far as there is one."""

    parts: dict[int, FoundFile[Row]]

    @property
    def records(self) -> list[Row]:
        """All records in order."""
        return [record for number in sorted(self.parts) for record in self.parts[number].records or ()]


class FoundTable(Generic[Row]):
    """The files of one table and their copies, as they are stored now."""

    def __init__(self, files: Files, table: Table[Row]) -> None:
        self._files, self._table = files, table
        self._numbers = sorted({*table.numbers(), *table.numbers(copies=True)})
        self.originals = {number: self._look(table.path(number)) for number in self._numbers}
        self.copies = {number: self._look(copy_path(table.path(number))) for number in self._numbers}

    def _look(self, path: str) -> FoundFile[Row]:
        data = None
        try:
            data = self._files.read(path, MOST_OF_TABLE)
            records = records_in(self._files, path, data, self._table.record_class, self._table.trajectory)
        except FileNotFoundError:
            return FoundFile(path=path, fault=MISSING)
        except CorruptFile as error:
            return FoundFile(path=path, data=data, fault=error.fault)
        return FoundFile(path=path, data=data, records=records)

    @property
    def is_whole(self) -> bool:
        """Whether all files are there and can be read, and so are their copies, with the same in them: older versions made none."""
        copied = any(found.fault != MISSING for found in self.copies.values())
        looked_at = [*self.originals.values(), *(self.copies.values() if copied else ())]
        same = not copied or all(self.originals[number].data == self.copies[number].data for number in self._numbers)
        gapless = self._numbers == list(range(max(1, len(self._numbers))))
        return gapless and same and not any(found.fault for found in looked_at)

    def versions(self) -> tuple[Version[Row], Version[Row]]:
        """By the files, with copies for those that cannot be read; and by the copies, with files for those."""
        return self._version(self.originals, self.copies), self._version(self.copies, self.originals)

    def _version(self, first: dict[int, FoundFile[Row]], then: dict[int, FoundFile[Row]]) -> Version[Row]:
        chosen = {number: first[number] if first[number].fault is None else then[number] for number in self._numbers}
        return Version({number: found for number, found in chosen.items() if found.fault is None})

    def put_in_order(
        self, version: Version[Row], keep: Callable[[Row], bool] = lambda record: True, *, set_aside: bool = False
    ) -> None:
        """Bring files and copies to the records of a version that `keep` keeps. With `set_aside` a file that changes is kept aside,
        and one with records that the version has not is kept in any case.

        The last file comes first, so that at any moment the records that are left are the first ones.
        """
        for number in reversed(self._numbers):
            part = version.parts.get(number)
            found = part.records or [] if part is not None else []
            kept = [record for record in found if keep(record)]
            if not kept and number:
                data = None
            elif part is not None and len(kept) == len(found):
                data = part.data
            else:
                data = encode(kept, self._table.record_class)
            file, copy = self.originals[number], self.copies[number]
            source = "; restored from its copy" if part is copy else ""
            fault = file.fault or _strange(file, found) or ("is an older one" if source else None)
            self._bring(dataclasses.replace(file, fault=fault), data, set_aside=set_aside, source=source)
            self._bring(dataclasses.replace(copy, fault=copy.fault or _strange(copy, found)), data, is_copy=True)

    def _bring(
        self, found: FoundFile[Row], data: bytes | None, *, set_aside: bool = False, source: str = "", is_copy: bool = False
    ) -> None:
        """Make the file what it should be, None: not there. What is damaged is set aside and logged."""
        is_missing = found.fault == MISSING
        if found.data == data and (data is not None or is_missing):
            return
        aside = ""
        if not is_missing and (found.fault or set_aside):
            aside = f"; set aside as {self._files.set_aside(found.path)}"
        if found.fault and not (is_missing and is_copy):
            log.warning("%s: %s%s%s", self._files.url(found.path), found.fault, aside, source)
        if data is not None:
            self._files.write(found.path, data, durable=not is_copy)
        elif not aside:
            self._files.remove(found.path)


def _strange(file: FoundFile[Row], chosen: Sequence[Row]) -> str | None:
    """What is wrong with a file that can be read, where it has records that are not among the chosen ones: it is of another run."""
    known = {repr(record) for record in chosen} if file.records else ()  # not ==: NaN is unlike itself
    return OTHER_ROWS if any(repr(record) not in known for record in file.records or ()) else None


class FoundWeights:
    """The weight files of rows and their copies, as they are stored now; each is read once."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._faults: dict[tuple[str, str], str | None] = {}

    def has(self, row: StepRecord) -> bool:
        """Whether the files of a row, or their copies, are as written; True also where the row has none."""
        # all are looked at: a damaged file must be set aside before the repeated step writes it anew
        found = [None in (self.fault(path, digest), self.fault(copy, digest)) for path, copy, digest in weight_files(row)]
        return all(found)

    def fault(self, path: str, digest: str) -> str | None:
        """What is wrong with a file; None if it is as written."""
        if (path, digest) not in self._faults:
            self._faults[path, digest] = fault_of(self._files, path, digest)
        return self._faults[path, digest]

    def put_in_order(self, rows: Sequence[StepRecord], end: int) -> None:
        """Restore the files of the last accepted one of the first `end` rows from their copies, or the copies from the files.

        Damaged ones that were looked at, those of later rows too, are set aside.
        The weights before them are made from what the last step carries. Of other rows damaged and missing files are named:
        nothing needs them to go on. Elsewhere than on this machine all these are not read.
        """
        accepted = [row for row in rows[:end] if row.accepted]
        self._set_aside(rows)
        for path, copy, digest in weight_files(accepted[-1]) if accepted else ():
            if self.fault(path, digest) is not None:
                self._files.write(path, read_checked(self._files, copy, digest))
                log.warning("%s: restored from its copy", self._files.url(path))
            elif self.fault(copy, digest) is not None:
                self._files.write(copy, read_checked(self._files, path, digest), durable=False)
        for path, fault in faults_before_last(self._files, accepted) if self._files.local else ():
            if (data := made_from_last(self._files, accepted, path)) is None:
                log.warning("%s: %s; it is not made again", self._files.url(path), fault)
                continue
            aside = "" if fault == MISSING else f"; set aside as {self._files.set_aside(path)}"
            self._files.write(path, data)
            log.warning("%s: %s%s; restored from what the next step carries", self._files.url(path), fault, aside)

    def _set_aside(self, rows: Sequence[StepRecord]) -> None:
        # not all that was looked at: of a table of another run no file is as written
        for path, _, digest in (file for row in rows for file in weight_files(row)):
            fault = self._faults.get((path, digest))
            if fault not in (None, MISSING):
                log.warning("%s: %s; set aside as %s", self._files.url(path), fault, self._files.set_aside(path))


def faults_before_last(files: Files, accepted: Sequence[StepRecord]) -> list[tuple[str, str]]:
    """Paths of weight files of all accepted rows but the last that should be there and are not as written, and what is wrong.

    Those that are missing before all that are there have been pruned, but for those of the last step but one.
    """
    found: list[tuple[str, str]] = []
    for folder in (STATES, CARRY):
        seen = False
        for row in accepted[:-1]:
            for path, _, digest in weight_files(row, folder):
                fault = fault_of(files, path, digest)
                seen = seen or fault != MISSING or row is accepted[-2]
                found += [(path, fault)] if seen and fault is not None else []
    return found


def made_from_last(files: Files, accepted: Sequence[StepRecord], path: str) -> bytes | None:
    """The weights at `path`, if they are of the last accepted row but one, and the last one carries them; else None."""
    before, last = accepted[-2:]
    if path != state_path(before) or last.carry_sha256 is None or fault_of(files, carry_path(last), last.carry_sha256):
        return None
    previous = Carried.of(load(files.read(carry_path(last)))).previous
    data = None if previous is None else bytes_of(previous)
    return data if data is not None and hashlib.sha256(data).hexdigest() == before.state_sha256 else None


def weight_files(row: StepRecord, only: str = "") -> list[tuple[str, str, str]]:
    """Path, path of the copy, and SHA-256 of each weight file that a row has; of those in the folder `only`, if it is given."""
    found = [(STATES, state_path(row), row.state_sha256), (CARRY, carry_path(row), row.carry_sha256)]
    return [
        (path, weights_copy_path(folder, row.trajectory), digest)
        for folder, path, digest in found
        if digest is not None and only in ("", folder)
    ]


def fault_of(files: Files, path: str, digest: str) -> str | None:
    """What is wrong with a weight file; None if it is the one of its row."""
    return fault_in(read_checked, files, path, digest)
