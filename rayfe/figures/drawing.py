"""What all figures share: trajectories as drawn, styles, axes, bars, bands and legends; without pyplot's global state."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from rayfe.results.frames import accepted_steps, level_of, numbers
from rayfe.results.walk_summary import found_stop

# Okabe-Ito without its yellow, which is too pale for lines on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "-.", ":")
GREY = "#555555"
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Walk:
    """One trajectory as drawn: colour by start, marker by seed."""

    label: str
    steps: pd.DataFrame
    stop: pd.Series | None
    style: Mapping[str, Any]


def png(figure: Figure) -> bytes:
    """`figure` as PNG; equal figures give equal bytes (no version, no date)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def walks_of(rows: pd.DataFrame, palette: Sequence[str] = PALETTE) -> list[Walk]:
    """Trajectories with an accepted row, in order of start and seed."""
    if rows.empty:
        return []
    frames = {str(name): frame for name, frame in rows.groupby("trajectory", sort=True)}
    steps = {name: accepted_steps(frame) for name, frame in frames.items()}
    steps = {name: frame for name, frame in steps.items() if len(frame)}
    return _styled(steps, {name: found_stop(frames[name]) for name in steps}, palette)


def equilibrations(readings: pd.DataFrame) -> list[Walk]:
    """Probe readings of the first equilibrium, one series per trajectory: the last attempt's first replica."""
    if readings.empty:
        return []
    first = readings[readings["first"].astype(bool) & (readings["split"].astype(str) == "probe")]
    series = {}
    for name, frame in first.groupby("trajectory", sort=True):
        attempt = frame[frame["attempt"] == frame["attempt"].max()]
        series[str(name)] = attempt[attempt["replica"] == attempt["replica"].iloc[0]].sort_values("update", kind="stable")
    return _styled(series, dict.fromkeys(series))


def _styled(
    series: Mapping[str, pd.DataFrame], stops: Mapping[str, pd.Series | None], palette: Sequence[str] = PALETTE
) -> list[Walk]:
    """Give each start a colour and each of its repeats (seeds) a marker, and a colour where there is one start; label both, the
    seed only if seeds differ."""
    heads = pd.DataFrame({name: frame.iloc[0] for name, frame in series.items()}).T
    if heads.empty:
        return []
    heads["run"] = heads.get("run", "")
    heads["seed"] = heads.get("seed", pd.Series(heads.index, index=heads.index).str.extract(r"seed(\d+)$")[0])
    heads = heads.assign(seed=pd.to_numeric(heads["seed"]).fillna(0).astype(int)).sort_values(["run", "lam", "gamma", "seed"])
    starts = list(dict.fromkeys(zip(heads["run"], heads["lam"], heads["gamma"], strict=True)))
    seeds = sorted(set(heads["seed"]))
    walks = []
    for name, head in heads.iterrows():
        start, marker = starts.index((head["run"], head["lam"], head["gamma"])), seeds.index(head["seed"])
        colour = start if len(starts) > 1 else marker
        label = f"{head['run']} ({head['lam']:g}, {head['gamma']:g})".strip()
        style = {
            "color": palette[colour % len(palette)],
            "linestyle": LINES[colour // len(palette) % len(LINES)],
            "marker": MARKERS[marker % len(MARKERS)],
            "markersize": 4.5,
            "linewidth": 1.5,
        }
        label += f", seed {head['seed']}" if len(seeds) > 1 else ""
        walks.append(Walk(label=label, steps=series[str(name)], stop=stops[str(name)], style=style))
    return walks


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


FINENESS = (
    tuple(np.arange(10, 100) / 10.0),
    tuple(np.arange(1.0, 10.0, 0.5)),
    (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0),
    (1.0, 2.0, 5.0),
    (1.0,),
)
"""Round numbers of a decade, from the finest to the coarsest."""
MOST_NUMBERS = 8
"""Numbers that an axis has room for."""


def lam_axis(axes: Axes, walks: Sequence[Walk]) -> None:
    """Logarithmic in lam, its numbers written out."""
    lam = np.concatenate([numbers(walk.steps, "lam") for walk in walks]) if walks else np.zeros(0)
    if len(np.unique(lam)) > 1:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(round_numbers(lam.min(), lam.max()).tolist()))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_locator(NullLocator())


def round_numbers(low: float, high: float) -> np.ndarray:
    """Round numbers between `low` and `high`, as many as do not touch each other on a logarithmic axis."""
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)))
    for numbers_of in FINENESS:
        placed = np.multiply.outer(decades, numbers_of).ravel()
        placed = placed[(placed >= low) & (placed <= high)]
        if len(placed) <= MOST_NUMBERS:
            break
    return placed


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
    title: str = "start (λ, γ)",
) -> Figure:
    """Give `axes` its legend: its named lines, then `extra`; without anything to name, say that there are no data yet."""
    if not walks and not extra:
        axes.text(0.5, 0.5, "no data yet", transform=axes.transAxes, ha="center", va="center", fontsize=13, color=GREY)
        axes.set_xticks([])
        axes.set_yticks([])
        return figure
    handles = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    handles += extra
    place: dict[str, Any] = {"loc": "best"}
    if beside or len(handles) > FEW:  # where the entries would cover the curves
        place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
        figure.set_figwidth(1.35 * figure.get_figwidth())
    axes.legend(handles=handles, title=title, fontsize=10, title_fontsize=10, framealpha=0.85, **place)
    return figure
