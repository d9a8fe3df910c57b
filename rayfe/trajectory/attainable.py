"""What a tolerance needs of the draws of z, said before anything walks by it; and of a walk that failed which condition did, and by
what the same step would have passed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from rayfe.config import RunConfig
from rayfe.exceptions import WalkFailed
from rayfe.records import Reading, StepRecord
from rayfe.surface.equivalence import Miss, Z
from rayfe.surface.process import LOSS
from rayfe.trajectory.draws import BOUND, PART, Limit, Sets, shortfall
from rayfe.trajectory.line import LINE_TOLERANCE
from rayfe.trajectory.process_registry import process_class

BY_DRAWS = ("drift", "not_nearer")
"""Reasons of a rejection that may be the draws'."""
DIGITS = 2
"""Significant digits of a tolerance that is proposed."""
OFF_LINE = "give ``k``, whose line is kept to ``tolerance`` of D, or ``process=constant-rate``"
"""What to do where the draws do not tell how far a geodesic is off its line: by how much it may be is no option."""
LONGER = "more ``equilibration.epochs``"
UNTRAINED: Mapping[str, str] = MappingProxyType(
    {
        "not_equilibrated": "training ended with a higher free energy than it began with, also by shorter steps and lower learning rates; "
        f"give {LONGER}, or a lower ``equilibration.learning_rate``",
        "nonfinite": "a number became infinite or undefined, also by shorter steps and lower learning rates; give a lower "
        "``equilibration.learning_rate``",
    }
)
"""Of attempts that were rejected before anything that is held was looked at: what happened, and what to do."""


class Named(NamedTuple):
    """The field that says how far a condition may be off (None: there is none), how far that is, and the condition in words."""

    field: str | None
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
    named = _named(config, limit)
    size = limit.held.scale(start) if limit.held == LOSS else limit.allowed / named.given
    error = 100.0 * factor * limit.allowed / (PART * size)
    most = (
        f"{BOUND.head} times ``measure.head_draws``" if limit.held.C else f"{BOUND.decoder} sets of draws through the decoder"
    )
    fixes = OFF_LINE if named.field is None else f"give {_or_more(named.field, factor * named.given)}"
    if _has_head_draws_alone(limit):
        fixes += f", or ``measure.head_draws={_times(config, factor**2)}`` or more"
    asked = f"its tolerance {named.given:g}" if named.field is None else f"``{named.field}={named.given!r}``"
    return (
        f"{asked}: even {most} leave {named.what} uncertain by {error:.2g} %, and {PART:g} such errors must fit into the "
        f"tolerance; {fixes}, and another ``out``"
    )


def told_by_draws(
    config: RunConfig, rejected: StepRecord, start: Reading, limits: Sequence[Limit], misses: Sequence[Miss]
) -> str | None:
    """What to do if a rejected step may be within the tolerance: a shorter step has the same draws.

    `misses` are those of `limits`, of as many as the row has. None: nothing failed, or more draws would not help.
    """
    failed = _failed(limits, misses)
    if rejected.reason not in BY_DRAWS or not failed or not all(miss.may_hold for _, miss in failed):
        return None
    return _advised(config, start, failed)


def why_failed(
    config: RunConfig, rejected: StepRecord, start: Reading, limits: Sequence[Limit] = (), misses: Sequence[Miss] = ()
) -> str:
    """Why a walk failed whose last attempt is `rejected`: the conditions that did, how far they were off and may be, and what would
    have let the same step pass. `limits` and `misses` are as for `told_by_draws`."""
    reason = str(rejected.reason)
    if failed := _failed(limits, misses):
        reach = "what is wanted lay outside the range of the measured tangent; " if reason == "settle_range" else ""
        return reach + _advised(config, start, failed)
    return f"{UNTRAINED[reason]}, and another ``out``" if reason in UNTRAINED else reason


def _failed(limits: Sequence[Limit], misses: Sequence[Miss]) -> list[tuple[Limit, Miss]]:
    return [(limit, miss) for limit, miss in zip(limits, misses, strict=False) if not miss.passes]


def _advised(config: RunConfig, start: Reading, failed: Sequence[tuple[Limit, Miss]]) -> str:
    return "; ".join(_advice(config, start, limit, miss) for limit, miss in failed) + ", and another ``out``"


def _advice(config: RunConfig, start: Reading, limit: Limit, miss: Miss) -> str:
    """That one condition failed, and by what the same step would have passed."""
    named, needed = _named(config, limit), (abs(miss.value) + Z * miss.error) / miss.tolerance
    fixes = [] if miss.may_hold else [LONGER]
    if named.field is None:
        fixes += _other_ways(config, start, limit, needed * limit.allowed)
    elif (value := needed * named.given) < 1.0:
        fixes.append(_or_more(named.field, value))
    if _has_head_draws_alone(limit) and abs(miss.value) < miss.tolerance:  # draws shrink the error, not the miss
        draws = _times(config, (Z * miss.error / (miss.tolerance - abs(miss.value))) ** 2)
        fixes.append(f"``measure.head_draws={draws}`` or more")
    part = 100.0 if named.field == "tolerance_floor" else 100.0 * named.given / miss.tolerance
    value, error, most = part * miss.value, part * miss.error, part * miss.tolerance
    why = "which may be the draws of z" if miss.may_hold else f"and may be by {most:.3g} %"
    return f"{named.what} is off by {value:+.2g} +- {error:.2g} %, {why}; give {', or '.join(fixes)}"


def _named(config: RunConfig, limit: Limit) -> Named:
    asked = config.asked
    if limit.held == LOSS:
        by_floor = not asked.seek and limit.allowed == asked.tolerance_floor
        return Named("tolerance_floor", asked.tolerance_floor, "C") if by_floor else Named("tolerance", asked.tolerance, "C")
    if not asked.seek and asked.k is None and process_class(config.process).along_line:
        return Named(None, LINE_TOLERANCE, "the distance from the line")
    return Named("tolerance", asked.tolerance, "what is held or sought")


def _other_ways(config: RunConfig, start: Reading, limit: Limit, needed: float) -> list[str]:
    """The line's slope as the user's own, which may be missed by `tolerance` of D, if a miss of `needed` would pass so; and no line."""
    wide, kept = needed / abs(start.D), f"``k={-limit.held.R:.4g}``, whose line is kept to ``tolerance`` of D"
    own = [] if wide >= 1.0 else [kept if wide <= config.asked.tolerance else f"{kept}, with {_or_more('tolerance', wide)}"]
    return [*own, "``process=constant-rate``"]


def _or_more(field: str, value: float) -> str:
    return f"``{field}={rounded_up(value):g}`` or more"


def _has_head_draws_alone(limit: Limit) -> bool:
    """Whether all the error of a condition is of the draws through the head."""
    return bool(limit.held.C) and not limit.held.D


def _times(config: RunConfig, factor: float) -> int:
    """Head draws, a multiple of 4, that are so many times the given ones."""
    return 4 * math.ceil(config.measure.head_draws * factor / 4)


def rounded_up(value: float) -> float:
    """A positive number with two digits that is no smaller."""
    unit = 10.0 ** (math.floor(math.log10(value)) - DIGITS + 1)
    return round(math.ceil(value / unit) * unit, 12)
