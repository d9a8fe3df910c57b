"""What all charts of a report share: series of a trajectory, bands, axes. Plain dicts of plotly.js, without its Python objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from rayfe.figures.drawing import GREY, Walk, walks_of
from rayfe.results.frames import between_leaps, numbers

DIGITS = 6
"""Significant digits of a plotted number: more cannot be seen."""
MANY = 12
"""Trajectories beyond which a chart shows only some of each one's symbols."""
SOME = 8
VISIBLE = 0.005
"""Part of an axis below which error bars would hide behind the symbols."""
SYMBOLS: Mapping[str, str] = MappingProxyType(
    {
        "o": "circle",
        "s": "square",
        "^": "triangle-up",
        "D": "diamond",
        "v": "triangle-down",
        "P": "cross",
        "X": "x",
        ".": "circle",
    }
)
SYMBOLS_3D: Mapping[str, str] = MappingProxyType({"triangle-up": "square-open", "triangle-down": "circle-open"})
"""Those that plotly.js lacks in three dimensions."""
DASHES: Mapping[str, str] = MappingProxyType({"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """One chart of the page: `data` and `layout` are plotly.js's, the theme is added in the browser."""

    name: str
    title: str
    caption: str
    data: list[dict[str, Any]]
    layout: dict[str, Any] = field(default_factory=dict)
    is_3d: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One trajectory as drawn: its accepted rows, its found stop, its colour, symbol and dash."""

    trajectory: str
    label: str
    steps: pd.DataFrame
    stop: pd.Series | None
    color: str
    symbol: str
    dash: str
    symbols: int
    """Symbols shown along the line at most; 0: all."""

    def of(self, column: str, unit: float = 1.0) -> np.ndarray:
        return unit * numbers(self.steps, column)

    def between_leaps(self) -> Series:
        """The same with an empty row, at which lines have a gap, before each row that a leap led to."""
        return replace(self, steps=between_leaps(self.steps))


def series_of(rows: pd.DataFrame) -> list[Series]:
    """Trajectories with an accepted row, styled as the PNG figures are."""
    walks = walks_of(rows)
    symbols = SOME if len(walks) > MANY else 0
    return [_styled(walk, str(walk.steps["trajectory"].iloc[0]), symbols) for walk in walks]


def _styled(walk: Walk, trajectory: str, symbols: int) -> Series:
    style = walk.style
    return Series(
        trajectory=trajectory,
        label=walk.label,
        steps=walk.steps,
        stop=walk.stop,
        color=style["color"],
        symbol=SYMBOLS[style["marker"]],
        dash=DASHES[style["linestyle"]],
        symbols=symbols,
    )


def values(array: np.ndarray | Sequence[float]) -> list[float | None]:
    """Numbers for JSON: rounded, None where not finite."""
    return [float(f"{number:.{DIGITS}g}") if np.isfinite(number) else None for number in np.asarray(array, float)]


def line(series: Series, x: np.ndarray, y: np.ndarray, **options: Any) -> dict[str, Any]:
    """A line with markers; `options` override what the series gives."""
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": values(x),
        "y": values(y),
        "name": series.label,
        "meta": series.trajectory,
        "line": {"color": series.color, "dash": series.dash, "width": 2},
        "marker": {"symbol": series.symbol, "size": 7, "color": series.color, "maxdisplayed": series.symbols},
    }
    return trace | options


def dashed(series: Series, x: np.ndarray, y: np.ndarray, what: str) -> dict[str, Any]:
    """A thin dashed line without markers, for the second of two quantities of one trajectory."""
    style = {"color": series.color, "dash": "dot", "width": 1.2}
    return line(series, x, y, mode="lines", line=style, name=f"{series.label}, {what}")


def span(series: Sequence[Series], column: str) -> float:
    """How far apart the numbers of a column are in a chart of all `series`."""
    every = np.concatenate([np.zeros(0), *(one.of(column) for one in series)])
    every = every[np.isfinite(every)]
    return float(np.ptp(every)) if len(every) else 0.0


def bars(one: Series, error: str, *, span: float) -> dict[str, Any]:
    """Error bars of two standard errors; none where they would hide behind the symbols of an axis of that `span`."""
    array = 2.0 * np.nan_to_num(one.of(error))
    if not array.max(initial=0.0) > VISIBLE * span:
        return {"type": "data", "visible": False}
    return {"type": "data", "array": values(array), "color": one.color, "thickness": 1, "width": 3}


def band(series: Series, x: np.ndarray, y: np.ndarray, error: np.ndarray) -> dict[str, Any]:
    """A band of two standard errors around y; of no width where the error was not measured."""
    error = 2.0 * np.nan_to_num(error)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": values(np.concatenate([x, x[::-1]])),
        "y": values(np.concatenate([y + error, (y - error)[::-1]])),
        "fill": "toself",
        "fillcolor": translucent(series.color, 0.2),
        "line": {"width": 0},
        "hoverinfo": "skip",
        "meta": series.trajectory,
        "showlegend": False,
    }


def mark(series: Series, x: float, y: float, name: str, symbol: str) -> dict[str, Any]:
    """One large symbol, e.g. an x where a trajectory stopped."""
    marker = {"symbol": symbol, "size": 13, "color": series.color, "line": {"width": 2, "color": series.color}}
    return line(series, np.array([x]), np.array([y]), mode="markers", marker=marker, name=f"{series.label}: {name}")


def translucent(color: str, opacity: float) -> str:
    """`#rrggbb` as rgba."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def axes(x: str, y: str, **more: Any) -> dict[str, Any]:
    """A layout with both axes named."""
    return {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}} | more


def tolerance_band(limit: float) -> list[dict[str, Any]]:
    """The band +- `limit` across the chart, and its zero."""
    edge = {"xref": "paper", "x0": 0, "x1": 1, "yref": "y"}
    return [
        {"type": "rect", **edge, "y0": -limit, "y1": limit, "fillcolor": translucent(GREY, 0.18), "line": {"width": 0}},
        {"type": "line", **edge, "y0": 0, "y1": 0, "line": {"color": GREY, "width": 1}},
    ]


def has(series: Sequence[Series], column: str) -> bool:
    """Whether any trajectory has a number there."""
    return any(np.isfinite(one.of(column)).any() for one in series)
