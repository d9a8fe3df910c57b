"""Rows of walks -> Figs. 2 and 4, and the constraint; along lam, with the ways of one walk apart.

`rows` are steps rows of any number of trajectories (columns of StepRecord), `readings` rows of ReadingRecord.
Lines and markers are accepted rows only. Error bars are two standard errors of the draws of z, nothing else is in them; they
are left out where they would be smaller than the line. A frame without such rows gives a figure that says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from rayfe.figures.drawing import (
    BARS,
    EXACT,
    TRAINING,
    Draw,
    draw_bars,
    error_bars,
    finish,
    lam_axis,
    new_axes,
    note,
)
from rayfe.figures.legs import LEAP, LOWEST, draw_lowest, draw_walk, parted
from rayfe.figures.styles import GREY, Walk, equilibrations, walks_of
from rayfe.records.columns import ACTIVE
from rayfe.results.dimensions import dimension_events, rates_of
from rayfe.results.frames import (
    distortion_title,
    drift,
    drift_called,
    exact_curve,
    held_loss,
    holds_something,
    numbers,
)


def rate_distortion(rows: pd.DataFrame) -> Figure:
    """Fig. 2a: distortion D against rate R along each trajectory."""
    figure, axes = new_axes("Rate R (nats)", distortion_title(rows))
    walks = walks_of(rows)
    for walk in walks:
        _draw(axes, walk, "R", "D")
    for walk in walks:  # after all lines, so that "visible" is judged on the final limits
        error_bars(axes, walk, ("R", "D"), ("R_se", "D_se"))
    curves = [curve for walk in walks if (curve := exact_curve(walk.steps)) is not None]
    for place, curve in enumerate(curves):
        axes.plot(*curve, **EXACT, label="_exact" if place else "exact")
    return finish(figure, axes, walks, _legend_of(axes))


def dimensions(rows: pd.DataFrame) -> Figure:
    """Nats of each dimension of z against lam, a line each; triangles mark where one comes in (up) or goes out (down)."""
    figure, axes = new_axes("Lambda λ", "Rate of each dimension of z (nats)")
    walks = [walk for walk in walks_of(rows) if rates_of(walk.steps).size]
    events = dimension_events(rows)
    for walk in walks:
        lam, named = numbers(walk.steps, "lam"), walk
        for rates in rates_of(walk.steps).T:
            draw_walk(axes, named, lam, rates, linewidth=0.9, markersize=2.5)
            named = replace(walk, label="_other")
        own = events[events["trajectory"] == walk.steps["trajectory"].iloc[0]]
        for event, marker in (("in", "^"), ("out", "v")):
            at = own.loc[own["event"] == event, "lam"]
            axes.plot(at, np.full(len(at), ACTIVE), marker, color=walk.style["color"], markersize=7, mfc="none", label="_event")
    lam_axis(axes, walks)
    return finish(figure, axes, walks, _legend_of(axes), beside=True)


def multipliers(rows: pd.DataFrame) -> Figure:
    """Fig. 2b: gamma against lambda along each trajectory; an x marks a found stop, named in the legend."""
    figure, axes = new_axes("Lambda λ", "Gamma γ")
    walks = walks_of(rows)
    stops = []
    for walk in walks:
        _draw(axes, walk, "lam", "gamma")
        if walk.stop is not None:
            point = [float(walk.stop["lam"])], [float(walk.stop["gamma"])]
            axes.plot(*point, "x", color=walk.style["color"], markersize=10, markeredgewidth=2.2, label="_stop", zorder=4)
            stops.append(str(walk.stop["reason"]))
    handles = [
        Line2D([], [], color=GREY, marker="x", linestyle="", markersize=9, markeredgewidth=2.2, label=f"stop: {name}")
        for name in sorted(set(stops))
    ]
    lam_axis(axes, walks)
    return finish(figure, axes, walks, [*_legend_of(axes), *handles])


def validation_loss(rows: pd.DataFrame) -> Figure:
    """Fig. 2c: validation loss (full) and training loss C (dashed) against lambda."""
    figure, axes = new_axes("Lambda λ", "Loss C (nats)")
    walks = walks_of(rows)
    for walk in walks:
        _draw(axes, walk, "lam", "val_C")
        axes.plot(
            parted(walk.steps, numbers(walk.steps, "lam")),
            parted(walk.steps, numbers(walk.steps, "C")),
            **{**TRAINING, "color": walk.style["color"]},
            label="_training",
        )
    if not walks:
        return finish(figure, axes, walks)
    lam_axis(axes, walks)
    if axes.dataLim.ymin >= 0.0:
        axes.set_ylim(bottom=0.0)
        axes.set_ylim(top=1.05 * axes.get_ylim()[1])
    accuracy = 100.0 * np.concatenate([numbers(walk.steps, "val_accuracy") for walk in walks])
    if np.isfinite(accuracy).any():
        bounds = dict.fromkeys(f"{value:.1f}" for value in (np.nanmin(accuracy), np.nanmax(accuracy)))
        axes.set_title(f"validation accuracy {'–'.join(bounds)} %", fontsize=11, loc="right")
    training = Line2D([], [], **TRAINING, label="on training data")
    return finish(figure, axes, walks, [*_legend_of(axes), training], beside=True)


def validation_accuracy(rows: pd.DataFrame) -> Figure:
    """Fig. 3c: validation accuracy against lambda; the score of a task that has none."""
    scored = rows["val_accuracy"].isna().all() and rows["val_score"].notna().any()
    column, called, unit = (
        ("val_score", "Validation score", 1.0) if scored else ("val_accuracy", "Validation accuracy (%)", 100.0)
    )
    figure, axes = new_axes("Lambda λ", called)
    walks = walks_of(rows)
    for walk in walks:
        draw_walk(axes, walk, numbers(walk.steps, "lam"), unit * numbers(walk.steps, column))
    lam_axis(axes, walks)
    return finish(figure, axes, walks, _legend_of(axes))


def free_energy_of_equilibration(readings: pd.DataFrame) -> Figure:
    """Fig. 4a: F on the probe against the update of the first equilibrium (its last attempt)."""
    figure, axes = new_axes("Mini-batch update", "Free energy F = R + λD + γC (nats)")
    walks = equilibrations(readings)
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
    return finish(figure, axes, walks)


def free_energy_of_walk(rows: pd.DataFrame) -> Figure:
    """Fig. 4b: F against lambda."""
    figure, axes = new_axes("Lambda λ", "Free energy F = R + λD + γC (nats)")
    walks = walks_of(rows)
    for walk in walks:
        _draw(axes, walk, "lam", "F")
    lam_axis(axes, walks)
    return finish(figure, axes, walks, _legend_of(axes))


def constraint(rows: pd.DataFrame, tolerance: float | None = None) -> Figure:
    """C / C_target - 1 in per cent against lambda with bars of two standard errors, and the band +- `tolerance` (a fraction)."""
    figure, axes = new_axes("Lambda λ", drift_called(rows))
    walks = [walk for walk in walks_of(rows) if holds_something(walk.steps)]
    drawn = False
    for walk in walks:
        target = numbers(walk.steps, "C_target")
        held = drift(walk.steps, np.where(np.isnan(target), held_loss(walk.steps)[0], target))
        lam, y = numbers(walk.steps, "lam"), 100.0 * held["drift"].to_numpy()
        draw_walk(axes, walk, lam, y, linewidth=0.6)
        drawn |= draw_bars(axes, lam, y, {"yerr": 200.0 * held["drift_se"].to_numpy()}, walk.style["color"])
    if drawn:
        note(figure, BARS)
    handles = []
    lam_axis(axes, walks)
    if walks:
        axes.axhline(0.0, color=GREY, linewidth=0.8, zorder=1)
    if walks and tolerance is not None:
        limit = 100.0 * tolerance
        handles = [
            axes.axhspan(-limit, limit, color="#000000", alpha=0.07, linewidth=0, label=f"tolerance ±{limit:.3g} %", zorder=0)
        ]
        axes.set_ymargin(0.1)
    return finish(figure, axes, walks, [*_legend_of(axes), *handles], beside=True)


def _legend_of(axes: Axes) -> list[Line2D]:
    """What the legend says of lines that have no name of their own: leaps and the lowest envelope, where there are some."""
    there = {line.get_label() for line in axes.get_lines()}
    kinds = (("_leap", "leap", LEAP), ("_lowest", "lowest F at each λ", LOWEST))
    return [Line2D([], [], **style, label=text) for name, text, style in kinds if name in there]


def _draw(axes: Axes, walk: Walk, x: str, y: str) -> None:
    """Two columns of a walk against each other: its ways, its leaps, and the lowest envelope."""
    values = numbers(walk.steps, x), numbers(walk.steps, y)
    draw_walk(axes, walk, *values)
    draw_lowest(axes, walk, *values)


FIGURES: Mapping[str, Draw] = MappingProxyType(
    {
        "fig2a_rate_distortion.png": lambda rows, readings, tolerance: rate_distortion(rows),
        "fig2b_multipliers.png": lambda rows, readings, tolerance: multipliers(rows),
        "fig2c_validation_loss.png": lambda rows, readings, tolerance: validation_loss(rows),
        "fig4a_equilibration.png": lambda rows, readings, tolerance: free_energy_of_equilibration(readings),
        "fig4b_free_energy.png": lambda rows, readings, tolerance: free_energy_of_walk(rows),
        "constraint.png": lambda rows, readings, tolerance: constraint(rows, tolerance),
        "dimensions.png": lambda rows, readings, tolerance: dimensions(rows),
    }
)
"""Every figure of a walk by file name."""
UNHELD_FIGURES: Mapping[str, Draw] = MappingProxyType(
    {name: draw for name, draw in FIGURES.items() if name not in ("fig2b_multipliers.png", "constraint.png")}
)
"""Those of a walk that holds nothing."""
