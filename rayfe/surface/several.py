"""Several losses with a multiplier each: F(lam, gamma) = min of R + lam D + sum_j gamma_j C_j, for k losses C_j.

As with one, dF/dgamma_j = C_j, F is concave, and Hess F is symmetric: with a multiplier each, all k losses stay where they are
while lam goes. Everything here is in k dimensions: gamma and C are arrays (k,).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rayfe.surface.process import BLIND, SingularResponse


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


def response_of_few(read: Neighbours, signs: np.ndarray, gamma: np.ndarray) -> SeveralResponse:
    """What a few pairs of neighbours tell, all of whose multipliers moved at once: the diagonal of C_gamma, and C_lam.

    `signs` (pairs, k) are the directions, the first with all multipliers up together, and the widths of `read` (pairs,) are in log gamma,
    as `gamma` (k,) tells. What other losses' multipliers do to a loss stays in the diagonal, as the mean over signs. D tells C_lam of all
    together; it is shared out by the losses.
    """
    slopes, errors = (change / read.width[:, None] for change in (read.C_up - read.C_down, read.C_noise))
    part = (read.C_up + read.C_down)[0] / (read.C_up + read.C_down)[0].sum()
    return SeveralResponse(
        C_lam=part * (read.D_up - read.D_down)[0] / read.width[0] / gamma,
        C_gamma=np.diag((signs * slopes).mean(0) / gamma),
        C_gamma_se=np.diag(np.linalg.norm(errors, axis=0) / len(signs) / gamma),
        asymmetry=0.0,
    )


def newton(jacobian: np.ndarray, miss: np.ndarray) -> np.ndarray:
    """The step after which nothing is missed to first order, or least."""
    return np.linalg.lstsq(jacobian, -miss)[0]


def broyden(jacobian: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """The Jacobian nearest to `jacobian` by which `step` leads to `change`."""
    return jacobian + np.outer(change - jacobian @ step, step) / (step @ step)
