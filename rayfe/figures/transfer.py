"""Rows of transfers and baselines -> Figs. 5 and 6; the constraints and the multipliers along the data path.

`rows` are steps rows of transfers (t from 0 to 1), `baselines` those of jobs/baseline.py; lines and markers are accepted rows.
Bars and bands are two standard errors of the draws of z. What is read on p(x, t) and what is read on the target have panels apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rayfe.figures.drawing import (
    BANDS,
    Draw,
    draw_arrow,
    draw_band,
    error_bars,
    finish,
    new_axes,
    new_panels,
    note,
)
from rayfe.figures.methods import METHODS, draw_baselines, draw_transfers
from rayfe.figures.styles import GREY, PALETTE, Walk, walks_of
from rayfe.figures.walks import free_energy_of_equilibration
from rayfe.results.frames import BASELINES, distortion_title, drift, moves_data, numbers, way_in_D
from rayfe.results.transfer_summary import LARGEST_BEND

OF_TRANSFERS = tuple(colour for colour in PALETTE if colour not in {method.color for method in METHODS.values()})
"""Colours that no baseline has."""
POSITION = "Position t on the data path (0 source, 1 target)"


def geodesic_plane(rows: pd.DataFrame) -> Figure:
    """Fig. 5a: distortion against rate during the transfer, the line of slope k through the start, the target's point."""
    figure, axes = new_axes("Rate R (nats)", distortion_title(rows))
    walks = _named(rows)
    extra: dict[str, Line2D] = {}
    for walk in walks:
        R, D, k, end_R, end_D = (numbers(walk.steps, name) for name in ("R", "D", "k", "end_R", "end_D"))
        axes.plot(R, D, label=walk.label, **walk.style)
        axes.plot(R[:1], D[:1], marker="o", markersize=10, markerfacecolor="none", color=walk.style["color"], label="_start")
        extra["start"] = _symbol("o", "start (t = 0)")
        if np.isfinite(k[0]):
            ends = np.array([np.nanmin([*R, end_R[0]]), np.nanmax([*R, end_R[0]])])
            axes.plot(ends, D[0] + k[0] * (ends - R[0]), color=GREY, linewidth=1.1, linestyle="--", label="_line", zorder=1)
            extra["line"] = Line2D([], [], color=GREY, linewidth=1.1, linestyle="--", label="D - D0 = k (R - R0)")
        if np.isfinite([end_R[0], end_D[0]]).all():
            axes.plot(end_R[0], end_D[0], "*", color=walk.style["color"], markersize=14, markeredgecolor="black", label="_end")
            extra["end"] = _symbol("*", "trained on the target alone, same C")
        draw_arrow(axes, R, D, walk.style["color"])
    for walk in walks:  # after all lines, so that "visible" is judged on the final limits
        error_bars(axes, walk, ("R", "D"), ("R_se", "D_se"))
    return finish(figure, axes, walks, list(extra.values()), title="")


def accuracy(rows: pd.DataFrame, baselines: pd.DataFrame | None = None) -> Figure:
    """Figs. 5b and 6b: validation accuracy of transfers on p(x, t) against t; below it, on the target, by training examples."""
    return _two_panels(rows, baselines, "Validation accuracy (%)", ("val_accuracy", "target_accuracy"), 100.0)


def loss(rows: pd.DataFrame, baselines: pd.DataFrame | None = None) -> Figure:
    """Fig. 6a: validation loss of transfers on p(x, t) against t; below it, on the target, by training examples."""
    return _two_panels(rows, baselines, "Validation loss (nats)", ("val_C", "target_C"), 1.0)


