"""What a tolerance needs of the draws of z, said before anything walks by it, and where a walk failed by them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from rayfe.config import RunConfig
from rayfe.exceptions import WalkFailed
from rayfe.records import Held, Reading, StepRecord
from rayfe.surface.equivalence import Miss, Z
from rayfe.surface.process import LOSS
from rayfe.trajectory.draws import BOUND, PART, Limit, Sets, shortfall
from rayfe.trajectory.line import LINE_TOLERANCE
from rayfe.trajectory.process_registry import process_class

BY_DRAWS = ("drift", "not_nearer")
"""Reasons of a rejection that may be the draws'."""
DIGITS = 2
"""Significant digits of a tolerance that is proposed."""


OFF_LINE = "give --k, whose line is kept to --tolerance of D, or --process constant-rate"
"""What to do where the draws do not tell how far a geodesic is off its line: by how much it may be is no option."""


class Named(NamedTuple):
    """The option that says how far a condition may be off (None: there is none), how far that is, and the condition in words."""

    option: str | None
    given: float
    what: str


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
    option, given, what = _named(config, limit.held)
    size = start.C if limit.held == LOSS else limit.allowed / given
    error = 100.0 * factor * limit.allowed / (PART * size)
    most = f"{BOUND.head} times --measure.head-draws" if limit.held.C else f"{BOUND.decoder} sets of draws through the decoder"
    fixes = OFF_LINE if option is None else f"give {option} {rounded_up(factor * limit.allowed / size):g} or more"
    if _has_head_draws_alone(limit.held):
        fixes += f", or --measure.head-draws {_times(config, factor**2)} or more"
    asked = "its tolerance" if option is None else option
    return (
        f"{asked} {given:g}: even {most} leave {what} uncertain by {error:.2g} %, and {PART:g} such errors must fit into the "
        f"tolerance; {fixes}, and another --out"
    )


def told_by_draws(config: RunConfig, rejected: StepRecord, held: Sequence[Held], misses: Sequence[Miss]) -> str | None:
    """What to do if a rejected step may be within the tolerance: a shorter step has the same draws.

    `misses` are those of the conditions `held`, of as many as the row has. None: nothing failed, or more draws would not help.
    """
    if rejected.reason not in BY_DRAWS:
        return None
    failed = [(condition, miss) for condition, miss in zip(held, misses, strict=False) if not miss.passes]
    if not failed or not all(miss.may_hold for _, miss in failed):
        return None
    return "; ".join(_advice(config, condition, miss) for condition, miss in failed) + ", and another --out"


def _advice(config: RunConfig, held: Held, miss: Miss) -> str:
    option, given, what = _named(config, held)
    unit = 1.0 if held == LOSS else miss.tolerance / given
    fixes = OFF_LINE if option is None else f"give {option} {rounded_up((abs(miss.value) + Z * miss.error) / unit):g} or more"
    if _has_head_draws_alone(held) and abs(miss.value) < miss.tolerance:  # draws shrink the error, not the miss
        draws = _times(config, (Z * miss.error / (miss.tolerance - abs(miss.value))) ** 2)
        fixes += f", or --measure.head-draws {draws} or more"
    value, error = 100.0 * miss.value / unit, 100.0 * miss.error / unit
    return f"{what} is off by {value:+.2g} +- {error:.2g} %, which may be the draws of z; {fixes}"


def _named(config: RunConfig, held: Held) -> Named:
    if held == LOSS:
        return Named("--tolerance", config.asked.tolerance, "C")
    if not config.asked.seek and config.asked.k is None and process_class(config.process).along_line:
        return Named(None, LINE_TOLERANCE, "the distance from the line")
    return Named("--tolerance", config.asked.tolerance, "what is held or sought")


def _has_head_draws_alone(held: Held) -> bool:
    """Whether all the error of a condition is of the draws through the head."""
    return bool(held.C) and not held.D


def _times(config: RunConfig, factor: float) -> int:
    """Head draws, a multiple of 4, that are so many times the given ones."""
    return 4 * math.ceil(config.measure.head_draws * factor / 4)


def rounded_up(value: float) -> float:
    """A positive number with two digits that is no smaller."""
    unit = 10.0 ** (math.floor(math.log10(value)) - DIGITS + 1)
    return round(math.ceil(value / unit) * unit, 12)
