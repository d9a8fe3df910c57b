"""Numbers that are not in [0, 1], brought there and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rayfe.config import require
from rayfe.data.arrays import described
from rayfe.exceptions import UsageError

Rescale = bool | tuple[Any, Any] | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scale:
    """What examples are in the units they came in: low + (high - low) x, with x in [0, 1]."""

    low: np.ndarray
    """A number (), or one for each feature of a table (features,)."""
    high: np.ndarray

    def ends(self) -> dict[str, Any]:
        """low and high as numbers and lists, for JSON."""
        return {"low": self.low.tolist(), "high": self.high.tolist()}

    def applied(self, x: np.ndarray) -> np.ndarray:
        """Examples (N, ...) in [0, 1], float32. What lies outside of low and high is clipped; a feature without width is 0."""
        width = np.where(self.high > self.low, self.high - self.low, np.inf)
        return np.clip((x - self.low) / width, 0.0, 1.0).astype(np.float32)


def scale_of(x: np.ndarray, rescale: Rescale) -> Scale | None:
    """The scale that `rescale` asks for: True takes the range of x, of each feature where it is a table (N, features).

    Raises:
        UsageError: rescale; it is no pair of numbers with the first below the second.
    """
    if rescale is None or rescale is False:
        return None
    if rescale is True:
        axis = 0 if x.ndim == 2 else None
        return scale_between(x.min(axis), x.max(axis), x=x, called="rescale", fix="give an x of finite numbers")
    fix = "give True, or the numbers (low, high) that become 0 and 1"
    try:
        low, high = rescale
    except (TypeError, ValueError) as error:
        raise UsageError("rescale", described(rescale), fix) from error
    scale = scale_between(low, high, x=x, called="rescale", fix=fix)
    require(bool((scale.low < scale.high).all()), "rescale", f"({scale.low}, {scale.high})", fix)
    return scale


def scale_between(low: Any, high: Any, *, x: np.ndarray, called: str, fix: str) -> Scale:
    """The scale of examples x (N, ...) with these ends; in a table a feature may have no width.

    Raises:
        UsageError: `called`; they are no finite numbers with none below its first, or not one for all or one for each feature.
    """
    try:
        scale = Scale(low=np.asarray(low, float), high=np.asarray(high, float))
    except (TypeError, ValueError) as error:
        raise UsageError(called, f"({described(low)}, {described(high)})", fix) from error
    low, high, given = scale.low, scale.high, f"({scale.low}, {scale.high})"
    sound = bool(np.isfinite(low).all() and np.isfinite(high).all()) and low.shape == high.shape and bool((low <= high).all())
    fits = low.ndim == 0 or (x.ndim == 2 and low.shape == x.shape[1:])
    require(sound and fits, called, given, f"{fix}; a table may have one of each for every feature")
    with np.errstate(over="ignore"):
        wide = bool(np.isfinite(high - low).all())
    require(wide, called, given, "is wider than numbers go; divide x by a power of ten before")
    return scale
