"""Stored rows -> matplotlib figures of the paper (Figs. 2 and 4) and of the constraint; pure, without pyplot's global state.

`rows` are steps rows of any number of trajectories (columns of StepRecord), `readings` rows of ReadingRecord.
Lines and markers are accepted rows only. Error bars are two standard errors and are left out where they would
be smaller than the line. A frame without such rows gives a figure that says so.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from .summary import accepted_steps, drift, found_stop, numbers

# Okabe-Ito without its yellow, which is too pale for lines on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "-.", ":")
GREY = "#555555"
TRAINING: Mapping[str, Any] = MappingProxyType(
    {"color": GREY, "linestyle": "--", "linewidth": 0.9, "marker": ".", "markersize": 3}
)
DPI = 150


@dataclass(frozen=True, kw_only=True, slots=True)
class Walk:
    """One trajectory as drawn: colour by start, marker by seed."""

    label: str
    steps: pd.DataFrame
    stop: pd.Series | None
    style: Mapping[str, Any]


def pool(load: Callable[[str], pd.DataFrame], runs: Sequence[str]) -> pd.DataFrame:
    """Frames of `runs` (directories or URIs, read by `load`) as one; several runs are told apart by their folder's name.

    Raises:
        ValueError: no run was named, or one has no rows.
    """
    if not runs:
        raise ValueError("name at least one run directory")
    folders = [run.rstrip("/").rsplit("/", 1)[-1] for run in runs]
    labels = folders if len(set(folders)) == len(runs) else list(runs)
    frames = [load(run) for run in runs]
    for run, frame in zip(runs, frames, strict=True):
        if frame.empty:
            raise ValueError(f"{run}: no rows there; give the --out of a run that has made its first step")
    if len(runs) == 1:
        return frames[0]
    labelled = [
        frame.assign(run=label, trajectory=label + "/" + frame["trajectory"].astype(str))
        for label, frame in zip(labels, frames, strict=True)
    ]
    return pd.concat(labelled, ignore_index=True)


def rate_distortion(rows: pd.DataFrame) -> Figure:
    """Fig. 2a: distortion D against rate R along each trajectory."""
    figure, axes = _axes("Rate R (nats)", "Distortion D (squared pixel units)")
    walks = _walks(rows)
    for walk in walks:
        axes.plot(numbers(walk.steps, "R"), numbers(walk.steps, "D"), label=walk.label, **walk.style)
    for walk in walks:  # after all lines, so that "visible" is judged on the final limits
        _error_bars(axes, walk, ("R", "D"), ("R_se", "D_se"))
    return _finish(figure, axes, walks)


def multipliers(rows: pd.DataFrame) -> Figure:
    """Fig. 2b: gamma against lambda along each trajectory; an x marks a found stop, named in the legend."""
    figure, axes = _axes("Lambda λ", "Gamma γ")
    walks = _walks(rows)
    stops = []
    for walk in walks:
        axes.plot(numbers(walk.steps, "lam"), numbers(walk.steps, "gamma"), label=walk.label, **walk.style)
        if walk.stop is not None:
            point = [float(walk.stop["lam"])], [float(walk.stop["gamma"])]
            axes.plot(*point, "x", color=walk.style["color"], markersize=10, markeredgewidth=2.2, label="_stop", zorder=4)
            stops.append(str(walk.stop["reason"]))
    handles = [
        Line2D([], [], color=GREY, marker="x", linestyle="", markersize=9, markeredgewidth=2.2, label=f"stop: {name}")
        for name in sorted(set(stops))
    ]
    return _finish(figure, axes, walks, handles)


def validation_loss(rows: pd.DataFrame) -> Figure:
    """Fig. 2c: validation loss (full) and training loss C (dashed) against the number of steps."""
    figure, axes = _axes("Number of steps", "Validation loss (nats)")
    walks = _walks(rows)
    for walk in walks:
        step = numbers(walk.steps, "step")
        axes.plot(step, numbers(walk.steps, "val_C"), label=walk.label, **walk.style)
        axes.plot(step, numbers(walk.steps, "C"), **{**TRAINING, "color": walk.style["color"]}, label="_training")
    if not walks:
        return _finish(figure, axes, walks)
    _step_axis(axes)
    axes.set_ylim(bottom=0.0)
    axes.set_ylim(top=1.05 * axes.get_ylim()[1])
    accuracy = 100.0 * np.concatenate([numbers(walk.steps, "val_accuracy") for walk in walks])
    if np.isfinite(accuracy).any():
        bounds = dict.fromkeys(f"{value:.1f}" for value in (np.nanmin(accuracy), np.nanmax(accuracy)))
        axes.set_title(f"validation accuracy {'–'.join(bounds)} %", fontsize=11, loc="right")
    return _finish(figure, axes, walks, [Line2D([], [], **TRAINING, label="training loss C")], beside=True)


def free_energy_of_equilibration(readings: pd.DataFrame) -> Figure:
    """Fig. 4a: F on the probe against the update of the first equilibrium (its last attempt)."""
    figure, axes = _axes("Mini-batch update", "Free energy F = R + λD + γC (nats)")
    walks = _equilibrations(readings)
    for walk in walks:
        axes.plot(numbers(walk.steps, "update"), numbers(walk.steps, "F"), label=walk.label, **walk.style, markevery=[-1])
    values = np.concatenate([numbers(walk.steps, "F") for walk in walks]) if walks else np.array([])
    if len(values) and np.nanmin(values) > 0 and np.nanmax(values) > 4 * np.nanmin(values):
        # An untrained model has ten times the final F: on a linear axis all curves would lie on each other.
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    if walks:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    return _finish(figure, axes, walks)


def free_energy_of_walk(rows: pd.DataFrame) -> Figure:
    """Fig. 4b: F against the number of steps."""
    figure, axes = _axes("Number of steps", "Free energy F = R + λD + γC (nats)")
    walks = _walks(rows)
    for walk in walks:
        axes.plot(numbers(walk.steps, "step"), numbers(walk.steps, "F"), label=walk.label, **walk.style)
    if walks:
        _step_axis(axes)
    return _finish(figure, axes, walks)


def constraint(rows: pd.DataFrame, tolerance: float | None = None) -> Figure:
    """C / C_target - 1 in per cent with bars of two standard errors, and the band +- `tolerance` (a fraction).

    Trajectories stand side by side at each step, at most a quarter of a step off it.
    """
    figure, axes = _axes("Number of steps", "C / C_target - 1 (%)")
    walks = _walks(rows)
    for place, walk in enumerate(walks):
        target = numbers(walk.steps, "C_target")
        target = np.where(np.isnan(target), numbers(walk.steps, "C")[0], target)
        held = drift(walk.steps, target)
        x = numbers(walk.steps, "step") + (place - (len(walks) - 1) / 2) * 0.5 / len(walks)
        y, bar = 100.0 * held["drift"].to_numpy(), 200.0 * held["drift_se"].to_numpy()
        axes.plot(x, y, label=walk.label, **{**walk.style, "linewidth": 0.6})
        _bars(axes, x, y, {"yerr": bar}, walk.style["color"])
    handles = []
    if walks:
        _step_axis(axes)
        axes.axhline(0.0, color=GREY, linewidth=0.8, zorder=1)
    if walks and tolerance is not None:
        limit = 100.0 * tolerance
        handles = [
            axes.axhspan(-limit, limit, color="#000000", alpha=0.07, linewidth=0, label=f"tolerance ±{limit:g} %", zorder=0)
        ]
        axes.set_ymargin(0.1)
    return _finish(figure, axes, walks, handles, beside=True)


Draw = Callable[[pd.DataFrame, pd.DataFrame, float | None], Figure]
"""A figure from rows, readings and the tolerance."""
FIGURES: Mapping[str, Draw] = MappingProxyType(
    {
        "fig2a_rate_distortion.png": lambda rows, readings, tolerance: rate_distortion(rows),
        "fig2b_multipliers.png": lambda rows, readings, tolerance: multipliers(rows),
        "fig2c_validation_loss.png": lambda rows, readings, tolerance: validation_loss(rows),
        "fig4a_equilibration.png": lambda rows, readings, tolerance: free_energy_of_equilibration(readings),
        "fig4b_free_energy.png": lambda rows, readings, tolerance: free_energy_of_walk(rows),
        "constraint.png": lambda rows, readings, tolerance: constraint(rows, tolerance),
    }
)
"""Every figure of a walk by file name."""


def png(figure: Figure) -> bytes:
    """`figure` as PNG; equal figures give equal bytes (no version, no date)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def draw_all(
    rows: pd.DataFrame, readings: pd.DataFrame, *, tolerance: float | None = None, figures: Mapping[str, Draw] = FIGURES
) -> dict[str, bytes]:
    """PNG bytes of every figure in `figures` by file name; `tolerance` (a fraction) draws the band of the constraint."""
    return {name: png(draw(rows, readings, tolerance)) for name, draw in figures.items()}


