"""The frontier: excess against training examples, a curve per method over its budgets, and where along the curve it is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from analysis.benchmark.registry import FAMILIES, METHODS, ROUTES, label_of
from analysis.benchmark.table import TOLERANCES

MARKERS: Mapping[str, str] = MappingProxyType({"there": "o", "both": "s", "leap": "^"})
"""By route; lines of methods with rayfe's optimizer are solid, with Adam dashed."""
GREY = "#999999"
SMALLEST = 0.02
"""Per cent below which values are drawn at the lower edge."""


def frontier(summary: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """Two panels: mean excess against examples, a curve per method over its budgets with errors from seeds, from the lines of
    `table.over_seeds`, with hollow symbols for what did not arrive; and excess along lam of each method's largest budget, a line a seed,
    from `table.curves`."""
    figure, (over, along) = plt.subplots(1, 2, figsize=(12, 5.0), layout="constrained")
    for _, lines in summary.groupby(["method", "optimizer"], sort=False):
        method, optimizer = str(lines["method"].iloc[0]), str(lines["optimizer"].iloc[0])
        style = _style(method, optimizer)
        _over_examples(over, lines.sort_values("examples"), style, f"{label_of(method)}, {_said(method, optimizer)}")
        own = curves[(curves["method"] == method) & (curves["optimizer"] == optimizer)]
        for _, points in own[own["budget"] == own["budget"].max()].groupby("start"):
            y = points["excess_percent"].clip(lower=SMALLEST)
            along.plot(points["lam"], y, linewidth=1.0, markersize=4, **style)
    over.set(
        yscale="log",
        xlabel="training examples, start included, millions",
        ylabel="mean excess of F at equal λ, %",
        ylim=(SMALLEST, None),
    )
    over.set_xlim(left=0.0)
    over.set_title(f"{summary['data'].iloc[0]}, {summary['model'].iloc[0]}", fontsize=10)
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


def _style(method: str, optimizer: str) -> dict[str, Any]:
    """Colour by family, marker by route, line by optimizer."""
    known = METHODS.get(method)
    line = "-" if optimizer == "soap" else "--"
    if known is None:
        return {"color": GREY, "marker": ".", "linestyle": line}
    return {"color": FAMILIES[known.family].colour, "marker": MARKERS[known.route], "linestyle": line}


def _said(method: str, optimizer: str) -> str:
    route = f", {ROUTES[METHODS[method].route]}" if method in METHODS else ""
    return {"soap": "SOAP", "adam": "Adam"}[optimizer] + route


def _over_examples(axes: Axes, lines: pd.DataFrame, style: dict[str, Any], label: str) -> None:
    axes.plot([], [], label=label, **style)
    for arrived in (True, False):  # what did not arrive has another range, and no line to the others
        part = lines[lines["complete"].to_numpy(dtype=bool) == arrived]
        shown = style if arrived else {**style, "markerfacecolor": "white"}
        y, errors = (
            part["mean_excess_percent"].clip(lower=SMALLEST),
            (part["examples_se"] / 1e6, part["mean_excess_percent_se"]),
        )
        axes.errorbar(part["examples"] / 1e6, y, xerr=errors[0], yerr=errors[1], linewidth=1.2, markersize=6, **shown)
