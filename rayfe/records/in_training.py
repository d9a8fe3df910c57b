"""How far a training is that still goes on: told to people, never stored."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class InTraining:
    """One training at one moment."""

    trajectory: str
    step: int
    updates: int
    """Updates that are done."""
    all_updates: int
    epochs: float
    """Of the whole training."""
    C: float | None
    """Loss of the task of the first replica when it was last read on the probe, nats; None: not yet."""
    seconds: float
    """Since it began, or was taken up again."""
    seconds_left: float | None
    """By the pace so far; None: there is none."""

    @property
    def share(self) -> float:
        """Part that is done, in [0, 1]."""
        return self.updates / self.all_updates
