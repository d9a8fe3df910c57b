"""Baselines as drawn next to a transfer, or alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rayfe.results.frames import accepted_steps, numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """How a baseline is drawn; `level`: next to other curves only by its end, as a horizontal line."""

    label: str
    color: str
    line: str
    level: bool


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "finetune": Method(label="fine-tuning from the source", color="#000000", line="--", level=False),
        "scratch": Method(label="training from scratch", color="#009E73", line="-.", level=True),
        "joint": Method(label="joint training", color="#CC79A7", line=":", level=True),
    }
)


def draw_baselines(axes: Axes, rows: pd.DataFrame, columns: tuple[str, str], unit: float, *, alone: bool) -> list[Line2D]:
    """Curves of one colour per method; the mean over trajectories of a method's end, with its band, where it is a level.

    `columns`: on what the method trains on, and on the target; returns what the legend shows. `alone`: nothing else is drawn.
    """
    handles = []
    for name, method in METHODS.items():
        walks = [accepted_steps(walk) for _, walk in rows[rows["process"] == name].groupby("trajectory", sort=True)]
        curves = [(numbers(walk, "step"), unit * _on_target(walk, *columns)) for walk in walks]
        curves = [(step, values) for step, values in curves if np.isfinite(values).any()]
        style: dict[str, Any] = {"color": method.color, "linestyle": method.line, "linewidth": 1.5}
        label = method.label
        if curves and method.level and not alone:
            _level(axes, np.array([values[-1] for _, values in curves]), style)
            label += ", its end"
        elif curves:
            for step, values in curves:
                axes.plot(step, values, **style, label="_baseline")
        else:
            continue
        handles.append(Line2D([], [], **style, label=label))
    return handles


def _on_target(walk: pd.DataFrame, column: str, on_target: str) -> np.ndarray:
    """The target's own column, and where it was not measured that on p(x, t) at t = 1, which is the target."""
    values = numbers(walk, on_target)
    return np.where(np.isnan(values) & (numbers(walk, "t") == 1.0), numbers(walk, column), values)


def _level(axes: Axes, ends: np.ndarray, style: Mapping[str, Any]) -> None:
    axes.axhline(ends.mean(), **style, label="_baseline")
    if len(ends) > 1:
        error = 2.0 * ends.std(ddof=1) / len(ends) ** 0.5
        axes.axhspan(ends.mean() - error, ends.mean() + error, color=style["color"], alpha=0.15, linewidth=0)
