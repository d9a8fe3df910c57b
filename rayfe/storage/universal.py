"""universal.parquet: stored encoders with new decoders and classifiers, a row each."""

from __future__ import annotations

from collections.abc import Sequence

from rayfe.exceptions import CorruptFile
from rayfe.records.possible import fault_of
from rayfe.records.universal import UniversalRecord
from rayfe.storage.files import Files
from rayfe.storage.layout import MOST_OF_TABLE, UNIVERSAL
from rayfe.storage.parquet import decode, encode


def read_universal(files: Files) -> list[UniversalRecord]:
    """All rows; none if there is no file. Raises CorruptFile: it cannot be read."""
    try:
        records = decode(files.read(UNIVERSAL, MOST_OF_TABLE), UniversalRecord)
        faults = [fault for record in records if (fault := fault_of(record)) is not None]
        if faults:
            raise ValueError(f"a row that no run writes: {faults[0]}")
        return records
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise CorruptFile(files.url(UNIVERSAL), f"{error}; remove it, and the same command trains again") from error


def write_universal(files: Files, records: Sequence[UniversalRecord]) -> None:
    """Replace the file."""
    files.write(UNIVERSAL, encode(records, UniversalRecord))
