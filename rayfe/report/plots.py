"""What all charts of a report share: series of a trajectory, bands, axes. Plain dicts of plotly.js, without its Python objects."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rayfe.figures.legs import Way, leg_style, parted, ways_of
from rayfe.figures.styles import GREY, round_numbers, walks_of
from rayfe.results.frames import numbers

if TYPE_CHECKING:
    from rayfe.report.keys import Key

DIGITS = 6
"""Significant digits of a plotted number: more cannot be seen."""
MANY = 12
"""Trajectories beyond which a chart shows only some of each one's symbols."""
SOME = 8
ARROW = 0.12
"""Part of a trajectory's extent from which on a piece of it has an arrow."""
SIZE = 7
"""Of a symbol, in pixels."""
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
LEAP: Mapping[str, Any] = MappingProxyType({"color": GREY, "dash": "dot", "width": 1.5})
WHERE = "step %{customdata[0]}, lam %{customdata[1]:.4g}, gamma %{customdata[2]:.4g}<br>"
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
    keys: Sequence[Key] = ()
    """Which line is which, where the chart has its own legend."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """What the horizontal axis of a chart shows."""

    column: str
    title: str
    unit: float = 1.0
    is_log: bool = False

    def of(self, one: Series) -> np.ndarray:
        return one.of(self.column, self.unit)

    def layout(self, series: Sequence[Series], y: str, *, rangemode: str = "normal", **more: Any) -> dict[str, Any]:
        """A layout with both axes named; of a logarithmic one round numbers are written out."""
        layout = axes(self.title, y, rangemode=rangemode, **more)
        if self.is_log:
            layout["xaxis"] |= logarithmic(self.of(one) for one in series)
        return layout


def logarithmic(columns: Iterable[np.ndarray]) -> dict[str, Any]:
    """What makes an axis of these numbers logarithmic, with round ones written out; nothing where they do not differ."""
    every = np.concatenate([np.zeros(0), *columns])
    every = every[np.isfinite(every) & (every > 0.0)]
    if len(np.unique(every)) < 2:
        return {}
    ticks = round_numbers(float(every.min()), float(every.max()))
    return {"type": "log", "tickvals": values(ticks), "ticktext": [f"{tick:g}" for tick in ticks]}


LAM = Axis(column="lam", title="Multiplier lam of D", is_log=True)
SIGMA = Axis(column="sigma", title="Multiplier sigma of S", is_log=True)
POSITION = Axis(column="t", title="Position t on the data path (0 source, 1 target)")
EXAMPLES = Axis(column="examples", title="Training examples (millions)", unit=1e-6)


@dataclass(frozen=True, kw_only=True)
class Series:
    """One trajectory as drawn: its accepted rows, its found stop, its style (as in the PNG figures). What follows is worked out once."""

    trajectory: str
    label: str
    steps: pd.DataFrame
    stop: pd.Series | None
    style: Mapping[str, Any]
    symbols: int
    """Symbols shown along the line at most; 0: all."""
    lowest: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    """As in a Walk of `figures.styles`."""

    @property
    def color(self) -> str:
        return str(self.style["color"])

    @property
    def symbol(self) -> str:
        return SYMBOLS[self.style["marker"]]

    @property
    def dash(self) -> str:
        return DASHES[self.style["linestyle"]]

    def of(self, column: str, unit: float = 1.0) -> np.ndarray:
        return unit * numbers(self.steps, column)

    @functools.cached_property
    def ways(self) -> list[tuple[Way, Series]]:
        """Its ways, each with the series in the way's style."""
        return [(way, replace(self, style=leg_style(self.style, way.leg))) for way in ways_of(self.steps)]

    @functools.cached_property
    def points(self) -> list[list[float | None]]:
        """What a point says of itself: step, lam, gamma, R, t."""
        known = np.stack([self.of(name) for name in ("step", "lam", "gamma", "R", "t")], axis=1)
        return [values(point) for point in known]


@dataclass(frozen=True, kw_only=True, slots=True)
class Errors:
    """Standard errors of what is drawn."""

    each: np.ndarray
    """Of each row, in the unit of the axis."""
    span: float
    """How far apart the numbers of the whole axis are."""


def series_of(rows: pd.DataFrame) -> list[Series]:
    """Trajectories with an accepted row, styled as the PNG figures are."""
    walks = walks_of(rows)
    symbols = SOME if len(walks) > MANY else 0
    return [
        Series(
            trajectory=str(walk.steps["trajectory"].iloc[0]),
            label=str(walk.steps["trajectory"].iloc[0]),
            steps=walk.steps,
            stop=walk.stop,
            style=walk.style,
            symbols=symbols,
            lowest=walk.lowest,
        )
        for walk in walks
    ]


def values(array: np.ndarray | Sequence[float]) -> list[float | None]:
    """Numbers for JSON: rounded, None where not finite."""
    return [float(f"{number:.{DIGITS}g}") if np.isfinite(number) else None for number in np.asarray(array, float)]


def line(series: Series, x: np.ndarray, y: np.ndarray, **options: Any) -> dict[str, Any]:
    """A line with markers; `options` override what the series gives."""
    size = SIZE + 3 * series.symbol.startswith("triangle")  # which fill less of their box
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": values(x),
        "y": values(y),
        "name": series.label,
        "meta": series.trajectory,
        "line": {"color": series.color, "dash": series.dash, "width": 2},
        "marker": {"symbol": series.symbol, "size": size, "color": series.color, "maxdisplayed": series.symbols},
    }
    return trace | options


