"""The ways of one walk (there, back, there again) as they are drawn, its leaps, and the lowest envelope over them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D

from rayfe.figures.drawing import GREY, Walk
from rayfe.records import Kind, Leg
from rayfe.results.frames import counted_steps, numbers

MARKERS: Mapping[str, str] = MappingProxyType({Leg.BACK: "v", Leg.THERE_AGAIN: "^"})
"""Of the ways after the first, whose marker is the walk's own."""
MIXED: Mapping[str, tuple[float, float]] = MappingProxyType({Leg.BACK: (1.0, 0.55), Leg.THERE_AGAIN: (0.0, 0.45)})
"""White (1) or black (0), and its share in the colour of a way."""
LEAP: Mapping[str, Any] = MappingProxyType({"color": GREY, "linestyle": (0, (1, 2)), "linewidth": 1.2})
LOWEST: Mapping[str, Any] = MappingProxyType({"color": "#000000", "linewidth": 0.9, "zorder": 3})


def draw_walk(axes: Axes, walk: Walk, x: np.ndarray, y: np.ndarray, **changes: Any) -> None:
    """The accepted rows of a walk, each way in its own colour and marker; a leap is a dotted line without markers.

    x and y (N,) belong to the rows of `walk.steps`; `changes` are those of its style.
    """
    legs, leaps = walk.steps["leg"].to_numpy(), (walk.steps["kind"] == Kind.LEAP).to_numpy()
    begins = np.flatnonzero(np.append(True, legs[1:] != legs[:-1]) | leaps) if len(legs) else np.array([], int)
    named: set[str] = set()
    for begin, end in zip(begins, [*begins[1:], len(legs)], strict=True):
        leg = str(legs[begin])
        joined = begin - 1 if begin > 0 and not leaps[begin] else begin
        if leaps[begin]:
            axes.plot(x[begin - 1 : begin + 1], y[begin - 1 : begin + 1], **LEAP, label="_leap")
        label = "_again" if leg in named else walk.label + ("" if leg == Leg.THERE else ", " + leg.replace("_", " "))
        style = {**leg_style(walk.style, leg), **changes}
        axes.plot(x[joined:end], y[joined:end], **style, label=label, markevery=slice(begin - joined, None))
        named.add(leg)


def leg_style(style: Mapping[str, Any], leg: str) -> dict[str, Any]:
    """The style of one way of a walk with this style."""
    if leg == Leg.THERE:
        return dict(style)
    shade, share = MIXED[leg]
    red, green, blue = ((1.0 - share) * part + share * shade for part in to_rgb(style["color"]))
    colour = to_hex((red, green, blue))
    return {**style, "color": colour, "marker": MARKERS[leg]}


def draw_lowest(axes: Axes, walk: Walk, x: np.ndarray, y: np.ndarray) -> None:
    """A line through those rows that count where others stand beside them: at each lam the one whose F is lowest."""
    counted = walk.steps.index.isin(counted_steps(walk.steps).index)
    if not counted.all():
        order = np.argsort(numbers(walk.steps, "lam")[counted], kind="stable")
        axes.plot(x[counted][order], y[counted][order], **LOWEST, label="_lowest")


def legend_of(axes: Axes) -> list[Line2D]:
    """What the legend says of lines that have no name of their own: leaps and the lowest envelope, where there are some."""
    there = {line.get_label() for line in axes.get_lines()}
    kinds = (("_leap", "leap", LEAP), ("_lowest", "lowest F at each λ", LOWEST))
    return [Line2D([], [], **style, label=text) for name, text, style in kinds if name in there]
