"""Where the next step leads: the response's velocity at first, then the way that the last steps went."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rayfe.config import RunConfig
from rayfe.records import StepRecord, Velocity, Weights
from rayfe.records.columns import number, response_in
from rayfe.records.kinds import STATIONARY
from rayfe.records.weights import along, slope
from rayfe.surface.process import Process

SPAN = 2
"""Steps over which a settled walk's slope is taken: fewer are noisier, more miss how it changes."""
SHORT = 0.5
"""Part of the next step below which a way is too short to tell a slope from the noise of its settles: that of what is left of
the way there, where it turns."""
BOUNDARY_LAYER = 0.1
"""Where a small first step is asked for, the t up to which rates are taken to be too steep to predict with."""


def predicted_velocity(process: Process, rows: Sequence[StepRecord], config: RunConfig, length: float) -> Velocity:
    """The velocity of the next step, of this length, from the last SPAN + 1 accepted rows, or as many as there are.

    Raises:
        SingularResponse: the response does not determine it.
    """
    branch = _branch(rows)
    here = branch[-1].point
    length = min(length, process.left(here))
    if len(branch) > 1 and config.asked.settle and process.predicted_by == "secant":
        return _secant_velocity(process, branch[-2:], config.asked.step_length_first or config.asked.step_length, length)
    if len(branch) > 1 and config.asked.settle and process.predicted_by == "mean slope":
        return _mean_velocity(process, branch, length)
    return _velocity(process, branch[-2:])


def ahead(now: Weights, before: Weights, ratio: float) -> Weights:
    """now + r (now - before), `ratio` r of the next step to the last one, at most 1: it removes the steady lag."""
    return along(now, slope(now, before, 1.0), min(1.0, ratio))


def _branch(rows: Sequence[StepRecord]) -> Sequence[StepRecord]:
    """The rows since the last one that led to another branch."""
    begins = [place for place, row in enumerate(rows) if row.kind in STATIONARY]
    return rows[begins[-1] :] if begins else rows


def _velocity(process: Process, rows: Sequence[StepRecord]) -> Velocity:
    """The response's velocity, plus what the last step did beyond its own: the settle's shift, which repeats.

    To second order this is the slope at the middle of the next step, and nothing where nothing was settled.
    """
    velocities = [process.velocity(row.point, response_in(row)) for row in rows]
    if len(rows) == 1:
        return velocities[0]
    before, last = rows
    beyond = (last.gamma - before.gamma) / number(last.step_length) - velocities[0].gamma
    beyond_lam = 0.0
    if "lam" in process.moved_by:
        beyond_lam = (last.lam - before.lam) / number(last.step_length) - velocities[0].lam
    return Velocity(lam=velocities[1].lam + beyond_lam, gamma=velocities[1].gamma + beyond)


def _mean_velocity(process: Process, rows: Sequence[StepRecord], length: float) -> Velocity:
    """Along the mean slope over the last steps, each of which a settle has put on the surface: that of gamma where it falls,
    perhaps to zero, and of log gamma where it grows.

    The response is that of an equilibration of T updates, with noise that repeats until the next refresh: over the 69 steps of
    four walks on MNIST it and the last settle's shift missed the next gamma by 5.2 % (root mean square), this slope by 3.7 %
    (`tests/trajectory/test_prediction.py`, rows of analysis/results/mnist-walk and mnist-walk-without-renewal).
    """
    first, last = rows[0], rows[-1]
    gone = sum(number(row.step_length) for row in rows[1:])
    at_last = process.velocity(last.point, response_in(last))
    if gone < SHORT * length:
        return at_last
    slope = (last.gamma - first.gamma) / gone
    if last.gamma > first.gamma:
        slope = last.gamma * math.expm1(math.log(last.gamma / first.gamma) * length / gone) / length
    return Velocity(lam=at_last.lam, gamma=slope)


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
