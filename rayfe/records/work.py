"""One attempt while it goes on: what it is, what it has cost so far, and what was read."""

from __future__ import annotations

from collections.abc import Sequence

from rayfe.records import (
    Answer,
    Differentiated,
    Equilibrated,
    Kind,
    Leg,
    Measured,
    Reading,
    ReadingRecord,
    Settled,
    StepKey,
    TakenUp,
)
from rayfe.records.columns import reading_records


class Work:
    """An attempt: its key, its kind and leg, the training examples of the answers so far, and the readings to be stored."""

    def __init__(self, key: StepKey, *, kind: Kind, leg: Leg = Leg.THERE) -> None:
        self.key, self.kind, self.leg = key, kind, leg
        self.examples = 0.0
        self.readings: tuple[ReadingRecord, ...] = ()

    def equilibrated(self, answer: Answer | None, *, first: bool = False) -> Equilibrated:
        assert isinstance(answer, Equilibrated)
        self._add(answer.examples, answer.readings, first=first)
        return answer

    def measured(self, answer: Answer | None, *, again: bool = False) -> Measured:
        """`again`: the same models were read before, with fewer draws; these readings take the place of those."""
        assert isinstance(answer, Measured)
        if again:
            newer = {(reading.replica, str(reading.split)) for reading in answer.readings}
            self.readings = tuple(old for old in self.readings if (old.replica, old.split) not in newer)
        self._add(answer.examples, answer.readings)
        return answer

    def settled(self, answer: Answer | None) -> Settled:
        assert isinstance(answer, Settled)
        self._add(answer.examples, ())
        return answer

    def taken_up(self, answer: Answer | None) -> TakenUp:
        assert isinstance(answer, TakenUp)
        self._add(answer.examples, ())
        return answer

    def differentiated(self, answer: Answer | None) -> Differentiated:
        assert isinstance(answer, Differentiated)
        self._add(answer.examples, ())
        return answer

    def _add(self, examples: float, readings: Sequence[Reading], *, first: bool = False) -> None:
        self.examples += examples
        self.readings += reading_records(self.key, readings, first=first)
