"""Streams that a run's models have coded, and what they cost: codec/<trajectory>-<step>.json, .z and .x."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence

from rayfe.exceptions import CorruptFile
from rayfe.records import StepRecord
from rayfe.records.codec import CodecRecord
from rayfe.records.json_text import parsed
from rayfe.storage.files import Files
from rayfe.storage.layout import CODEC, MOST_OF_TABLE, MOST_OF_TEXT, named


class CodedFiles:
    """What one run has in codec/."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def keep(self, record: CodecRecord, streams: Mapping[str, bytes]) -> None:
        """Store a record, after its streams by their kind (z, x)."""
        for kind, data in streams.items():
            self._files.write(_path(record, kind), data)
        self._files.write(_path(record, "json"), (json.dumps(dataclasses.asdict(record), indent=2) + "\n").encode())

    def record(self, row: StepRecord) -> CodecRecord | None:
        """That of a row's model; None: there is none, or a stream of it is gone. Raises CorruptFile: it cannot be read."""
        path = _path(row, "json")
        try:
            value = parsed(self._files.read(path, MOST_OF_TEXT), CodecRecord)
            record = CodecRecord(**value)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise CorruptFile(self._files.url(path), f"{error}; remove it") from error
        kinds = ("z",) if record.levels is None else ("z", "x")
        there = all(self._files.exists(_path(row, kind)) for kind in kinds)
        return record if there and record.state_sha256 == row.state_sha256 else None

    def stream(self, row: StepRecord, kind: str) -> bytes:
        """A stored stream of a row's model. Raises FileNotFoundError, CorruptFile."""
        return self._files.read(_path(row, kind), MOST_OF_TABLE)

    def url(self, row: StepRecord) -> str:
        """Where the files of a row's model are, for people."""
        return self._files.url(_path(row, "*"))

    def rows(self, rows: Sequence[StepRecord]) -> list[CodecRecord]:
        """Records of those of the rows that have one, in their order."""
        names = set(self._files.names(CODEC))
        there = [row for row in rows if row.accepted and _path(row, "json").partition("/")[2] in names]
        return [found for row in there if (found := self.record(row)) is not None]


def _path(of: StepRecord | CodecRecord, kind: str) -> str:
    return f"{CODEC}/{named(of.trajectory)}-{of.step}.{kind}"