def multipliers_in_t(rows: pd.DataFrame) -> Figure:
    """lam above, gamma below, against t; an x marks a found stop, a star the target's own gamma at C0 and the start's lam."""
    figure, panels = new_panels(POSITION, ("Lambda λ", "Gamma γ"))
    walks = _named(rows)
    extra: dict[str, Line2D] = {}
    for walk in walks:
        lam, gamma, end_gamma = (numbers(walk.steps, name) for name in ("lam", "gamma", "end_gamma"))
        for axes, values, end in zip(panels, (lam, gamma), (lam[0], end_gamma[0]), strict=True):
            axes.plot(numbers(walk.steps, "t"), values, label=walk.label, **walk.style)
            if np.isfinite(end_gamma[0]):
                axes.plot(1.0, end, "*", color=walk.style["color"], markersize=14, markeredgecolor="black", label="_end")
                extra["end"] = _symbol("*", "trained on the target alone, same C")
        if walk.stop is not None:
            for axes, name in zip(panels, ("lam", "gamma"), strict=True):
                point = [float(walk.stop["t"])], [float(walk.stop[name])]
                axes.plot(*point, "x", color=walk.style["color"], markersize=10, markeredgewidth=2.2, label="_stop", zorder=4)
            extra[f"stop {walk.stop['reason']}"] = _symbol("x", f"stop: {walk.stop['reason']}")
    _path_axis(panels, walks)
    return finish(figure, panels[0], walks, list(extra.values()), title="")


def constraint_in_t(rows: pd.DataFrame, tolerance: float | None = None) -> Figure:
    """C / C_target - 1 against t with the band +- `tolerance` (a fraction); below it, for geodesics, `line_miss`.

    `line_miss` is in per cent of the largest |D - D0|, dashed where a summary warns.
    """
    walks = _named(rows)
    lined = [walk for walk in walks if len(walk.steps) > 1 and np.isfinite(numbers(walk.steps, "line_miss")).any()]
    labels = ("C / C_target - 1 (%)", "off the line (% of largest |D - D0|)")
    figure, panels = new_panels(POSITION, labels if lined else labels[:1])
    for walk in walks:
        held = drift(walk.steps, numbers(walk.steps, "C_target"))
        _with_band(panels[0], walk, 100.0 * held["drift"].to_numpy(), 100.0 * held["drift_se"].to_numpy())
    for walk in lined:
        miss, error = (numbers(walk.steps, name) for name in ("line_miss", "line_miss_se"))
        if way := way_in_D(walk.steps):
            _with_band(panels[1], walk, 100.0 * miss / way, 100.0 * error / way)
    extra: list[Any] = []
    if walks and tolerance is not None:
        limit, text = 100.0 * tolerance, f"tolerance ±{100.0 * tolerance:.3g} %"
        panels[0].axhspan(-limit, limit, color="#000000", alpha=0.07, linewidth=0, zorder=0)
        extra = [Patch(color="#000000", alpha=0.07, linewidth=0, label=text)]
    for axes in panels[1:]:
        for limit in (-LARGEST_BEND, LARGEST_BEND):
            axes.axhline(limit, color=GREY, linewidth=0.9, linestyle="--", label="_limit")
    for axes in panels if walks else ():
        axes.set_ymargin(0.1)
        axes.axhline(0.0, color=GREY, linewidth=0.8, zorder=1, label="_zero")
    _path_axis(panels, walks)
    return finish(figure, panels[0], walks, extra, beside=True, title="")


