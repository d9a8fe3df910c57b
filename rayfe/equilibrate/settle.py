"""Settling: the shifts of a chart theta(a) = theta + sum of a_m tangent_m at which what is held has its target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rayfe.records import Functionals, SettleRequest
from rayfe.weights import along

EVALUATIONS = 6
"""Measurements that one settle may take for each multiplier that it moves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Root:
    shift: np.ndarray
    before: Functionals
    """At shift 0."""
    after: Functionals
    """At `shift`; the target is missed where a bound was met."""
    evaluations: int


def settled_weights(request: SettleRequest, shift: np.ndarray) -> dict[str, np.ndarray]:
    """theta(a), the weights of the chart at the shifts `shift`, one for each tangent of the request."""
    weights = request.weights
    for tangent, amount in zip(request.tangents.values(), shift.tolist(), strict=True):
        weights = along(weights, tangent, amount)
    return dict(weights)


def find_shift(request: SettleRequest, read: Callable[[np.ndarray], Functionals]) -> Root:
    """Broyden's search from no shift and the request's Jacobian, within its reach; with one multiplier, the secant method.

    Every evaluation is a measurement of a model, so the fewest are wanted: scipy's bracketing methods spend two on the
    bounds before they begin, its Broyden one on each column of the Jacobian. The best shift seen is returned, also
    if the search ends at a bound; no error is raised.
    """
    targets, scales = np.array(request.targets), np.array(request.scales)
    reach = np.array([request.reach[multiplier] for multiplier in request.tangents])
    # In units of scales and reach, so that the search does not depend on units.
    jacobian = np.array(request.jacobian) * reach[None, :] / scales[:, None]

    def miss(functionals: Functionals) -> np.ndarray:
        return (np.array([held.of(functionals) for held in request.held]) - targets) / scales

    shift = np.zeros(len(reach))
    before = read(shift)
    current = miss(before)
    best, best_read, best_size = shift, before, float(np.abs(current).max())
    evaluations, seen = 1, [shift]
    while best_size > request.accuracy and evaluations < EVALUATIONS * len(reach):
        candidate = np.clip(shift + _newton(jacobian, current), -1.0, 1.0)
        if not np.isfinite(candidate).all() or any(np.array_equal(candidate, old) for old in seen):
            break  # at a bound, or the Jacobian says nothing
        found = read(candidate * reach)
        evaluations, step, change = evaluations + 1, candidate - shift, miss(found) - current
        jacobian = jacobian + np.outer(change - jacobian @ step, step) / (step @ step)
        shift, current = candidate, current + change
        seen.append(shift)
        size = float(np.abs(current).max())
        if size < best_size:
            best, best_read, best_size = shift, found, size
    return Root(shift=best * reach, before=before, after=best_read, evaluations=evaluations)


def _newton(jacobian: np.ndarray, miss: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(jacobian, -miss)[0]
