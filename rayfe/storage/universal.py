"""universal.parquet: stored encoders with new decoders and classifiers, a row each."""

from __future__ import annotations

from collections.abc import Sequence

from rayfe.exceptions import CorruptFile
from rayfe.records.possible import fault_of
from rayfe.records.universal import UniversalRecord
from rayfe.storage.files import Files
from rayfe.storage.layout import MOST_OF_TABLE, UNIVERSAL
from rayfe.storage.parquet import decode, encode


class UniversalFile:
    """That of one run."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def rows(self) -> list[UniversalRecord]:
        """All of them; none if there is no file. Raises CorruptFile: it cannot be read."""
        try:
            records = decode(self._files.read(UNIVERSAL, MOST_OF_TABLE), UniversalRecord)
            faults = [fault for record in records if (fault := fault_of(record)) is not None]
            if faults:
                raise ValueError(f"a row that no run writes: {faults[0]}")
            return records
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise CorruptFile(self._files.url(UNIVERSAL), f"{error}; remove it, and jobs/universal.py trains again") from error

    def keep(self, records: Sequence[UniversalRecord]) -> None:
        """Store some more. Who works on the run calls it. Raises StorageFull: there is no room; the others stay."""
        self._files.write(UNIVERSAL, encode([*self.rows(), *records], UniversalRecord))
