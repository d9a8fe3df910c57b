"""The frontier: excess and drift against training examples, a curve per method over its budgets."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from rayfe.benchmark.settings import LABELS
from rayfe.benchmark.table import TOLERANCES

STYLES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "rayfe": ("#D55E00", "o"),
        "rayfe-leap": ("#D55E00", "<"),
        "rayfe-there": ("#D55E00", ">"),
        "rayfe-plain": ("#D55E00", "d"),
        "paper": ("#000000", "s"),
        "paper-settle": ("#7F7F7F", "s"),
        "grid": ("#009E73", "^"),
        "warm-grid": ("#56B4E9", "v"),
        "heuristic": ("#E69F00", "D"),
        "nupi": ("#0072B2", "P"),
        "augmented": ("#0072B2", "X"),
        "geco": ("#CC79A7", "*"),
        "nupi-soap": ("#56B4E9", "P"),
        "nupi-scratch": ("#009E73", "P"),
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


def frontier(lines: pd.DataFrame) -> Figure:
    """Two panels from the lines of `table`: mean excess, and largest drift; runs that did not arrive are hollow, on lines apart."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    columns = {"mean_excess_percent": "mean excess of F at equal λ, %", "largest_drift_percent": "largest |C/C₀ − 1|, %"}
    for panel, (column, label) in zip(axes, columns.items(), strict=True):
        for method in LABELS:
            _curve(panel, lines[lines["method"] == method].sort_values("examples"), method, column)
        panel.set(xscale="log", yscale="log", xlabel="training examples after the start, millions", ylabel=label)
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter(FormatStrFormatter("%g"))
            axis.set_minor_formatter(NullFormatter())
        panel.grid(alpha=0.3, which="both", linewidth=0.5)
    for tolerance in TOLERANCES:
        axes[1].axhline(tolerance.drift, color="0.5", linestyle=":", linewidth=1)
        axes[1].annotate(
            tolerance.name, (1, tolerance.drift), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8
        )
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    return figure


def _curve(axes: Axes, runs: pd.DataFrame, method: str, column: str) -> None:
    if runs.empty:
        return
    color, marker = STYLES[method]
    axes.plot([], [], color=color, marker=marker, label=LABELS[method])
    for arrived, face in ((True, color), (False, "white")):  # what did not arrive has another range, and no line to the others
        part = runs[runs["complete"].to_numpy(dtype=bool) == arrived]
        x, y = part["examples"] / 1e6, part[column].clip(lower=SMALLEST)
        axes.plot(x, y, color=color, marker=marker, markerfacecolor=face, linewidth=1.2, markersize=7)
