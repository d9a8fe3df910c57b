"""What one attempted step leaves behind."""

from __future__ import annotations

from dataclasses import dataclass

from rayfe.records.points import Weights
from rayfe.records.reading_record import ReadingRecord
from rayfe.records.stored import StepRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """What one attempted step leaves behind: one row, its readings, and, if accepted, its weights.

    `carry` is what the next step needs besides the weights (tangent, previous weights, second moments),
    as named arrays; `record` has no hashes yet, the store fills them in.
    """

    record: StepRecord
    readings: tuple[ReadingRecord, ...]
    state: Weights | None
    carry: Weights | None
