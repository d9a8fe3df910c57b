"""F_t, the slope of J along a data path at fixed weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

from rayfe.data.device_path import DevicePath
from rayfe.model.protocol import Representation
from rayfe.records import Point
from rayfe.training.batch_norm import BatchNorm, recompute_statistics
from rayfe.training.drawing import Drawing, Effort
from rayfe.training.measure import read_draws

SLOPE_DRAWS = 32
"""Draws of z per example through the classifier for F_t."""
SLOPE_STEP = 0.001
"""Distance in t of the differences for F_t. On MNIST (0-4 to 5-9) float32 rounds F_t = 61 by 0.002 there, and steps up to 0.008 say the
same; where a new class is rare, batch-norm changes faster."""


def slope_in_t(model: Representation, path: DevicePath, point: Point, *, drawing: Drawing, key: Callable[[str], int]) -> float:
    """F_t = dJ/dt at fixed weights.

    A difference of second order over SLOPE_STEP, central or at the ends one-sided, of J(t) with the noise of each example the same and
    batch-norm statistics recomputed at each t. The model's own statistics are left as they were.
    """
    effort, drawing = Effort(), slope_drawing(drawing)
    kept = [(layer, layer.running_mean, layer.running_var) for layer in model.modules() if isinstance(layer, BatchNorm)]
    slope = 0.0
    for t, factor in difference(point.t, SLOPE_STEP):
        recompute_statistics(model, path, t, chunk=drawing.chunk, most=drawing.whole, key=partial(_named, key, "statistics"))
        for stratum in path.present(t):
            mean = read_draws(model, stratum, t, drawing=drawing, key=key(stratum.name), effort=effort).mean
            J = mean.R.double() + point.lam * mean.D.double() + point.gamma * mean.C.double()
            slope += factor * float(J @ stratum.weights(slice(None), t))
    for layer, mean_before, variance_before in kept:
        layer.running_mean, layer.running_var = mean_before, variance_before
    return slope


def slope_drawing(drawing: Drawing) -> Drawing:
    """How J is read for F_t."""
    return dataclasses.replace(drawing, head_draws=SLOPE_DRAWS, decoder_draws=2)


def _named(key: Callable[[str], int], purpose: str, stratum: str) -> int:
    return key(f"{purpose} {stratum}")


def difference(t: float, step: float) -> tuple[tuple[float, float], ...]:
    """Times and factors of a first derivative of second order within [0, 1]."""
    if t < step:
        return (t, -1.5 / step), (t + step, 2.0 / step), (t + 2 * step, -0.5 / step)
    if t > 1.0 - step:
        return (t, 1.5 / step), (t - step, -2.0 / step), (t - 2 * step, 0.5 / step)
    return (t - step, -0.5 / step), (t + step, 0.5 / step)