# --- what is drawn ------------------------------------------------------------------------------------------------


def _walks(rows: pd.DataFrame) -> list[Walk]:
    """Trajectories with an accepted row, in order of start and seed."""
    if rows.empty:
        return []
    frames = {str(name): frame for name, frame in rows.groupby("trajectory", sort=True)}
    steps = {name: accepted_steps(frame) for name, frame in frames.items()}
    steps = {name: frame for name, frame in steps.items() if len(frame)}
    return _styled(steps, {name: found_stop(frames[name]) for name in steps})


def _equilibrations(readings: pd.DataFrame) -> list[Walk]:
    """Probe readings of the first equilibrium, one series per trajectory: the last attempt's first replica."""
    if readings.empty:
        return []
    first = readings[readings["first"].astype(bool) & (readings["split"].astype(str) == "probe")]
    series = {}
    for name, frame in first.groupby("trajectory", sort=True):
        attempt = frame[frame["attempt"] == frame["attempt"].max()]
        series[str(name)] = attempt[attempt["replica"] == attempt["replica"].iloc[0]].sort_values("update", kind="stable")
    return _styled(series, dict.fromkeys(series))


def _styled(series: Mapping[str, pd.DataFrame], stops: Mapping[str, pd.Series | None]) -> list[Walk]:
    """Give each start a colour and each of its repeats (seeds) a marker; label both, the seed only if seeds differ."""
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
        colour, marker = starts.index((head["run"], head["lam"], head["gamma"])), seeds.index(head["seed"])
        label = f"{head['run']} ({head['lam']:g}, {head['gamma']:g})".strip()
        style = {
            "color": PALETTE[colour % len(PALETTE)],
            "linestyle": LINES[colour // len(PALETTE) % len(LINES)],
            "marker": MARKERS[marker % len(MARKERS)],
            "markersize": 4.5,
            "linewidth": 1.5,
        }
        label += f", seed {head['seed']}" if len(seeds) > 1 else ""
        walks.append(Walk(label=label, steps=series[str(name)], stop=stops[str(name)], style=style))
    return walks


# --- how it is drawn ----------------------------------------------------------------------------------------------


def _axes(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 4.6), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x_label, fontsize=12)
    axes.set_ylabel(y_label, fontsize=12)
    axes.tick_params(labelsize=11)
    axes.grid(True, color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _step_axis(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))


