"""The ways of one walk (there, back, there again) as they are drawn, its leaps, and the lowest envelope over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rayfe.figures.styles import GREY, Walk
from rayfe.records import Kind, Leg
from rayfe.results.frames import CONDITIONED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS: Mapping[str, str] = MappingProxyType({Leg.BACK: "v", Leg.THERE_AGAIN: "^"})
"""Of the ways after the first, whose marker is the walk's own."""
MIXED: Mapping[str, tuple[float, float]] = MappingProxyType({Leg.BACK: (1.0, 0.55), Leg.THERE_AGAIN: (0.0, 0.45)})
"""White (1) or black (0), and its share in the colour of a way."""
LEAP: Mapping[str, Any] = MappingProxyType({"color": GREY, "linestyle": (0, (1, 2)), "linewidth": 1.2})
LOWEST: Mapping[str, Any] = MappingProxyType({"color": "#000000", "linewidth": 0.9, "zorder": 3})


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """Accepted rows of a walk, one after the other, that are drawn alike."""

    leg: str
    begin: int
    """Its first row, by place."""
    end: int
    """The row after its last."""
    joined: int
    """The row at which its line begins: the one before `begin` where a line leads from there."""
    leapt: bool
    """Whether a leap led to its first row."""
    is_first: bool
    """Whether it is the first of its leg."""

    def named(self, label: str) -> str:
        """The name of a walk with this label on this way."""
        return label if self.leg == Leg.THERE else f"{label}, {self.leg.replace('_', ' ')}"


def ways_of(steps: pd.DataFrame) -> list[Way]:
    """The ways of a walk by its accepted rows: a new one begins with each leg, and where a leap landed; of a conditioned model with each
    gamma, which no line joins to the one before."""
    legs, leaps = steps["leg"].to_numpy(), (steps["kind"] == Kind.LEAP).to_numpy()
    boxed = len(legs) > 0 and steps["process"].iloc[0] == CONDITIONED
    parts = steps["gamma"].to_numpy() if boxed else legs
    begins = np.flatnonzero(np.append(True, parts[1:] != parts[:-1]) | leaps) if len(legs) else np.array([], int)
    ways, seen = [], set[str]()
    for begin, end in zip(begins.tolist(), [*begins[1:].tolist(), len(legs)], strict=True):
        leg, leapt = str(legs[begin]), bool(leaps[begin]) and begin > 0
        joined = begin - 1 if begin > 0 and not (leapt or boxed) else begin
        ways.append(Way(leg=leg, begin=begin, end=end, joined=joined, leapt=leapt, is_first=leg not in seen))
        seen.add(leg)
    return ways


def parted(steps: pd.DataFrame, values: np.ndarray) -> np.ndarray:
    """The values (N,) of a walk's accepted rows with a NaN wherever no line joins two of them, for one line over all ways."""
    gaps = [way.begin for way in ways_of(steps) if 0 < way.begin == way.joined and not way.leapt]
    return np.insert(values.astype(float), gaps, np.nan)


def draw_walk(axes: Axes, walk: Walk, x: np.ndarray, y: np.ndarray, **changes: Any) -> None:
    """The accepted rows of a walk, each way in its own colour and marker; a leap is a dotted line without markers.

    x and y (N,) belong to the rows of `walk.steps`; `changes` are those of its style.
    """
    for way in ways_of(walk.steps):
        if way.leapt:
            axes.plot(x[way.begin - 1 : way.begin + 1], y[way.begin - 1 : way.begin + 1], **LEAP, label="_leap")
        label = way.named(walk.label) if way.is_first else "_again"
        style = {**leg_style(walk.style, way.leg), **changes}
        joined, marked = slice(way.joined, way.end), slice(way.begin - way.joined, None)
        axes.plot(x[joined], y[joined], **style, label=label, markevery=marked)


def leg_style(style: Mapping[str, Any], leg: str) -> dict[str, Any]:
    """The style of one way of a walk with this style."""
    if leg == Leg.THERE:
        return dict(style)
    shade, share = MIXED[leg]
    parts = (int(style["color"][i : i + 2], 16) for i in (1, 3, 5))
    colour = "#" + "".join(f"{round((1.0 - share) * part + share * 255.0 * shade):02x}" for part in parts)
    return {**style, "color": colour, "marker": MARKERS[leg]}


def draw_lowest(axes: Axes, walk: Walk, x: np.ndarray, y: np.ndarray) -> None:
    """A line through those rows that count where others stand beside them: at each lam the one whose F is lowest."""
    if len(walk.lowest):
        axes.plot(x[walk.lowest], y[walk.lowest], **LOWEST, label="_lowest")