def curve(
    one: Series, x: np.ndarray, y: np.ndarray, text: str, *, errors: Mapping[str, Errors] = MappingProxyType({})
) -> list[dict[str, Any]]:
    """A trajectory's line, each of its ways in its own colour and symbol, and its leaps dotted.

    x and y (N,) belong to the rows of `one.steps`; `text` ends what a point says of itself. `errors` are those of "x" or "y".
    """
    traces = []
    for way, part in one.ways:
        rows = slice(way.joined, way.end)
        if way.leapt:
            leap = slice(way.begin - 1, way.begin + 1)
            traces.append(
                line(one, x[leap], y[leap], mode="lines", line=dict(LEAP), name=f"{one.label}, leap", hoverinfo="skip")
            )
        trace = line(part, x[rows], y[rows], name=way.named(one.label)) | where(one, text, rows)
        if way.joined < way.begin:  # its line begins at a symbol of the way before
            trace["marker"] |= {"opacity": [0] + [1] * (way.end - way.begin)}
        traces.append(trace | {f"error_{axis}": bars(part, error, rows) for axis, error in errors.items()})
    return traces


def lowest(one: Series, x: np.ndarray, y: np.ndarray) -> list[dict[str, Any]]:
    """A black line through the steps whose F is lowest at their lam, where others stand beside them."""
    at, style = one.lowest, {"color": "#000000", "width": 1.2}
    name = f"{one.label}, lowest F at each lam"
    return [line(one, x[at], y[at], mode="lines", line=style, name=name, hoverinfo="skip")] if len(at) else []


def where(one: Series, text: str, rows: slice = slice(None)) -> dict[str, Any]:
    """Hover text that says at which step and multipliers a point lies."""
    return {
        "customdata": one.points[rows],
        "hovertemplate": f"{WHERE}{text}<extra>%{{fullData.name}}</extra>",
    }


def dashed(series: Series, x: np.ndarray, y: np.ndarray, what: str) -> dict[str, Any]:
    """A thin dotted line without markers, for the second of two quantities of one trajectory."""
    style = {"color": series.color, "dash": "dot", "width": 1.2}
    x, y = parted(series.steps, x), parted(series.steps, y)
    return line(series, x, y, mode="lines", line=style, name=f"{series.label}, {what}")


def arrows(one: Series, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Heads of arrows in the middle of a trajectory's longer pieces: which way it went."""
    scale = [np.ptp(part) or 1.0 for part in (x, y)]
    far = np.hypot(np.diff(x) / scale[0], np.diff(y) / scale[1]) > ARROW
    between = [np.ravel(np.stack([part[:-1], (part[:-1] + part[1:]) / 2], axis=1)) for part in (x, y)]
    sizes = np.ravel(np.stack([0 * far, 3 * SIZE * far], axis=1)).tolist()
    marker = {"symbol": "arrow", "angleref": "previous", "size": sizes, "color": one.color, "line": {"width": 0}}
    return line(one, *between, mode="markers", marker=marker, name=f"{one.label}, the way", hoverinfo="skip")


def star(row: pd.Series, of: Series) -> dict[str, Any]:
    """The mark of the recommended model, a row of this trajectory (or run)."""
    marker = {"symbol": "star", "size": 17, "color": of.color, "line": {"width": 1.5, "color": "#000000"}}
    R, D = np.array([row["R"]], float), np.array([row["D"]], float)
    hover = f"recommended: step {row['step']}, R %{{x:.4g}}, D %{{y:.4g}}<extra>{of.label}</extra>"
    return line(of, R, D, mode="markers", marker=marker, name=f"{of.label}, recommended", hovertemplate=hover)


def span(series: Sequence[Series], column: str) -> float:
    """How far apart the numbers of a column are in a chart of all `series`."""
    every = np.concatenate([np.zeros(0), *(one.of(column) for one in series)])
    every = every[np.isfinite(every)]
    return float(np.ptp(every)) if len(every) else 0.0


def bars(one: Series, errors: Errors, rows: slice) -> dict[str, Any]:
    """Error bars of two standard errors; none where they would hide behind the symbols."""
    array = 2.0 * np.nan_to_num(errors.each[rows])
    if not array.max(initial=0.0) > VISIBLE * errors.span:
        return {"type": "data", "visible": False}
    return {"type": "data", "array": values(array), "color": one.color, "thickness": 1, "width": 3}


def mark(series: Series, x: float, y: float, name: str, symbol: str) -> dict[str, Any]:
    """One large symbol, e.g. an x where a trajectory stopped."""
    marker = {"symbol": symbol, "size": 13, "color": series.color, "line": {"width": 2, "color": series.color}}
    return line(series, np.array([x]), np.array([y]), mode="markers", marker=marker, name=f"{series.label}: {name}")


def translucent(color: str, opacity: float) -> str:
    """`#rrggbb` as rgba."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def axes(x: str, y: str, *, rangemode: str = "normal", **more: Any) -> dict[str, Any]:
    """A layout with both axes named."""
    return {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}, "rangemode": rangemode}} | more


def tolerance_band(*limits: float) -> list[dict[str, Any]]:
    """The bands +- `limits` across the chart, and their zero."""
    edge = {"xref": "paper", "x0": 0, "x1": 1, "yref": "y"}
    grey = {"fillcolor": translucent(GREY, 0.15), "line": {"width": 0}, "layer": "below"}
    bands = [{"type": "rect", **edge, "y0": -limit, "y1": limit, **grey} for limit in limits]
    return [*bands, {"type": "line", **edge, "y0": 0, "y1": 0, "line": {"color": GREY, "width": 1}}]


def has(series: Sequence[Series], column: str) -> bool:
    """Whether any trajectory has a number there."""
    return any(np.isfinite(one.of(column)).any() for one in series)
