"""Baselines as drawn next to a transfer, or alone: what they reach on the target, by the examples they trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rayfe.figures.styles import Walk
from rayfe.results.frames import accepted_steps, numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """How a baseline is drawn."""

    label: str
    color: str
    line: str


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "finetune": Method(label="fine-tuning from the source", color="#000000", line="--"),
        "scratch": Method(label="training from scratch", color="#009E73", line="-."),
        "joint": Method(label="joint training", color="#CC79A7", line=":"),
    }
)


def draw_baselines(axes: Axes, rows: pd.DataFrame, columns: tuple[str, str], unit: float) -> list[Line2D]:
    """Curves of one colour per method by training examples in millions; returns what the legend shows.

    `columns`: on what the method trains on, and on the target.
    """
    handles = []
    for name, method in METHODS.items():
        style: dict[str, Any] = {"color": method.color, "linestyle": method.line, "linewidth": 1.5}
        walks = [accepted_steps(walk) for _, walk in rows[rows["process"] == name].groupby("trajectory", sort=True)]
        curves = [(numbers(walk, "examples") / 1e6, unit * _on_target(walk, *columns)) for walk in walks]
        curves = [(examples, values) for examples, values in curves if np.isfinite(values).any()]
        for examples, values in curves:
            axes.plot(examples, values, **style, label="_baseline")
        if curves:
            handles.append(Line2D([], [], **style, label=method.label))
    return handles


def draw_transfers(axes: Axes, walks: Sequence[Walk], columns: tuple[str, str], unit: float) -> None:
    """What transfers reach on the target, by training examples in millions."""
    for walk in walks:
        examples, values = numbers(walk.steps, "examples") / 1e6, unit * _on_target(walk.steps, *columns)
        axes.plot(examples, values, **walk.style, label="_transfer")


def _on_target(walk: pd.DataFrame, column: str, on_target: str) -> np.ndarray:
    """The target's own column, and where it was not measured that on p(x, t) at t = 1, which is the target."""
    values = numbers(walk, on_target)
    return np.where(np.isnan(values) & (numbers(walk, "t") == 1.0), numbers(walk, column), values)
