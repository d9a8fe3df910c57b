"""Where the next step leads: the response's velocity, corrected by what the last steps did beyond it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rayfe.config import RunConfig
from rayfe.records import Point, StepRecord, Velocity
from rayfe.rows import number, response_in
from rayfe.surface.process import Process
from rayfe.surface.stepper import extrapolated

BOUNDARY_LAYER = 0.1
"""Where a small first step is asked for, the t up to which rates are taken to be too steep to predict with."""


def predicted_velocity(process: Process, rows: Sequence[StepRecord], config: RunConfig, length: float) -> Velocity:
    """The velocity of the next step, of this length, from the last one or two accepted rows.

    Raises:
        SingularResponse: the response does not determine it.
    """
    if config.moves_data and config.settle and len(rows) == 2:
        return _secant_velocity(process, rows, config.step_length_first or config.step_length, length)
    if config.order == 2 and len(rows) == 2 and rows[-1].step_length:
        before, last = (process.velocity(_point(row), response_in(row)) for row in rows)
        return extrapolated(before, last, ratio=min(length, process.left(_point(rows[-1]))) / rows[-1].step_length)
    return _velocity(process, rows)


def _point(row: StepRecord) -> Point:
    return Point(lam=row.lam, gamma=row.gamma, t=row.t)


def _velocity(process: Process, rows: Sequence[StepRecord]) -> Velocity:
    """The response's velocity, plus what the last step did beyond its own: the settle's shift, which repeats.

    To second order this is the slope at the middle of the next step, and nothing where nothing was settled. After
    a renewal, which is a step of no length on another branch, it is the response's alone.
    """
    rows = rows if rows[-1].step_length else rows[-1:]
    velocities = [process.velocity(_point(row), response_in(row)) for row in rows]
    if len(rows) == 1:
        return velocities[0]
    before, last = rows
    beyond = (last.gamma - before.gamma) / number(last.step_length) - velocities[0].gamma
    beyond_lam = 0.0
    if "lam" in process.moved_by:
        beyond_lam = (last.lam - before.lam) / number(last.step_length) - velocities[0].lam
    return Velocity(lam=velocities[1].lam + beyond_lam, gamma=velocities[1].gamma + beyond)


def _secant_velocity(process: Process, rows: Sequence[StepRecord], first: float, length: float) -> Velocity:
    """Along a data path: the last step's slope of log multiplier against log (t + first step).

    Where the target's classes are new, rates go like 1/t, and what a stencil says at one t is wrong at the next. Later,
    too, a response after T updates misses what training on the new data still does to C, which repeats from step
    to step: rates predicted gamma worse than the secant (MNIST 0-4 to 5-9).
    """
    before, last = rows
    ratio = math.log1p(length / (last.t + first)) / math.log((last.t + first) / (before.t + first))

    def rate(old: float, now: float) -> float:
        return now * math.expm1(math.log(now / old) * ratio) / length

    lam = rate(before.lam, last.lam) if "lam" in process.moved_by else _velocity(process, rows).lam
    return Velocity(lam=lam, gamma=rate(before.gamma, last.gamma))
