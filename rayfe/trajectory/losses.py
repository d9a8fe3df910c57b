"""What a walk at several constant losses holds: each loss as it was at the start, with an error and a tolerance of its own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from rayfe.config import RunConfig
from rayfe.records import Held, Reading, StepRecord
from rayfe.records.carried import Remembered
from rayfe.records.columns import reading_in
from rayfe.surface.equivalence import Miss
from rayfe.trajectory.constraint import usual_sets
from rayfe.trajectory.draws import Limit, Sets, sets_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Drifts:
    """How far losses are from those of the start, relative to these (nats, where losses may be negative), and the errors of that, (k,)."""

    value: np.ndarray
    error: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class LossesHeld:
    """The losses of the start: its row, and what was kept of its readings.

    Each loss at each step is one comparison of the test by Z standard errors, which leaves room for 1,578 of them.
    """

    config: RunConfig
    start: StepRecord
    kept: Remembered

    @property
    def limits(self) -> tuple[Limit, ...]:
        return limits_of(self.config, reading_in(self.start))

    @property
    def most(self) -> Sets:
        """As many as the start was read with."""
        return sets_of(self.start)

    @property
    def reading(self) -> Reading:
        """The start's, with the noise of its losses."""
        return dataclasses.replace(reading_in(self.start), loss_noise=tuple(map(tuple, self.kept.loss_noise.tolist())))

    @property
    def usual(self) -> Sets:
        """As many as steps need by the start's error."""
        return usual_sets(self.limits, self.reading, self.most)

    def targets(self, sets: Sets) -> np.ndarray:
        """The losses at the start on so many draws of settles, (k,)."""
        read = [Sets(head=head, decoder=decoder) for head, decoder in self.kept.sets.tolist()]
        return self.kept.targets[read.index(sets)]

    def drifts(self, reading: Reading) -> Drifts:
        """At a reading by the draws that judge; noise that both have in common cancels."""
        losses, start = np.array(reading.losses), np.array(self.start.losses)
        same = np.ones_like(start) if reading.C_scale is not None else losses / start
        noise = np.array(reading.loss_noise) - same[:, None] * self.kept.loss_noise
        size = self._sizes
        return Drifts(value=(losses - start) / size, error=np.linalg.norm(noise, axis=1) / size)

    def misses(self, reading: Reading) -> tuple[Miss, ...]:
        """Of each loss, as `misses_in` has them."""
        return self._misses(self.drifts(reading))

    def misses_in(self, row: StepRecord) -> tuple[Miss, ...]:
        """Those that a row has; none where it was not read. A loss so small that `tolerance_floor` counts is relative to what has the
        floor as its tolerance, so that one tolerance is that of all."""
        if row.loss_drifts is None or row.loss_drift_ses is None:
            return ()
        return self._misses(Drifts(value=np.array(row.loss_drifts), error=np.array(row.loss_drift_ses)))

    def _misses(self, drifts: Drifts) -> tuple[Miss, ...]:
        tolerance = self.config.asked.tolerance
        parts = self._sizes * tolerance / np.array([limit.allowed for limit in self.limits])
        pairs = zip((drifts.value * parts).tolist(), (drifts.error * parts).tolist(), strict=True)
        return tuple(Miss(value=value, error=error, tolerance=tolerance) for value, error in pairs)

    @property
    def _sizes(self) -> np.ndarray:
        start = reading_in(self.start)
        return np.array([limit.held.scale(start) for limit in self.limits])


def limits_of(config: RunConfig, start: Reading) -> tuple[Limit, ...]:
    """By how much each of the losses of a start may be off, nats."""
    held = [Held(loss=number) for number in range(len(start.losses))]
    asked = config.asked
    return tuple(Limit(held=one, allowed=max(asked.tolerance * one.scale(start), asked.tolerance_floor)) for one in held)


def worst_of(misses: tuple[Miss, ...]) -> Miss:
    """The one that is furthest off."""
    return max(misses, key=lambda miss: abs(miss.value))
