"""Finite differences in t, within [0, 1]."""

from __future__ import annotations


def difference(t: float, step: float) -> tuple[tuple[float, float], ...]:
    """Times and factors of a first derivative of second order within [0, 1]."""
    if t < step:
        return (t, -1.5 / step), (t + step, 2.0 / step), (t + 2 * step, -0.5 / step)
    if t > 1.0 - step:
        return (t, 1.5 / step), (t - step, -2.0 / step), (t - 2 * step, 0.5 / step)
    return (t - step, -0.5 / step), (t + step, 0.5 / step)
