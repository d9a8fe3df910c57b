"""Velocity -> next point: the length of steps in log lam, and what is accepted."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rayfe.records import Outcome, Point, Velocity

GROWTH = 1.3
"""Largest growth of the step length from one step to the next (a wild ratio would upset the predictor)."""
MOVES = 2
"""Attempts at one step length that move the stencil in gamma before the step is halved."""
GAMMA_FRACTION = 0.5
"""A step may lower gamma to this fraction at most; shorter steps locate where gamma would reach zero."""
GAMMA_FLOOR = 0.02
"""Below this fraction of the start's gamma, C0 no longer binds: the walk ends as `gamma_zero`."""

REJECTED = ("drift", "settle_range", "not_equilibrated", "nonfinite")
STOPS = ("gamma_zero", "gamma_blind")


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """Where the next step leads, and how long it is in log lam."""

    point: Point
    length: float


def propose(point: Point, velocity: Velocity, *, length: float, lam_end: float) -> Proposal:
    """One Euler step in log lam, gamma moved along; it ends exactly at `lam_end` rather than beyond it.

    Log lam because ten steps equal in it follow a power-law surface better than ten equal in lam. The step
    is shortened where gamma would fall below half.
    """
    to_end = math.log(lam_end / point.lam)
    wanted = min(length, to_end)
    if velocity.gamma * wanted < -GAMMA_FRACTION * point.gamma:
        wanted = GAMMA_FRACTION * point.gamma / -velocity.gamma
    lam = lam_end if wanted == to_end else point.lam * math.exp(wanted)
    return Proposal(point=Point(lam=lam, gamma=point.gamma + velocity.gamma * wanted, t=point.t), length=wanted)


def moved(proposal: Proposal, *, gamma: float, miss: float, C_gamma: float) -> Proposal:
    """The same step in lam with another gamma, after a settle that ended at its bound `gamma` with C off by `miss`.

    One Newton step further, at most by half: where C0 lies outside the chart, the stencil has to move.
    """
    wanted = gamma - miss / C_gamma
    low, high = 0.5 * proposal.point.gamma, 1.5 * proposal.point.gamma
    point = Point(lam=proposal.point.lam, gamma=min(max(wanted, low), high), t=proposal.point.t)
    return Proposal(point=point, length=proposal.length)


def gamma_vanishes(point: Point, *, start_gamma: float) -> bool:
    """Whether gamma is so small that the loss is no longer held by it (`gamma_zero`)."""
    return point.gamma <= GAMMA_FLOOR * start_gamma


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    accepted: bool
    reason: str | None
    """Why not, one of REJECTED; None if accepted."""
    next_length: float


def judge(
    *,
    outcome: Outcome,
    relative_drift: float | None,
    drift_se: float,
    shift_used: float,
    attempt: int,
    length: float,
    longest: float,
    tolerance: float,
) -> Verdict:
    """Accept or reject an attempted step and choose the next length.

    `relative_drift` is C / C0 - 1 on draws that the settle did not see (None: C is not controlled). It must be
    smaller than the tolerance by two standard errors, so that the equivalence test over a walk has a chance; where
    the measurement is too coarse for that, it must be within two standard errors of zero.
    `shift_used` how much of the chart's range the settle used, in [0, 1]; at 1 C0 lies outside the chart, and the
    next attempt moves the stencil (`moved`) before it shortens the step.
    """
    if outcome is not Outcome.OK:
        return Verdict(accepted=False, reason=str(outcome).lower(), next_length=0.5 * length)
    if relative_drift is not None and abs(relative_drift) > max(tolerance - 2.0 * drift_se, 2.0 * drift_se):
        if shift_used >= 1.0:
            move = attempt % (MOVES + 1) < MOVES
            return Verdict(accepted=False, reason="settle_range", next_length=length if move else 0.5 * length)
        return Verdict(accepted=False, reason="drift", next_length=0.5 * length)
    return Verdict(accepted=True, reason=None, next_length=min(longest, GROWTH * length))
