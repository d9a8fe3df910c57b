"""The ways of one walk (there, back, there again) as they are drawn, its leaps, and the lowest envelope over them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D

from rayfe.figures.drawing import GREY, Walk
from rayfe.results.frames import counted_steps, numbers

LEGS = ("there", "back", "there_again")
MARKERS: Mapping[str, str] = MappingProxyType({"back": "v", "there_again": "^"})
"""Of the ways after the first, whose marker is the walk's own."""
MIXED: Mapping[str, tuple[float, float]] = MappingProxyType({"back": (1.0, 0.55), "there_again": (0.0, 0.45)})
"""White (1) or black (0), and its share in the colour of a way."""
LEAP: Mapping[str, Any] = MappingProxyType({"color": GREY, "linestyle": (0, (1, 2)), "linewidth": 1.2})
LOWEST: Mapping[str, Any] = MappingProxyType({"color": "#000000", "linewidth": 0.9, "zorder": 3})


def legs_of(steps: pd.DataFrame) -> np.ndarray:
    """The way that each accepted row of one trajectory belongs to, one of LEGS, (N,)."""
    if "leg" in steps and steps["leg"].notna().all():
        return steps["leg"].astype(str).to_numpy()
    lam = numbers(steps, "lam")
    course = np.sign(np.diff(lam, prepend=lam[:1]))
    moving = course[course != 0.0]
    turns = np.flatnonzero(moving[1:] != moving[:-1]) + 1
    places = np.flatnonzero(course != 0.0)[turns]
    number = np.searchsorted(places, np.arange(len(lam)), side="right")
    goes_back = len(steps) > 0 and steps["process"].iloc[0] == "iso-classification"
    return np.array(LEGS)[np.minimum(number, len(LEGS) - 1) if goes_back else np.zeros(len(lam), int)]


def leaps_of(steps: pd.DataFrame) -> np.ndarray:
    """Whether the walk leapt to each accepted row from the one before, without having been in between, (N,)."""
    if "kind" in steps and steps["kind"].notna().all():
        return (steps["kind"] == "leap").to_numpy()
    lam = numbers(steps, "lam")
    return (numbers(steps, "step_length") == 0.0) & (np.diff(lam, prepend=lam[:1]) != 0.0)


def draw_walk(axes: Axes, walk: Walk, x: np.ndarray, y: np.ndarray, **changes: Any) -> None:
    """The accepted rows of a walk, each way in its own colour and marker; a leap is a dotted line without markers.

    x and y (N,) belong to the rows of `walk.steps`; `changes` are those of its style.
    """
    legs, leaps = legs_of(walk.steps), leaps_of(walk.steps)
    begins = np.flatnonzero(np.append(True, legs[1:] != legs[:-1]) | leaps) if len(legs) else np.array([], int)
    named: set[str] = set()
    for begin, end in zip(begins, [*begins[1:], len(legs)], strict=True):
        leg = str(legs[begin])
        joined = begin - 1 if begin > 0 and not leaps[begin] else begin
        if leaps[begin]:
            axes.plot(x[begin - 1 : begin + 1], y[begin - 1 : begin + 1], **LEAP, label="_leap")
        label = "_again" if leg in named else walk.label + ("" if leg == LEGS[0] else ", " + leg.replace("_", " "))
        style = {**leg_style(walk.style, leg), **changes}
        axes.plot(x[joined:end], y[joined:end], **style, label=label, markevery=slice(begin - joined, None))
        named.add(leg)


def leg_style(style: Mapping[str, Any], leg: str) -> dict[str, Any]:
    """The style of one way of a walk with this style."""
    if leg == LEGS[0]:
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
