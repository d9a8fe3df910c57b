"""What a tolerance needs of the draws of z, said before anything walks by it, and where a walk failed by them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rayfe.config import RunConfig
from rayfe.records import Reading, StepRecord
from rayfe.surface.equivalence import Miss, Z
from rayfe.surface.process import LOSS
from rayfe.trajectory.base import WalkFailed
from rayfe.trajectory.draws import BOUND, PART, Limit, Sets, shortfall

BY_DRAWS = ("drift", "not_nearer")
"""Reasons of a rejection that may be the draws'."""
DIGITS = 2
"""Significant digits of a tolerance that is proposed."""


def require_attainable(config: RunConfig, limits: Sequence[Limit], start: Reading, sets: Sets) -> None:
    """Refuse a tolerance that even BOUND sets of draws are too few for: steps would be judged by their draws.

    `start` is the start's reading, with so many `sets`.

    Raises:
        WalkFailed: PART errors of some condition do not fit into what it may be off by.
    """
    for limit in limits:
        factor = shortfall((limit,), start, sets)
        if factor > 1.0:
            raise WalkFailed(_refusal(config, limit, start, factor))


def _refusal(config: RunConfig, limit: Limit, start: Reading, factor: float) -> str:
    C_alone = limit.held == LOSS
    line = not C_alone and config.process == "geodesic" and config.k is None
    option, given = ("--line-tolerance", config.line_tolerance) if line else ("--tolerance", config.tolerance)
    size = start.C if C_alone else limit.allowed / given
    what = "C" if C_alone else "the distance from the line" if line else "what is held or sought"
    error = 100.0 * factor * limit.allowed / (PART * size)
    most = f"{BOUND.head} times --measure.head-draws" if limit.held.C else f"{BOUND.decoder} times --measure.decoder-draws"
    fixes = f"give {option} {rounded_up(factor * limit.allowed / size):g} or more"
    if limit.held.C and not limit.held.D:
        draws = 4 * math.ceil(config.measure.head_draws * factor**2 / 4)
        fixes += f", or --measure.head-draws {draws} or more"
    return (
        f"{option} {given:g}: even {most} leave {what} uncertain by {error:.2g} %, and {PART:g} such errors must fit into the "
        f"tolerance; {fixes}, and another --out"
    )


def told_by_draws(config: RunConfig, rejected: StepRecord, miss: Miss | None) -> str | None:
    """What to do if a rejected step, off by `miss`, may be within the tolerance: a shorter step has the same draws."""
    if rejected.reason not in BY_DRAWS or miss is None or not miss.may_hold:
        return None
    wanted = abs(miss.value) + Z * miss.error
    draws = 4 * math.ceil(config.measure.head_draws * (wanted / miss.tolerance) ** 2 / 4)
    return (
        f"what is held or sought is off by {100 * miss.value:+.2g} +- {100 * miss.error:.2g} %, which may be the draws of z; "
        f"give --tolerance {rounded_up(wanted):g}, or --measure.head-draws {draws} or more, and another --out"
    )


def rounded_up(value: float) -> float:
    """A positive number with two digits that is no smaller."""
    unit = 10.0 ** (math.floor(math.log10(value)) - DIGITS + 1)
    return round(math.ceil(value / unit) * unit, 12)
