"""The noise of values along a walk: residuals of a local polynomial fit, which a smooth surface does not have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DEGREE = 2
"""Of the local polynomials: the curvature of a surface over a few steps is not noise."""
WINDOW = 7
"""Neighbouring values that each polynomial is fitted to."""
FEWEST = 5
"""Values below which there are no residuals to speak of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scatter:
    """What the residuals of a local fit say of independent noise of one size."""

    sd: float
    """Standard deviation of a single value about the smooth curve; NaN where it cannot be told."""
    freedom: float
    """Degrees of freedom that it was estimated from."""


UNKNOWN = Scatter(sd=float("nan"), freedom=0.0)


def scatter(x: np.ndarray, y: np.ndarray) -> Scatter:
    """Noise of y, (N,), about a curve that is smooth in x, (N,), increasing: each value is compared with a quadratic
    through its WINDOW nearest ones, itself included.

    A residual is (e_i - s_i) . y, with s_i the row of the fit, so sum of squares over sum of |e_i - s_i|^2 is
    unbiased for the variance of independent noise. What a curve bends beyond a quadratic adds to it; noise that lasts
    over several values follows the curve and is not in it.
    """
    if len(x) < FEWEST or not np.isfinite(y).all() or not (np.diff(x) > 0).all():
        return UNKNOWN
    filters = np.eye(len(x)) - _smoother(x)
    gram = filters.T @ filters
    trace = float(np.trace(gram))
    variance = float(np.square(filters @ y).sum()) / trace  # not y' gram y, which cancels badly
    return Scatter(sd=float(np.sqrt(max(variance, 0.0))), freedom=trace**2 / float((gram * gram).sum()))


def _smoother(x: np.ndarray) -> np.ndarray:
    """(N, N): row i weighs the values so that they give the local polynomial's value at x_i."""
    width = min(WINDOW, len(x))
    rows = np.zeros((len(x), len(x)))
    for i, at in enumerate(x):
        near = np.sort(np.argsort(np.abs(x - at), kind="stable")[:width])
        scale = np.abs(x[near] - at).max()
        powers = ((x[near] - at) / scale)[:, None] ** np.arange(DEGREE + 1)
        rows[i, near] = np.linalg.pinv(powers)[0]
    return rows
