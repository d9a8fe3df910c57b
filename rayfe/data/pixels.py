"""Examples as people have them -> the layout and the range of `Examples`."""

from __future__ import annotations

from typing import Literal

import numpy as np

from rayfe.config import require
from rayfe.data.arrays import described
from rayfe.data.scale import Scale

Channels = Literal["first", "last"]
USUAL_CHANNELS = (1, 3)
OUTSIDE = 1e-6
"""So far outside of [0, 1] numbers are taken for rounding, and clipped."""
DARKEST = 32
"""Bytes whose largest is below this are taken for numbers on another scale than 0 to 255."""
KINDS = {
    "c": "holds complex numbers, give their real parts, or both parts as features",
    "M": "holds times, give numbers",
    "m": "holds times, give numbers",
    "V": "has named fields, give them as columns: numpy.lib.recfunctions.structured_to_unstructured(x)",
}


def laid_out(x: np.ndarray, called: str, channels: Channels | None) -> np.ndarray:
    """Examples shaped (N, features) or (N, C, H, W), of numbers or truth values that are all finite.

    Four dimensions are (N, C, H, W) where the second is 1 or 3 or where images are square by the last two, and (N, H, W, C)
    where the last is 1 or 3. For any other the order must be given.

    Raises:
        UsageError: `called`; other shapes or types, or NaN.
    """
    shaped = "must be shaped (N, features), (N, H, W), (N, C, H, W) or (N, H, W, C)"
    hint = "; for one feature give x[:, None]" if x.ndim == 1 else ""
    words = KINDS.get(x.dtype.kind, f"holds words or Python objects{_such_as(x)}, give numbers")
    require(x.dtype.kind in "biuf", called, described(x), words)
    require(2 <= x.ndim <= 4, called, described(x), shaped + hint)
    require(x.size > 0, called, described(x), "is empty, give at least one example")
    broken = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(1)) if x.dtype.kind == "f" else np.empty(0, int)
    first = int(broken[0]) if len(broken) else 0
    fix = f"has NaN or infinite values in {len(broken)} examples, the first is number {first}; fill them or leave these examples out"
    require(len(broken) == 0, called, described(x), fix)
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and (channels or _channels(x, called)) == "last":
        return x.transpose(0, 3, 1, 2)
    return x


def ranged(x: np.ndarray, called: str, scale: Scale | None = None) -> np.ndarray:
    """The same as uint8 in [0, 255] or float32 in [0, 1], contiguous.

    Raises:
        UsageError: `called`; the numbers are on another scale.
    """
    if scale is not None:
        return np.ascontiguousarray(scale.applied(x))
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x)
    if x.dtype.kind == "b":
        return np.ascontiguousarray(x, dtype=np.float32)
    low, high = x.min(), x.max()
    fix = f"ranges from {low:.7g} to {high:.7g}, outside of [0, 1]; {_remedy(x, float(low), float(high))}"
    require(bool(low >= -OUTSIDE and high <= 1 + OUTSIDE), called, described(x), fix)
    if low < 0 or high > 1:
        x = np.clip(x, 0, 1)
    return np.ascontiguousarray(x, dtype=np.float32)


def refuse_dark(x: np.ndarray, called: str) -> None:
    """Refuse bytes that are not on the scale from 0 to 255, and images in floats that were divided by 255 twice, by the look of them.

    Raises:
        UsageError: `called`; the largest is below DARKEST, or in floats 1 / 255 or less.
    """
    if x.dtype == np.uint8:
        largest = int(x.max())
        other = "truth values (x.astype(bool))" if largest <= 1 else f"floats (x / {largest}.0)"
        take = "or rayfe.dataset(..., rescale=(0, 255)) to take them so"
        fix = f"has bytes up to {largest} only, but bytes stand for 0 to 255; give {other}, {take}"
        require(largest >= DARKEST, called, described(x), fix)
    elif x.dtype.kind == "f" and x.ndim == 4:
        take = "or rayfe.dataset(..., rescale=(0, 1)) to take them so"
        fix = f"has values up to {x.max():.3g} only, as if divided by 255 twice; give 255 * x, {take}"
        require(float(x.max()) * 255 > 1 + OUTSIDE, called, described(x), fix)


def _channels(x: np.ndarray, called: str) -> Channels:
    _, first, middle, last = x.shape
    if first in USUAL_CHANNELS or (middle == last and last not in (first, *USUAL_CHANNELS)):
        return "first"
    fix = f"has {first} or {last} channels? Give channels='first' for (N, C, H, W), or channels='last' for (N, H, W, C)"
    require(last in USUAL_CHANNELS, called, described(x), fix)
    return "last"


def _such_as(x: np.ndarray) -> str:
    return f" such as {type(x.flat[0]).__name__}" if x.dtype == object and x.size else ""


def _remedy(x: np.ndarray, low: float, high: float) -> str:
    if 0 <= low and 1 < high <= 255 and not (x % 1).any():
        return "give x.astype('uint8') if 255 is white, or rescale it, by rayfe.dataset(..., rescale=True)"
    range_ = "(-1, 1)" if -1 <= low and high <= 1 else "True"
    return f"rescale it, by rayfe.dataset(..., rescale={range_})"
