"""Velocity -> next point: the length of steps, and what is accepted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rayfe.records import Outcome, Point, Velocity
from rayfe.surface.equivalence import Miss, all_pass
from rayfe.surface.process import Process

MOVES = 3
"""Moves beyond the bounds of its chart that one attempt makes before the step is halved; only the last has a stencil, which
costs as much as two or four moves without one."""
ROUNDING = 1e-6
"""Part by which a step may be longer than asked for, so that no rounding error is left of the way after it."""
SHORTEST, SHORTEST_OF_FIRST = 0.005 / 0.13, 0.1
"""A walk fails whose steps would have to be shorter than this part of the longest; of the first, where that has its own length."""
GAMMA_FRACTION = 0.5
"""A step may lower gamma to this fraction at most; shorter steps locate where gamma would reach zero."""
GAMMA_FLOOR = 0.02
"""Below this fraction of the start's gamma, C0 no longer binds: the walk ends as `gamma_zero`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """Where the next step leads, and how much progress it makes (in log lam, or in t)."""

    point: Point
    length: float


def propose(process: Process, point: Point, velocity: Velocity, *, length: float) -> Proposal:
    """One Euler step of the process, ending exactly at its end rather than beyond it.

    Progress of a walk is log lam because ten steps equal in it follow a power-law surface better than ten equal in
    lam. The step is shortened where gamma would fall below half.
    """
    left = process.left(point)
    wanted = left if left <= length * (1.0 + ROUNDING) else length
    moved = process.moved(point, velocity, wanted)
    if moved.gamma < GAMMA_FRACTION * point.gamma and velocity.gamma < 0.0:
        wanted = GAMMA_FRACTION * point.gamma / -velocity.gamma
        moved = process.moved(point, velocity, wanted)
    return Proposal(point=moved, length=wanted)


def moved_on(point: Point, at: Point, correction: Mapping[str, float]) -> Point:
    """Where to train next, after a settle at `point` that ended `at` the bounds of its chart.

    One Newton step further (`correction`, by multiplier), at most by half: what is held lies outside the chart.
    """

    def of(multiplier: str) -> float:
        here, wanted = getattr(point, multiplier), getattr(at, multiplier) + correction.get(multiplier, 0.0)
        return min(max(wanted, 0.5 * here), 1.5 * here) if multiplier in correction else here

    return dataclasses.replace(point, lam=of("lam"), gamma=of("gamma"))


def gamma_vanishes(point: Point, *, start_gamma: float) -> bool:
    """Whether gamma is so small that the loss is no longer held by it (`gamma_zero`)."""
    return point.gamma <= GAMMA_FLOOR * start_gamma


def shortest_step(longest: float, first: float | None) -> float:
    """The length below which a walk has failed; `first`: the length of its first step, where that has one of its own."""
    return SHORTEST * longest if first is None else SHORTEST_OF_FIRST * first


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """Whether the walk goes on from an attempt."""

    accepted: bool
    reason: str | None
    """Why not: drift, settle_range, not_equilibrated, nonfinite, renewal (a new model in vain), not_nearer (of seeks), or the name of a
    stop; None if accepted."""
    next_length: float | None
    """Length of the next step; None after a stop."""


def judge(
    *, outcome: Outcome, misses: Sequence[Miss], shift_used: float, length: float, longest: float, growth: float
) -> Judgement:
    """Accept or reject an attempted step and choose the next length, at most `growth` times this one.

    `misses` are those of everything that is held, on draws that the settle did not see (none: nothing is controlled). Each must
    pass the test that the whole walk will be put to (`surface.equivalence`). `shift_used` is how much of the chart's range the last
    settle used, in [0, 1]; at 1 the target lay outside the chart, also after its moves.
    """
    if outcome is not Outcome.OK:
        return Judgement(accepted=False, reason=str(outcome).lower(), next_length=0.5 * length)
    if not all_pass(misses):
        reason = "settle_range" if shift_used >= 1.0 else "drift"
        return Judgement(accepted=False, reason=reason, next_length=0.5 * length)
    return Judgement(accepted=True, reason=None, next_length=min(longest, growth * length))
