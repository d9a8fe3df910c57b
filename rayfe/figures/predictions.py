"""The map of what stored models predict, with truth and ignorance."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rayfe.figures.drawing import draw_arrow, finish, new_axes, note
from rayfe.figures.legs import draw_walk
from rayfe.figures.styles import Walk, walks_of
from rayfe.results.frames import numbers
from rayfe.results.predictions import AXES, Predictions

NAME = "predictions.png"
LABELLED = 7
"""Models of a single trajectory whose step is written beside them, at most."""
FONT = 9
"""Of these numbers, in points."""
MARKERS = {"truth": "*", "ignorance": "X"}


def prediction_map(found: Predictions) -> Figure:
    """Each trajectory a line over the map, its start a ring, an arrow at its end; of a single one steps are written."""
    figure, axes = new_axes(*found.titles)
    walks = walks_of(found.rows)
    for walk in walks:
        x, y = (numbers(walk.steps, name) for name in AXES)
        draw_walk(axes, walk, x, y)
        axes.plot(x[:1], y[:1], marker="o", markersize=10, markerfacecolor="none", color=walk.style["color"], label="_start")
        draw_arrow(axes, x, y, walk.style["color"])
    extra = []
    for name, place in found.marks.items():
        style: dict[str, Any] = {"color": "#000000", "marker": MARKERS[name], "linestyle": "", "markersize": 11}
        axes.plot(*place, **style, label=f"_{name}", zorder=4)
        extra.append(Line2D([], [], **style, label=name))
    axes.set_aspect("equal", adjustable="datalim")
    note(figure, f"{found.examples}; a ring: the start{'; numbers: steps' if len(walks) == 1 else ''}")
    finish(figure, axes, walks, extra, beside=True)
    figure.draw_without_rendering()  # an equal scale changes the ticks, for which the layout then makes room
    if len(walks) == 1:
        _write_steps(axes, walks[0])
    return figure


def _write_steps(axes: Axes, walk: Walk) -> None:
    """Numbers of evenly chosen steps beside their models, as far as there is room: the last one, then from the first on."""
    steps, x, y = (walk.steps[name].to_numpy() for name in ("step", *AXES))
    chosen = np.unique(np.linspace(0, len(steps) - 1, min(LABELLED, len(steps))).round().astype(int))
    places, written = axes.transData.transform(np.column_stack([x, y])) * 72.0 / axes.figure.dpi, list[int]()
    for place in (chosen[-1], *chosen[:-1]):
        if all(np.abs(places[place] - places[other]).max() > FONT for other in written):
            written.append(place)
            style = {"textcoords": "offset points", "fontsize": FONT, "color": walk.style["color"]}
            axes.annotate(str(steps[place]), (x[place], y[place]), (4, 4), **style)
