"""What a walk holds, and how far a reading is off it: with errors of the draws that both have in common cancelled."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rayfe.config import RunConfig
from rayfe.records import Reading, StepRecord, Weights
from rayfe.rows import held_reading_in, number
from rayfe.surface.process import LOSS, Process
from rayfe.surface.stepper import relative_tolerance
from rayfe.trajectory.base import WalkFailed
from rayfe.trajectory.chart import Aims

ONE_STEP = 1.645
"""Standard errors that the equivalence test of one step needs: z at 5 %."""
LIKELY = 6.0
"""Standard errors that the draws may well put a whole walk off by: they are the same at every step."""
HEADROOM = 5.0
"""Standard errors of C in a tolerance that draws hardly ever break."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """The conditions of `process` with their values at the start: its row, and what `remembered` kept of its readings.

    Readings, here and below, have C of the split on which it is held (`rows.held_readings`).
    """

    process: Process
    start: StepRecord
    kept: Weights

    @property
    def aims(self) -> Aims:
        """The values at the start."""
        scales = tuple(held.scale(held_reading_in(self.start)) for held in self.process.held)
        return Aims(process=self.process, targets=tuple(self.kept["targets"].tolist()), scales=scales)

    def drift_se(self, reading: Reading) -> float:
        """Standard error of C / C0 - 1. Draws are those of step 0, so the noise that both have in common cancels."""
        C0 = number(self.start.held_C)
        return float(np.linalg.norm(np.asarray(reading.C_noise) - reading.C / C0 * self.kept["C_noise"]) / C0)

    def line_miss(self, reading: Reading) -> tuple[float, float] | None:
        """D - D0 - k (R - R0) of a geodesic and its standard error, squared pixel units; R has no error. None: no line."""
        if self.start.k is None:
            return None
        noise = np.asarray(reading.D_noise) - self.kept["D_noise"]
        miss = reading.D - number(self.start.D) - self.start.k * (reading.R - number(self.start.R))
        return miss, float(np.linalg.norm(noise))

    @property
    def holds_C(self) -> bool:
        """Whether C is one of the conditions."""
        return LOSS in self.process.held

    def held_miss(self, reading: Reading) -> tuple[float, float]:
        """The first condition relative to its scale, and its standard error with the start's draws cancelled."""
        if self.process.held[0] == LOSS:
            return reading.C / number(self.start.held_C) - 1.0, self.drift_se(reading)
        held, scale = self.process.held[0], self.aims.scales[0]
        noise = held.D * (np.asarray(reading.D_noise) - self.kept["D_noise"])
        noise += held.C * (np.asarray(reading.C_noise) - self.kept["C_noise"])
        return (held.of(reading) - held.of(held_reading_in(self.start))) / scale, float(np.linalg.norm(noise)) / scale

    def tolerance(self, config: RunConfig) -> float:
        """That of C / C0 - 1, with its floor."""
        return relative_tolerance(config.tolerance, config.tolerance_floor, number(self.start.held_C))

    def require_attainable(self, config: RunConfig) -> None:
        """Refuse a tolerance below the noise of the measurement: steps would be judged by their draws.

        Far from the start the draws have nothing in common any more, and the error of C / C0 - 1 grows to about that of C0
        (MNIST: 0.23 and 0.24 %). Where it lies between the tolerance and a ONE_STEP-th of it, steps can be judged, but their
        equivalence test cannot pass; the summary says so.

        Raises:
            WalkFailed: the tolerance is smaller than the error.
        """
        tolerance, error = self.tolerance(config), held_reading_in(self.start).C_se / number(self.start.held_C)
        if not (self.holds_C and config.settle and error > tolerance):
            return
        draws = 4 * math.ceil(config.measure.head_draws * (ONE_STEP * error / tolerance) ** 2 / 4)
        raise WalkFailed(
            f"--tolerance {config.tolerance:g}: the draws of z leave C / C0 uncertain by {100 * error:.2g} % at the start, which is more; "
            f"give --tolerance {2 * ONE_STEP * error:.2g}, or --measure.head-draws {draws} or more, and another --out"
        )

    def told_by_draws(self, rejected: StepRecord, config: RunConfig) -> str | None:
        """What to do if C of a rejected step is off by no more than its draws may be: a shorter step has the same draws."""
        miss, error = rejected.held_drift, rejected.held_drift_se
        if rejected.reason != "drift" or not self.holds_C or miss is None or not error or abs(miss) > LIKELY * error:
            return None
        draws = 4 * math.ceil(config.measure.head_draws * (HEADROOM * error / self.tolerance(config)) ** 2 / 4)
        return (
            f"C is off by {100 * miss:+.2g} +- {100 * error:.2g} %, which may be the draws of z; give --tolerance "
            f"{HEADROOM * error:.2g}, or --measure.head-draws {draws} or more, and another --out"
        )

    def worst(self, reading: Reading, config: RunConfig) -> tuple[float, float]:
        """The condition that is furthest off, relative to its scale, and its standard error; where C has a wider tolerance
        than the others, in parts of that."""
        misses = [self.held_miss(reading)]
        if self.holds_C and self.process.held[0] == LOSS:
            part = config.tolerance / self.tolerance(config)
            misses = [(part * misses[0][0], part * misses[0][1])]
        line = self.line_miss(reading)
        if line is not None:
            misses.append((line[0] / self.aims.scales[1], line[1] / self.aims.scales[1]))
        return max(misses, key=lambda miss: abs(miss[0]))


def remembered(process: Process, tested: Reading, settled: Reading) -> Weights:
    """What later steps need of the start: noise of its judging draws, and what is held on the draws of settles."""
    return {
        "C_noise": np.array(tested.C_noise),
        "D_noise": np.array(tested.D_noise),
        "targets": np.array([held.of(settled) for held in process.held]),
    }
