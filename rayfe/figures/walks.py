"""Rows of walks -> Figs. 2 and 4, and the constraint against the number of steps.

`rows` are steps rows of any number of trajectories (columns of StepRecord), `readings` rows of ReadingRecord.
Lines and markers are accepted rows only. Error bars are two standard errors of the draws of z, nothing else is in them; they
are left out where they would be smaller than the line. A frame without such rows gives a figure that says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from rayfe.figures.drawing import (
    EXACT,
    GREY,
    TRAINING,
    Draw,
    draw_bars,
    equilibrations,
    error_bars,
    finish,
    new_axes,
    step_axis,
    walks_of,
)
from rayfe.records.columns import ACTIVE
from rayfe.results.dimensions import dimension_events, rates_of
from rayfe.results.frames import between_leaps, drift, exact_curve, held_loss, holds_something, numbers


def rate_distortion(rows: pd.DataFrame) -> Figure:
    """Fig. 2a: distortion D against rate R along each trajectory."""
    figure, axes = new_axes("Rate R (nats)", "Distortion D (squared pixel units)")
    walks = walks_of(rows)
    for walk in walks:
        drawn = between_leaps(walk.steps)
        axes.plot(numbers(drawn, "R"), numbers(drawn, "D"), label=walk.label, **walk.style)
    for walk in walks:  # after all lines, so that "visible" is judged on the final limits
        error_bars(axes, walk, ("R", "D"), ("R_se", "D_se"))
    curves = [curve for walk in walks if (curve := exact_curve(walk.steps)) is not None]
    for place, curve in enumerate(curves):
        axes.plot(*curve, **EXACT, label="_exact" if place else "exact")
    return finish(figure, axes, walks)


def dimensions(rows: pd.DataFrame) -> Figure:
    """Nats of each dimension of z against lam, a line each; triangles mark where one comes in (up) or goes out (down)."""
    figure, axes = new_axes("Lambda λ", "Rate of each dimension of z (nats)")
    walks = [walk for walk in walks_of(rows) if rates_of(walk.steps).size]
    events = dimension_events(rows)
    for walk in walks:
        style = {**walk.style, "linewidth": 0.9, "markersize": 2.5}
        lines = axes.plot(numbers(walk.steps, "lam"), rates_of(walk.steps), **style)
        lines[0].set_label(walk.label)
        for line in lines[1:]:
            line.set_label("_other")
        own = events[events["trajectory"] == walk.steps["trajectory"].iloc[0]]
        for event, marker in (("in", "^"), ("out", "v")):
            at = own.loc[own["event"] == event, "lam"]
            axes.plot(at, np.full(len(at), ACTIVE), marker, color=walk.style["color"], markersize=7, mfc="none", label="_event")
    if walks:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    return finish(figure, axes, walks)


def multipliers(rows: pd.DataFrame) -> Figure:
    """Fig. 2b: gamma against lambda along each trajectory; an x marks a found stop, named in the legend."""
    figure, axes = new_axes("Lambda λ", "Gamma γ")
    walks = walks_of(rows)
    stops = []
    for walk in walks:
        drawn = between_leaps(walk.steps)
        axes.plot(numbers(drawn, "lam"), numbers(drawn, "gamma"), label=walk.label, **walk.style)
        if walk.stop is not None:
            point = [float(walk.stop["lam"])], [float(walk.stop["gamma"])]
            axes.plot(*point, "x", color=walk.style["color"], markersize=10, markeredgewidth=2.2, label="_stop", zorder=4)
            stops.append(str(walk.stop["reason"]))
    handles = [
        Line2D([], [], color=GREY, marker="x", linestyle="", markersize=9, markeredgewidth=2.2, label=f"stop: {name}")
        for name in sorted(set(stops))
    ]
    return finish(figure, axes, walks, handles)


def validation_loss(rows: pd.DataFrame) -> Figure:
    """Fig. 2c: validation loss (full) and training loss C (dashed) against the number of steps."""
    figure, axes = new_axes("Number of steps", "Validation loss (nats)")
    walks = walks_of(rows)
    for walk in walks:
        step = numbers(walk.steps, "step")
        axes.plot(step, numbers(walk.steps, "val_C"), label=walk.label, **walk.style)
        axes.plot(step, numbers(walk.steps, "C"), **{**TRAINING, "color": walk.style["color"]}, label="_training")
    if not walks:
        return finish(figure, axes, walks)
    step_axis(axes)
    axes.set_ylim(bottom=0.0)
    axes.set_ylim(top=1.05 * axes.get_ylim()[1])
    accuracy = 100.0 * np.concatenate([numbers(walk.steps, "val_accuracy") for walk in walks])
    if np.isfinite(accuracy).any():
        bounds = dict.fromkeys(f"{value:.1f}" for value in (np.nanmin(accuracy), np.nanmax(accuracy)))
        axes.set_title(f"validation accuracy {'–'.join(bounds)} %", fontsize=11, loc="right")
    return finish(figure, axes, walks, [Line2D([], [], **TRAINING, label="training loss C")], beside=True)


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
    """Fig. 4b: F against the number of steps."""
    figure, axes = new_axes("Number of steps", "Free energy F = R + λD + γC (nats)")
    walks = walks_of(rows)
    for walk in walks:
        axes.plot(numbers(walk.steps, "step"), numbers(walk.steps, "F"), label=walk.label, **walk.style)
    if walks:
        step_axis(axes)
    return finish(figure, axes, walks)


def constraint(rows: pd.DataFrame, tolerance: float | None = None) -> Figure:
    """C / C_target - 1 in per cent with bars of two standard errors, and the band +- `tolerance` (a fraction).

    Trajectories stand side by side at each step, at most a quarter of a step off it.
    """
    figure, axes = new_axes("Number of steps", "C / C_target - 1 (%)")
    walks = [walk for walk in walks_of(rows) if holds_something(walk.steps)]
    for place, walk in enumerate(walks):
        target = numbers(walk.steps, "C_target")
        target = np.where(np.isnan(target), held_loss(walk.steps)[0], target)
        held = drift(walk.steps, target)
        x = numbers(walk.steps, "step") + (place - (len(walks) - 1) / 2) * 0.5 / len(walks)
        y, bar = 100.0 * held["drift"].to_numpy(), 200.0 * held["drift_se"].to_numpy()
        axes.plot(x, y, label=walk.label, **{**walk.style, "linewidth": 0.6})
        draw_bars(axes, x, y, {"yerr": bar}, walk.style["color"])
    handles = []
    if walks:
        step_axis(axes)
        axes.axhline(0.0, color=GREY, linewidth=0.8, zorder=1)
    if walks and tolerance is not None:
        limit = 100.0 * tolerance
        handles = [
            axes.axhspan(-limit, limit, color="#000000", alpha=0.07, linewidth=0, label=f"tolerance ±{limit:g} %", zorder=0)
        ]
        axes.set_ymargin(0.1)
    return finish(figure, axes, walks, handles, beside=True)


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
