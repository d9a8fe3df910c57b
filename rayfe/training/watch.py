"""Tells how far a training is, now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rayfe.records import InTraining, Reading, StepKey

PAUSE = 1.0
"""Seconds between two tellings."""


class Watch:
    """Called before every update of a training of `updates` updates, `epochs` epochs; calls `tell` at most once a `PAUSE`."""

    def __init__(
        self,
        tell: Callable[[InTraining], None],
        key: StepKey,
        *,
        updates: int,
        epochs: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell, self._key, self._updates, self._epochs, self._now = tell, key, updates, epochs, now
        self._began = self._told = now()
        self._first: int | None = None

    def __call__(self, update: int, readings: Sequence[Reading]) -> None:
        """Before this update; `readings` of the probe so far."""
        first = self._first = update if self._first is None else self._first
        now = self._now()
        if now - self._told < PAUSE:
            return
        self._told = now
        spent, done = now - self._began, update - first
        centre = [reading for reading in readings if reading.replica == readings[0].replica]
        self._tell(
            InTraining(
                trajectory=self._key.trajectory,
                step=self._key.step,
                updates=update,
                all_updates=self._updates,
                epochs=self._epochs,
                C=centre[-1].C if centre else None,
                seconds=spent,
                seconds_left=spent / done * (self._updates - update) if done else None,
            )
        )
