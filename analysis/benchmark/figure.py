"""The frontier: excess against training examples, a curve per method over its budgets, and where along the curve it is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from analysis.benchmark.settings import LABELS
from analysis.benchmark.table import TOLERANCES

STYLES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "rayfe": ("#D55E00", "o"),
        "rayfe-leap": ("#8C2D04", "<"),
        "rayfe-there": ("#FDAE6B", ">"),
        "rayfe-plain": ("#FDAE6B", "d"),
        "paper": ("#000000", "s"),
        "grid": ("#009E73", "^"),
        "warm-grid": ("#56B4E9", "v"),
        "heuristic": ("#E69F00", "D"),
        "nupi": ("#0072B2", "P"),
        "augmented": ("#0072B2", "X"),
        "geco": ("#CC79A7", "*"),
        "nupi-soap": ("#56B4E9", "P"),
        "variant-a": ("#000000", "s"),
        "variant-b": ("#999999", "o"),
        "variant-c": ("#56B4E9", "v"),
        "variant-c2": ("#56B4E9", "^"),
        "variant-d": ("#7F7F7F", "P"),
        "variant-e": ("#009E73", "X"),
        "variant-f": ("#D55E00", "d"),
        "variant-g": ("#D55E00", "^"),
        "variant-h": ("#CC79A7", "*"),
    }
)
"""Colour and marker by method; colours that the colour-blind can tell apart."""
SMALLEST = 0.02
"""Per cent below which values are drawn at the lower edge."""


def frontier(lines: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """Two panels: mean excess against examples, a curve per method over its budgets, from the lines of `table`, with hollow symbols for
    runs that did not arrive; and excess along lam of each method's largest budget, from `table.curves`."""
    figure, (over, along) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for method in LABELS:
        _over_examples(over, lines[lines["method"] == method].sort_values("examples"), method)
        own = curves[curves["method"] == method]
        _along_lam(along, own[own["budget"] == own["budget"].max()], method)
    over.set(
        yscale="log",
        xlabel="training examples after the start, millions",
        ylabel="mean excess of F at equal λ, %",
        ylim=(SMALLEST, None),
    )
    over.set_xlim(left=0.0)
    along.set(xscale="log", yscale="log", xlabel="λ", ylabel="excess of F (largest budget), %", ylim=(SMALLEST, None))
    for axis in (over.yaxis, along.yaxis, along.xaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FormatStrFormatter("%g"))
        axis.set_minor_formatter(NullFormatter())
    for tolerance in TOLERANCES:
        along.axhline(tolerance.excess, color="0.5", linestyle=":", linewidth=1)
        place = (1, tolerance.excess)
        along.annotate(tolerance.name, place, xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8)
    for panel in (over, along):
        panel.grid(alpha=0.3, which="both", linewidth=0.5)
    figure.legend(*over.get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    return figure


def _over_examples(axes: Axes, runs: pd.DataFrame, method: str) -> None:
    if runs.empty:
        return
    color, marker = STYLES[method]
    axes.plot([], [], color=color, marker=marker, label=LABELS[method])
    for arrived, face in ((True, color), (False, "white")):  # what did not arrive has another range, and no line to the others
        part = runs[runs["complete"].to_numpy(dtype=bool) == arrived]
        x, y = part["examples"] / 1e6, part["mean_excess_percent"].clip(lower=SMALLEST)
        axes.plot(x, y, color=color, marker=marker, markerfacecolor=face, linewidth=1.2, markersize=7)


def _along_lam(axes: Axes, points: pd.DataFrame, method: str) -> None:
    color, marker = STYLES[method]
    y = points["excess_percent"].clip(lower=SMALLEST)
    axes.plot(points["lam"], y, color=color, marker=marker, linewidth=1.0, markersize=4)
