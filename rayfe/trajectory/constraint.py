"""What a walk holds, and how far a reading is off it: with errors of the draws that both have in common cancelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rayfe.config import RunConfig
from rayfe.records import Held, Reading, StepRecord, drift
from rayfe.records.carried import Remembered
from rayfe.records.columns import held_reading_in, number
from rayfe.surface.equivalence import Miss, relative_tolerance
from rayfe.surface.process import LOSS, Process
from rayfe.trajectory.chart import Goal
from rayfe.trajectory.draws import HEADROOM, PART, Limit, Sets, needed, sets_of
from rayfe.trajectory.line import GeodesicLine, allowed_off_line, line_in
from rayfe.trajectory.target_loss import WantedLoss


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding(Goal):
    """The conditions of `process` with their values at the start: its row, and what `remembered` kept of its readings.

    Readings, here and below, have C of the split on which it is held (`rows.held_readings`).
    """

    config: RunConfig
    process: Process
    start: StepRecord
    kept: Remembered

    @property
    def conditions(self) -> Process:
        return self.process

    @property
    def limits(self) -> tuple[Limit, ...]:
        return limits_of(self.config, self.process.held, held_reading_in(self.start), line_in(self.start))

    @property
    def most(self) -> Sets:
        """As many as the start was read with."""
        return sets_of(self.start)

    @property
    def usual(self) -> Sets:
        """As many as steps need by the start's error: far from it the draws have hardly anything in common, and the error of a
        difference is about that of the start (MNIST: 0.23 and 0.24 % of C0)."""
        return usual_sets(self.limits, held_reading_in(self.start), self.most)

    def targets(self, sets: Sets) -> tuple[float, ...]:
        """The values at the start, on the same draws."""
        read = [Sets(head=head, decoder=decoder) for head, decoder in self.kept.sets.tolist()]
        return tuple(self.kept.targets[read.index(sets)].tolist())

    def misses(self, reading: Reading) -> tuple[Miss, ...]:
        """C / C0 - 1, and of other conditions the difference from the start in parts of their scale."""
        return tuple(self._miss(limit, reading) for limit in self.limits)

    def _miss(self, limit: Limit, reading: Reading) -> Miss:
        held, start = limit.held, held_reading_in(self.start)
        if held == LOSS:
            tolerance = relative_tolerance(self.config.asked.tolerance, self.config.asked.tolerance_floor, held.scale(start))
            return Miss(value=drift(reading.C, start.C, start.C_scale), error=self.drift_se(reading), tolerance=tolerance)
        scale = held.scale(start)
        return Miss(
            value=(held.of(reading) - held.of(start)) / scale,
            error=self._error(held, reading) / scale,
            tolerance=limit.allowed / scale,
        )

    def _error(self, held: Held, reading: Reading) -> float:
        """Standard error of the difference of a combination from the start."""
        noise = held.D * (np.asarray(reading.D_noise) - self.kept.D_noise)
        noise += held.C * (np.asarray(reading.C_noise) - self.kept.C_noise)
        if reading.R_noise:
            noise += held.R * (np.asarray(reading.R_noise) - self.kept.R_noise)
        return float(np.linalg.norm(noise))

    def miss_in(self, row: StepRecord) -> Miss | None:
        """The first of the misses, as a row has it; None where it was not read."""
        if row.held_drift is None or row.held_drift_se is None:
            return None
        limit, start = self.limits[0], held_reading_in(self.start)
        return Miss(value=row.held_drift, error=row.held_drift_se, tolerance=limit.allowed / limit.held.scale(start))

    def misses_in(self, row: StepRecord) -> tuple[Miss, ...]:
        """Those of the misses that a row has, the first and that of a line; none where it was not read."""
        first = self.miss_in(row)
        if first is None:
            return ()
        if row.line_miss is None or row.line_miss_se is None:
            return (first,)
        line = self.limits[1]
        scale = line.held.scale(held_reading_in(self.start))
        return first, Miss(value=row.line_miss / scale, error=row.line_miss_se / scale, tolerance=line.allowed / scale)

    def drift_se(self, reading: Reading) -> float:
        """Standard error of C / C0 - 1. Draws are those of step 0, so the noise that both have in common cancels."""
        C0, scale = number(self.start.held_C), self.start.C_scale
        if scale is not None:
            return float(np.linalg.norm(np.asarray(reading.C_noise) - self.kept.C_noise) / scale)
        return float(np.linalg.norm(np.asarray(reading.C_noise) - reading.C / C0 * self.kept.C_noise) / C0)

    def line_miss(self, reading: Reading) -> tuple[float, float] | None:
        """D - D0 - k (R - R0) of a geodesic and its standard error, in the unit of D. None: no line."""
        if self.start.k is None:
            return None
        miss = reading.D - number(self.start.D) - self.start.k * (reading.R - number(self.start.R))
        return miss, self._error(Held(R=-self.start.k, D=1.0), reading)

    @property
    def holds_C(self) -> bool:
        """Whether C is one of the conditions."""
        return LOSS in self.process.held


def limits_of(config: RunConfig, held: Sequence[Held], start: Reading, line: GeodesicLine) -> tuple[Limit, ...]:
    """By how much conditions may be off that a start and its line have the values of: `tolerance` of their size there; C of its
    own with a floor, and the line as it has it."""
    return tuple(Limit(held=condition, allowed=_allowed(config, condition, start, line)) for condition in held)


def _allowed(config: RunConfig, held: Held, start: Reading, line: GeodesicLine) -> float:
    if held == LOSS:
        return max(config.asked.tolerance * held.scale(start), config.asked.tolerance_floor)
    return config.asked.tolerance * held.scale(start) if line.k is None else allowed_off_line(config, start, line)


def wanted_loss(holding: Holding, sets: Sets) -> WantedLoss:
    """The loss that a renewed model is brought to, at last with so many sets of draws."""
    index = holding.process.held.index(LOSS)
    last = None if sets == Sets() else holding.targets(sets)[index]
    return WantedLoss(C=holding.targets(Sets())[index], allowed=holding.limits[index].allowed, last=last, draw_sets=sets.head)


def most_sets(limits: tuple[Limit, ...], reading: Reading) -> Sets:
    """The sets that the start is read with, from a reading with one: with room for steps that need more than the start."""
    return needed(limits, reading, Sets(), part=HEADROOM * PART)


def usual_sets(limits: tuple[Limit, ...], start: Reading, most: Sets) -> Sets:
    """The sets that steps are read with, from the start's reading with the most."""
    usual = needed(limits, start, most)
    return Sets(head=min(usual.head, most.head), decoder=min(usual.decoder, most.decoder))


def remembered(conditions: Sequence[Held], tested: Reading, settled: Mapping[Sets, Reading]) -> Remembered:
    """What later steps need of the start: noise of its judging draws, and what is held on the draws of settles, by their number."""
    return Remembered(
        C_noise=np.array(tested.C_noise),
        D_noise=np.array(tested.D_noise),
        R_noise=np.array(tested.R_noise),
        loss_noise=np.array(tested.loss_noise),
        sets=np.array([(sets.head, sets.decoder) for sets in settled]),
        targets=np.array([[held.of(reading) for held in conditions] for reading in settled.values()]),
    )
