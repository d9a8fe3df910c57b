"""What all figures share: axes, bars, bands and legends; without pyplot's global state."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from rayfe.figures.styles import GREY, Walk, is_boxed, round_numbers
from rayfe.results.frames import level_of, numbers

TRAINING: Mapping[str, Any] = MappingProxyType(
    {"color": GREY, "linestyle": "--", "linewidth": 0.9, "marker": ".", "markersize": 3}
)
EXACT: Mapping[str, Any] = MappingProxyType({"color": "#000000", "linestyle": "--", "linewidth": 1.2, "zorder": 4})
"""The exact surface, where the data set knows it."""
DPI = 150
LETTERS = 13
"""Of a head that find room on an inch."""
FEW = 3
"""Entries of a legend that find room beside curves."""
BARS = "bars: two standard errors of the draws of z alone"
BANDS = "bands: two standard errors of the draws of z alone"
Draw = Callable[[pd.DataFrame, pd.DataFrame, float | None], Figure]
"""A figure from rows, readings and the tolerance (a fraction of C, or None)."""


def png(figure: Figure) -> bytes:
    """`figure` as PNG; equal figures give equal bytes (no version, no date)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


# --- how it is drawn ----------------------------------------------------------------------------------------------


def new_axes(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """A figure of one panel."""
    figure, (axes,) = new_panels(x_label, (y_label,))
    return figure, axes


def new_panels(x_label: str, y_labels: Sequence[str], *, sharex: bool = True) -> tuple[Figure, list[Axes]]:
    """A figure of panels one above the other, which share their x axis or not; `x_label` is the lowest one's."""
    figure = Figure(figsize=(6.4, 4.6 if len(y_labels) == 1 else 1.4 + 2.5 * len(y_labels)), dpi=DPI, layout="constrained")
    panels = [axes for row in figure.subplots(len(y_labels), sharex=sharex, squeeze=False) for axes in row]
    panels[-1].set_xlabel(x_label, fontsize=12)
    for axes, label in zip(panels, y_labels, strict=True):
        axes.set_ylabel(label, fontsize=12)
        axes.tick_params(labelsize=11)
        axes.grid(True, color="#dddddd", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def lam_axis(axes: Axes, walks: Sequence[Walk]) -> None:
    """Logarithmic in lam, its numbers written out."""
    lam = np.concatenate([numbers(walk.steps, "lam") for walk in walks]) if walks else np.zeros(0)
    if len(np.unique(lam)) > 1:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(round_numbers(lam.min(), lam.max()).tolist()))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_locator(NullLocator())


def note(figure: Figure, text: str) -> None:
    """Say below the axes what bars or bands are; each is said once."""
    said = figure.get_supxlabel()
    if text not in said:
        figure.supxlabel("; ".join(filter(None, (said, text))), x=0.01, ha="left", fontsize=8.5, color=GREY)


def captioned(figure: Figure, subject: str, rows: pd.DataFrame) -> Figure:
    """Name the data and the model, `subject`, and the level of C at which trajectories hold it, above the axes."""
    text = ", ".join(filter(None, (subject, level_of(rows))))
    lines = textwrap.wrap(text, width=int(LETTERS * figure.get_figwidth()))
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=9.5, color=GREY)
    return figure


def draw_arrow(axes: Axes, x: np.ndarray, y: np.ndarray, colour: str) -> None:
    """An arrow head at the last point, away from the one before."""
    seen = np.isfinite(x) & np.isfinite(y)
    x, y = x[seen], y[seen]
    if len(x) > 1:
        shape = {"arrowstyle": "-|>", "color": colour, "mutation_scale": 22, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (x[-1], y[-1]), (x[-2], y[-2]), arrowprops=shape, zorder=3, annotation_clip=False)


def error_bars(axes: Axes, walk: Walk, values: tuple[str, str], errors: tuple[str, str]) -> None:
    """Bars of two standard errors of the draws in both columns; where one is seen the axes say what it is."""
    x, y = (numbers(walk.steps, name) for name in values)
    x_bar, y_bar = (2.0 * numbers(walk.steps, name) for name in errors)
    if draw_bars(axes, x, y, {"xerr": x_bar, "yerr": y_bar}, walk.style["color"]):
        note(axes.figure, BARS)  # type: ignore[arg-type]


def draw_bars(axes: Axes, x: np.ndarray, y: np.ndarray, bars: dict[str, np.ndarray], colour: str) -> bool:
    """Draw the bars longer than half a per cent of the axis; shorter ones hide behind the markers. Whether there is one."""
    spans = {"xerr": np.ptp(axes.get_xlim()), "yerr": np.ptp(axes.get_ylim())}
    visible = {side: np.nan_to_num(bar) for side, bar in bars.items() if np.nanmax(bar, initial=0.0) > 0.005 * spans[side]}
    if visible:
        axes.errorbar(x, y, **visible, fmt="none", ecolor=colour, elinewidth=1.0, capsize=2.0, alpha=0.8, label="_bars")
    return bool(visible)


def draw_band(axes: Axes, x: np.ndarray, y: np.ndarray, error: np.ndarray, colour: str) -> None:
    """A band of two standard errors around y; nothing where the error was not measured."""
    error = np.nan_to_num(error)
    axes.fill_between(x, y - 2.0 * error, y + 2.0 * error, color=colour, alpha=0.2, linewidth=0, label="_band")


def finish(
    figure: Figure,
    axes: Axes,
    walks: Sequence[Walk],
    extra: Sequence[Any] = (),
    *,
    beside: bool = False,
    title: str | None = None,
) -> Figure:
    """Give `axes` its legend: its named lines, then `extra`; without anything to name, say that nothing is stored.

    `title`: without it, what the names of `walks` are."""
    if not walks and not extra:
        axes.text(0.5, 0.5, "nothing stored", transform=axes.transAxes, ha="center", va="center", fontsize=13, color=GREY)
        axes.set_xticks([])
        axes.set_yticks([])
        return figure
    handles = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    handles += extra
    place: dict[str, Any] = {"loc": "best"}
    if beside or len(handles) > FEW:  # where the entries would cover the curves
        place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
        figure.set_figwidth(1.35 * figure.get_figwidth())
    if title is None:
        title = "box from (λ, γ)" if walks and all(is_boxed(walk.steps) for walk in walks) else "start (λ, γ)"
    axes.legend(handles=handles, title=title, fontsize=10, title_fontsize=10, framealpha=0.85, **place)
    return figure
