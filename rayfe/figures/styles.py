"""How trajectories look in figures and on the page: their order, labels, colours and markers; axes' round numbers. No matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from rayfe.results.frames import CONDITIONED, accepted_steps, counted_steps, numbers
from rayfe.results.walk_summary import found_stop

# Okabe-Ito without its yellow, which is too pale for lines on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "-.", ":")
GREY = "#555555"


@dataclass(frozen=True, kw_only=True, slots=True)
class Walk:
    """One trajectory as drawn: colour by start, marker by seed."""

    label: str
    steps: pd.DataFrame
    stop: pd.Series | None
    style: Mapping[str, Any]
    lowest: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    """`lowest_of` its steps."""


def walks_of(rows: pd.DataFrame, palette: Sequence[str] = PALETTE) -> list[Walk]:
    """Trajectories with an accepted row, in order of start and seed."""
    if rows.empty:
        return []
    frames = {str(name): frame for name, frame in rows.groupby("trajectory", sort=True)}
    steps = {name: _in_order(accepted_steps(frame)) for name, frame in frames.items()}
    steps = {name: frame for name, frame in steps.items() if len(frame)}
    walks = _styled(steps, {name: found_stop(frames[name]) for name in steps}, palette)
    counted = counted_steps(rows).index
    return [replace(walk, lowest=lowest_of(walk.steps, counted)) for walk in walks]


def _in_order(steps: pd.DataFrame) -> pd.DataFrame:
    """Accepted rows as a line joins them: those of a conditioned model by gamma and lam."""
    return steps.sort_values(["gamma", "lam"], kind="stable") if is_boxed(steps) else steps


def is_boxed(steps: pd.DataFrame) -> bool:
    """Whether the steps are models that one conditioned model gives."""
    return len(steps) > 0 and "process" in steps and steps["process"].iloc[0] == CONDITIONED


def lowest_of(steps: pd.DataFrame, counted: pd.Index | None = None) -> np.ndarray:
    """Places of a walk's accepted rows that count, in order of lam, where others stand beside them; (0,) where all count, and of a
    transfer. `counted` are the labels of those that count, where they are at hand."""
    places = np.flatnonzero(steps.index.isin(counted_steps(steps).index if counted is None else counted))
    if len(places) == len(steps) or (numbers(steps, "t") > 0.0).any():
        return places[:0]
    return places[np.argsort(numbers(steps, "lam")[places], kind="stable")]


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


def round_numbers(low: float, high: float) -> np.ndarray:
    """Round numbers between `low` and `high`, as many as do not touch each other on a logarithmic axis."""
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)))
    for numbers_of in FINENESS:
        placed = np.multiply.outer(decades, numbers_of).ravel()
        placed = placed[(placed >= low) & (placed <= high)]
        if len(placed) <= MOST_NUMBERS:
            break
    return placed
