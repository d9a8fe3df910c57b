"""Several losses with a multiplier each: F(lam, gamma) = min of R + lam D + sum_j gamma_j C_j, for k losses C_j.

As with one, dF/dgamma_j = C_j, F is concave, and Hess F is symmetric: with a multiplier each, all k losses stay where they are
while lam goes. Everything here is in k dimensions: gamma and C are arrays (k,).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rayfe.surface.process import BLIND, SingularResponse

READINGS = 6
"""Readings that one settle may take for each multiplier."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbours:
    """What was read of models at gamma_j + width_j / 2 and gamma_j - width_j / 2, for each j: a row each."""

    width: np.ndarray
    """(k,)"""
    C_up: np.ndarray
    """(k, k): all k losses of each upper neighbour."""
    C_down: np.ndarray
    D_up: np.ndarray
    """(k,)"""
    D_down: np.ndarray
    C_noise: np.ndarray
    """(k, k): standard errors of C_up - C_down from the draws of z, paired."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeveralResponse:
    """First-order response of k losses to their multipliers and to lam (21), (29)."""

    C_lam: np.ndarray
    """(k,), from dD/dgamma_j (Maxwell)."""
    C_gamma: np.ndarray
    """(k, k), symmetric."""
    C_gamma_se: np.ndarray
    """(k, k), from the draws of z."""
    asymmetry: float
    """Largest difference across the diagonal before it was taken out, over the root of the two diagonal entries: noise, and what
    trainings are too short for."""


def response_of(read: Neighbours) -> SeveralResponse:
    """Central differences between neighbours, of which the symmetric part is kept."""
    slopes = ((read.C_up - read.C_down) / read.width[:, None]).T
    errors = (read.C_noise / read.width[:, None]).T
    size = np.sqrt(np.abs(np.outer(np.diag(slopes), np.diag(slopes))))
    return SeveralResponse(
        C_lam=(read.D_up - read.D_down) / read.width,
        C_gamma=0.5 * (slopes + slopes.T),
        C_gamma_se=0.5 * np.hypot(errors, errors.T),
        asymmetry=float((np.abs(slopes - slopes.T) / size).max()),
    )


def velocity(gamma: np.ndarray, response: SeveralResponse, *, lam_dot: float) -> np.ndarray:
    """gamma_dot (k,) at which no loss changes to first order: C_gamma gamma_dot = -C_lam lam_dot, which is (31) for k = 1.

    Raises:
        SingularResponse: C_gamma, in logarithms of the multipliers, is not negative definite by BLIND standard errors: some
            combination of the losses cannot be held (`gamma_blind`).
    """
    scale = np.outer(gamma, gamma)
    highest = float(np.linalg.eigvalsh(response.C_gamma * scale)[-1])
    error = float(np.linalg.norm(response.C_gamma_se * scale))
    if highest >= -BLIND * error:
        what = f"the highest eigenvalue of C_gamma is {highest:.3g} +- {error:.2g} in log gamma, not below zero"
        raise SingularResponse("gamma_blind", what)
    return np.linalg.solve(response.C_gamma, -response.C_lam * lam_dot)


@dataclass(frozen=True, kw_only=True, slots=True)
class SettledSeveral:
    """Where a settle ended: the multipliers, and the losses that were read there."""

    gamma: np.ndarray
    C: np.ndarray
    readings: int


def settled(
    read: Callable[[np.ndarray], np.ndarray],
    gamma: np.ndarray,
    target: np.ndarray,
    C_gamma: np.ndarray,
    *,
    allowed: np.ndarray,
    reach: np.ndarray,
) -> SettledSeveral:
    """Newton's method on measured losses, C(gamma) = `target`, with Broyden's corrections of C_gamma.

    `read` gives the k losses of the model that the chart has at a gamma; all are arrays (k,). It ends where each loss is within
    `allowed`, or after READINGS * k readings. No multiplier goes further than `reach` from where it began; the best of what
    was read is returned, so whoever asks looks at C.
    """
    start, slope = gamma, C_gamma
    miss = read(gamma) - target
    best = SettledSeveral(gamma=gamma, C=miss + target, readings=1)
    smallest = _size(miss, allowed)
    for readings in range(2, READINGS * len(gamma) + 1):
        if smallest <= 1.0:
            break
        there = np.clip(gamma + newton(slope, miss), start - reach, start + reach)
        if np.array_equal(there, gamma):
            break
        found = read(there) - target
        if not np.isfinite(found).all():
            break
        slope = broyden(slope, there - gamma, found - miss)
        gamma, miss = there, found
        if _size(miss, allowed) < smallest:
            best, smallest = SettledSeveral(gamma=gamma, C=miss + target, readings=readings), _size(miss, allowed)
    return best


def _size(miss: np.ndarray, allowed: np.ndarray) -> float:
    return float((np.abs(miss) / allowed).max())


def newton(jacobian: np.ndarray, miss: np.ndarray) -> np.ndarray:
    """The step after which nothing is missed to first order, or least."""
    return np.linalg.lstsq(jacobian, -miss)[0]


def broyden(jacobian: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """The Jacobian nearest to `jacobian` by which `step` leads to `change`."""
    return jacobian + np.outer(change - jacobian @ step, step) / (step @ step)