def _error_bars(axes: Axes, walk: Walk, values: tuple[str, str], errors: tuple[str, str]) -> None:
    x, y = (numbers(walk.steps, name) for name in values)
    x_bar, y_bar = (2.0 * numbers(walk.steps, name) for name in errors)
    _bars(axes, x, y, {"xerr": x_bar, "yerr": y_bar}, walk.style["color"])


def _bars(axes: Axes, x: np.ndarray, y: np.ndarray, bars: dict[str, np.ndarray], colour: str) -> None:
    """Draw the bars longer than half a per cent of the axis; shorter ones hide behind the markers."""
    spans = {"xerr": np.ptp(axes.get_xlim()), "yerr": np.ptp(axes.get_ylim())}
    visible = {side: np.nan_to_num(bar) for side, bar in bars.items() if np.nanmax(bar, initial=0.0) > 0.005 * spans[side]}
    if visible:
        axes.errorbar(x, y, **visible, fmt="none", ecolor=colour, elinewidth=1.0, capsize=2.0, alpha=0.8, label="_bars")


def _finish(figure: Figure, axes: Axes, walks: list[Walk], extra: Sequence[Any] = (), *, beside: bool = False) -> Figure:
    if not walks:
        axes.text(0.5, 0.5, "no data yet", transform=axes.transAxes, ha="center", va="center", fontsize=13, color=GREY)
        axes.set_xticks([])
        axes.set_yticks([])
        return figure
    handles = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    handles += extra
    # Beside the axes where the entries would cover the curves.
    place = {"loc": "best"} if len(handles) <= 6 and not beside else {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    axes.legend(handles=handles, title="start (λ, γ)", fontsize=10, title_fontsize=10, framealpha=0.85, **place)
    return figure
