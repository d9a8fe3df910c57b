"""Stored rows of transfers and baselines -> Figs. 5 and 6, and the multipliers along the data path.

`rows` are steps rows of transfers (t from 0 to 1), `baselines` those of jobs/baseline.py; lines and markers are accepted rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .figures import GREY, Draw, _axes, _finish, _step_axis, _walks, constraint, free_energy_of_equilibration
from .summary import BASELINES, accepted_steps, numbers

METHODS: Mapping[str, tuple[str, str, Any]] = MappingProxyType(
    {
        "finetune": ("fine-tuning from the source", "#56B4E9", "--"),
        "scratch": ("training from scratch", "#009E73", "-."),
        "joint": ("joint training", "#CC79A7", ":"),
    }
)
"""Label, colour and line of each baseline."""


def geodesic_plane(rows: pd.DataFrame) -> Figure:
    """Fig. 5a: distortion against rate during the transfer, the line of slope k through the start, the target's point."""
    figure, axes = _axes("Rate R (nats)", "Distortion D (squared pixel units)")
    walks = _walks(rows)
    extra: list[Line2D] = []
    for walk in walks:
        R, D, k = (numbers(walk.steps, name) for name in ("R", "D", "k"))
        if np.isfinite(k[0]):
            ends = np.array([R.min(), R.max()])
            axes.plot(ends, D[0] + k[0] * (ends - R[0]), color=GREY, linewidth=0.9, linestyle="--", label="_line", zorder=1)
            extra = [Line2D([], [], color=GREY, linewidth=0.9, linestyle="--", label="D - D0 = k (R - R0)")]
        axes.plot(R, D, label=walk.label, **walk.style)
        end = numbers(walk.steps, "end_R")[0], numbers(walk.steps, "end_D")[0]
        if np.isfinite(end).all():
            axes.plot(*end, marker="*", color=walk.style["color"], markersize=14, markeredgecolor="black", label="_end")
            extra += [Line2D([], [], marker="*", color="white", markeredgecolor="black", markersize=12, label="target alone")]
    unique = {str(handle.get_label()): handle for handle in extra}
    return _finish(figure, axes, walks, list(unique.values()))


def accuracy(rows: pd.DataFrame, baselines: pd.DataFrame | None = None) -> Figure:
    """Figs. 5b and 6b: validation accuracy against the number of steps, on p(x, t); baselines on the target."""
    figure, axes = _axes("Number of steps", "Validation accuracy (%)")
    return _along_steps(figure, axes, rows, baselines, "val_accuracy", "target_accuracy", 100.0)


def loss(rows: pd.DataFrame, baselines: pd.DataFrame | None = None) -> Figure:
    """Fig. 6a: validation loss against the number of steps, on p(x, t); baselines on the target."""
    figure, axes = _axes("Number of steps", "Validation loss (nats)")
    return _along_steps(figure, axes, rows, baselines, "val_C", "target_C", 1.0)


def multipliers_in_t(rows: pd.DataFrame) -> Figure:
    """lam (full) and gamma (dashed, right axis) against t."""
    figure, axes = _axes("Position t on the data path", "Lambda λ")
    right = axes.twinx()
    right.set_ylabel("Gamma γ (dashed)", fontsize=12)
    walks = _walks(rows)
    for walk in walks:
        t = numbers(walk.steps, "t")
        axes.plot(t, numbers(walk.steps, "lam"), label=walk.label, **walk.style)
        right.plot(t, numbers(walk.steps, "gamma"), **{**walk.style, "linestyle": "--", "markersize": 3})
    return _finish(figure, axes, walks)


FIGURES: Mapping[str, Draw] = MappingProxyType(
    {
        "fig5a_geodesic.png": lambda rows, readings, tolerance: geodesic_plane(rows),
        "fig5b_accuracy.png": lambda rows, readings, tolerance: accuracy(rows),
        "fig6a_loss.png": lambda rows, readings, tolerance: loss(rows),
        "multipliers.png": lambda rows, readings, tolerance: multipliers_in_t(rows),
        "fig4a_equilibration.png": lambda rows, readings, tolerance: free_energy_of_equilibration(readings),
        "constraint.png": lambda rows, readings, tolerance: constraint(rows, tolerance),
    }
)
"""Every figure of a transfer by file name."""
BASELINE_FIGURES: Mapping[str, Draw] = MappingProxyType(
    {
        "accuracy.png": lambda rows, readings, tolerance: accuracy(rows.iloc[:0], rows),
        "loss.png": lambda rows, readings, tolerance: loss(rows.iloc[:0], rows),
    }
)
"""Every figure of a baseline by file name."""


def _along_steps(
    figure: Figure,
    axes: Axes,
    rows: pd.DataFrame,
    baselines: pd.DataFrame | None,
    column: str,
    on_target: str,
    unit: float,
) -> Figure:
    walks = _walks(rows)
    for walk in walks:
        values = unit * numbers(walk.steps, column)
        axes.plot(numbers(walk.steps, "step"), values, label=walk.label, **walk.style)
    extra = _draw_baselines(axes, baselines, on_target, unit) if baselines is not None else []
    _step_axis(axes)
    if not walks and extra:
        axes.legend(handles=extra, fontsize=10, framealpha=0.85)
        return figure
    return _finish(figure, axes, walks, extra)


def _draw_baselines(axes: Axes, rows: pd.DataFrame, column: str, unit: float) -> list[Line2D]:
    """A line a trajectory; of several seeds all are drawn, in one colour."""
    handles = {}
    for _, frame in rows[rows["process"].isin(list(BASELINES))].groupby("trajectory", sort=True):
        steps = accepted_steps(frame)
        if steps.empty:
            continue
        label, colour, line = METHODS[str(steps["process"].iloc[0])]
        axes.plot(numbers(steps, "step"), unit * numbers(steps, column), color=colour, linestyle=line, label="_baseline")
        handles[label] = Line2D([], [], color=colour, linestyle=line, label=label)
    return list(handles.values())
