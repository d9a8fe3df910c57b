"""A run's events as JSON, one object a line, for machines: `--log-format json`."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TextIO

from rayfe.exceptions import Words, in_shell_words
from rayfe.records import InTraining, StepRecord
from rayfe.run.progress import Pacer


class JsonLog:
    """What the runner tells, as lines on stderr; in the place of `progress.Progress`. A context manager.

    Every line has `time` (UTC), `event`, `host` and `pid`; a `row` has the columns of its step that were measured.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        words: Words = in_shell_words,
    ) -> None:
        self._stream = stream or sys.stderr
        self._now, self._words = now, words
        self._pacer = Pacer()

    def __enter__(self) -> Self:
        self._write("begin")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._write("end", **({} if kind is None else {"error": kind.__name__, "message": str(error)}))

    def row(self, record: StepRecord) -> None:
        """A row was committed."""
        self._write("row", **dataclasses.asdict(record))

    def event(self, text: str) -> None:
        """Something happened that leaves no row, such as a lost worker."""
        self._write("event", message=self._words(text))

    def training(self, now: InTraining) -> None:
        """A training goes on; `share` is the part of it that is done."""
        if self._pacer.is_due(now):
            self._write("training", **dataclasses.asdict(now), share=round(now.share, 4))

    def _write(self, event: str, **fields: Any) -> None:
        line: dict[str, Any] = {"time": self._now().isoformat(timespec="milliseconds"), "event": event}
        line |= {"host": socket.gethostname(), "pid": os.getpid()}
        line |= {name: value for name, value in fields.items() if value is not None and not _is_nan(value)}
        print(json.dumps(line), file=self._stream, flush=True)


def _is_nan(value: object) -> bool:
    """NaN and infinities have no form in JSON; such a column is left out."""
    return isinstance(value, float) and not math.isfinite(value)
