"""Two numbers for a whole curve of rate against distortion: dominated hypervolume and Bjontegaard's delta rate."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator


def hypervolume(R: np.ndarray, D: np.ndarray, *, corner: tuple[float, float]) -> float:
    """Area of the points (R, D) below `corner` that some model (R_j, D_j), each (M,), dominates; nats times squared pixels."""
    inside = (R < corner[0]) & (D < corner[1])
    order = np.lexsort((D[inside], R[inside]))
    rate, lowest = R[inside][order], np.minimum.accumulate(D[inside][order])
    widths = np.diff(np.append(rate, corner[0]))
    return float(np.sum(widths * (corner[1] - lowest)))


def bd_rate(R: np.ndarray, D: np.ndarray, *, than: tuple[np.ndarray, np.ndarray]) -> float:
    """Mean of log R - log R' at equal log D over the range that a curve (R, D) and the one `than` have in common, in per cent more
    rate (Bjontegaard 2001, by monotone cubics); NaN where they have none, or fewer than two points."""
    curves = [_by_distortion(R, D), _by_distortion(*than)]
    if any(len(x) < 2 for x, _ in curves):
        return float("nan")
    low, high = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    if not low < high:
        return float("nan")
    ours, theirs = (float(PchipInterpolator(x, y).integrate(low, high)) / (high - low) for x, y in curves)
    return 100.0 * float(np.expm1(ours - theirs))


def _by_distortion(R: np.ndarray, D: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log D, increasing, and log R of the models with some rate that no other one dominates."""
    D, R = D[R > 0.0], R[R > 0.0]
    order = np.lexsort((R, D))
    D, R = D[order], R[order]
    front = R < np.minimum.accumulate(np.append(np.inf, R))[:-1]
    return np.log(D[front]), np.log(R[front])