GEODESIC: Mapping[str, Draw] = MappingProxyType(
    {
        "fig5a_geodesic.png": lambda rows, readings, tolerance: geodesic_plane(_moved(rows)),
        "fig5b_accuracy.png": lambda rows, readings, tolerance: accuracy(_moved(rows), _trained(rows)),
        "validation_loss.png": lambda rows, readings, tolerance: loss(_moved(rows), _trained(rows)),
    }
)
CONSTANT_RATE: Mapping[str, Draw] = MappingProxyType(
    {
        "fig6a_loss.png": lambda rows, readings, tolerance: loss(_moved(rows), _trained(rows)),
        "fig6b_accuracy.png": lambda rows, readings, tolerance: accuracy(_moved(rows), _trained(rows)),
        "rate_distortion.png": lambda rows, readings, tolerance: geodesic_plane(_moved(rows)),
    }
)
PROCESSES: Mapping[str, Mapping[str, Draw]] = MappingProxyType({"geodesic": GEODESIC, "constant-rate": CONSTANT_RATE})
"""Figures by file name of one process alone, drawn from its rows and those of baselines."""
IN_T: Mapping[str, Draw] = MappingProxyType(
    {
        "constraint_in_t.png": lambda rows, readings, tolerance: constraint_in_t(rows, tolerance),
        "multipliers_in_t.png": lambda rows, readings, tolerance: multipliers_in_t(rows),
        "fig4a_equilibration.png": lambda rows, readings, tolerance: free_energy_of_equilibration(readings),
    }
)
"""Figures by file name of every transfer."""
BASELINE_FIGURES: Mapping[str, Draw] = MappingProxyType(
    {
        "accuracy.png": lambda rows, readings, tolerance: accuracy(_moved(rows), _trained(rows)),
        "loss.png": lambda rows, readings, tolerance: loss(_moved(rows), _trained(rows)),
    }
)
"""Every figure of a baseline by file name."""
FIGURES: Mapping[str, Draw] = MappingProxyType({**GEODESIC, **IN_T})
"""Every figure of a geodesic transfer by file name."""


# --- parts --------------------------------------------------------------------------------------------------------


def _moved(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[moves_data(rows)]


def _trained(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["process"].isin(BASELINES)]


def _named(rows: pd.DataFrame) -> list[Walk]:
    """Walks whose labels say what the line is, the process before the start, and how far it came."""
    named = []
    for walk in walks_of(rows, OF_TRANSFERS):
        end = numbers(walk.steps, "t")[-1]
        label = f"{walk.steps['process'].iloc[0]} {walk.label}" + ("" if end == 1.0 else f", to t = {end:.3g}")
        named.append(replace(walk, label=label))
    return named


def _symbol(marker: str, label: str) -> Line2D:
    width = 2.2 if marker == "x" else 1.0
    style: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": "black", "markeredgewidth": width, "markersize": 10}
    return Line2D([], [], linestyle="", marker=marker, label=label, **style)


def _with_band(axes: Axes, walk: Walk, y: np.ndarray, error: np.ndarray) -> None:
    t = numbers(walk.steps, "t")
    axes.plot(t, y, label=walk.label, **{**walk.style, "linewidth": 1.0})
    if np.nan_to_num(error).any():
        draw_band(axes, t, y, error, walk.style["color"])
        note(axes.figure, BANDS)  # type: ignore[arg-type]


def _path_axis(panels: Sequence[Axes], walks: Sequence[Walk]) -> None:
    if walks:
        panels[-1].set_xlim(-0.03, 1.03)


def _two_panels(rows: pd.DataFrame, baselines: pd.DataFrame | None, what: str, columns: tuple[str, str], unit: float) -> Figure:
    """What is read on p(x, t), and on the target; without transfers only the second."""
    walks = _named(rows)
    figure, panels = new_panels("Training examples (millions)", (what,) * (2 if walks else 1), sharex=False)
    for walk in walks:
        panels[0].plot(numbers(walk.steps, "t"), unit * numbers(walk.steps, columns[0]), label=walk.label, **walk.style)
    if walks:
        panels[0].set_xlabel(POSITION, fontsize=11)
        panels[0].set_xlim(-0.03, 1.03)
        panels[0].set_title("on p(x, t), the data at hand", fontsize=10, loc="right")
        panels[1].set_title("on the target", fontsize=10, loc="right")
    draw_transfers(panels[-1], walks, columns, unit)
    extra = draw_baselines(panels[-1], baselines, columns, unit) if baselines is not None else []
    return finish(figure, panels[0], walks, extra, beside=True, title="")
