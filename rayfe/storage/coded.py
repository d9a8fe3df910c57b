"""Streams that a run's models have coded, and what they cost: codec/<trajectory>-<step>.json, .z and .x."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence

from rayfe.exceptions import CorruptFile
from rayfe.records import StepRecord
from rayfe.records.codec import CodecRecord
from rayfe.records.json_text import parsed
from rayfe.records.possible import fault_of
from rayfe.storage.files import Files
from rayfe.storage.layout import CODEC, MOST_OF_TABLE, MOST_OF_TEXT, fault_in, named

AGAIN = "remove it, and python -m rayfe codec makes it again"


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
        try:
            record = self._read(_path(row, "json"))
        except FileNotFoundError:
            return None
        there = all(self._files.exists(_path(row, kind)) for kind in _streams(record))
        return record if there and record.state_sha256 == row.state_sha256 else None

    def stream(self, record: CodecRecord, kind: str) -> bytes:
        """A stream of a record. Raises FileNotFoundError, or CorruptFile: it is not the one that the record describes."""
        path = _path(record, kind)
        data = self._files.read(path, MOST_OF_TABLE)
        if hashlib.sha256(data).hexdigest() != _streams(record)[kind]:
            raise CorruptFile(self._files.url(path), f"is not the stream that its record describes; {AGAIN}")
        return data

    def rows(self, rows: Sequence[StepRecord]) -> list[CodecRecord]:
        """Records of those of the rows that have one, in their order."""
        names = set(self._files.names(CODEC))
        there = [row for row in rows if row.accepted and _path(row, "json").partition("/")[2] in names]
        return [found for row in there if (found := self.record(row)) is not None]

    def faults(self) -> Iterator[tuple[str, str]]:
        """Files that are missing, or not as they were written, and what is wrong with them."""
        for name in sorted(self._files.names(CODEC)):
            path = f"{CODEC}/{name}"
            if not name.endswith(".json") or name.startswith("."):
                continue
            if text := fault_in(self._read, path):
                yield path, text
                continue
            record = self._read(path)
            for kind in _streams(record):
                if text := fault_in(self.stream, record, kind):
                    yield _path(record, kind), text

    def url(self, row: StepRecord) -> str:
        """Where the files of a row's model are, for people."""
        return self._files.url(_path(row, "*"))

    def _read(self, path: str) -> CodecRecord:
        try:
            record = CodecRecord(**parsed(self._files.read(path, MOST_OF_TEXT), CodecRecord))
            if fault := fault_of(record):
                raise ValueError(f"is what no run writes: {fault}")
        except (ValueError, TypeError) as error:
            raise CorruptFile(self._files.url(path), f"{error}; {AGAIN}") from error
        if f"{CODEC}/{record.trajectory}-{record.step}.json" != path:
            raise CorruptFile(self._files.url(path), f"is of another model; {AGAIN}")
        return record


def _streams(record: CodecRecord) -> dict[str, str]:
    """Kinds of streams that a record has, with their SHA-256."""
    return {"z": record.z_sha256} | ({} if record.x_sha256 is None else {"x": record.x_sha256})


def _path(of: StepRecord | CodecRecord, kind: str) -> str:
    return f"{CODEC}/{named(of.trajectory)}-{of.step}.{kind}"
