"""Rows of walks and baselines -> charts: Figs. 2 and 4, the constraint, the distance from equilibrium."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rayfe.figures.drawing import equilibrations
from rayfe.records.columns import ACTIVE
from rayfe.report.plots import (
    Chart,
    Series,
    axes,
    band,
    bars,
    dashed,
    has,
    line,
    mark,
    span,
    tolerance_band,
    values,
)
from rayfe.report.surface_chart import rdc_surface
from rayfe.report.view import RunView
from rayfe.results.dimensions import dimension_events, rates_of
from rayfe.results.frames import drift, exact_curve, numbers
from rayfe.results.walk_summary import envelope_excess

STEPS = "Number of steps"
WHERE = "step %{customdata[0]}, lam %{customdata[1]:.4g}, gamma %{customdata[2]:.4g}<br>"


def walk_charts(view: RunView, series: Sequence[Series]) -> list[Chart]:
    """Every chart of walks, the surface first."""
    charts = [
        rdc_surface(view.rows, view.readings, series),
        rate_distortion(series),
        multipliers(series),
        constraint(series, "step", STEPS, view.config.asked.tolerance),
        loss(series, "step", STEPS),
        accuracy(series, "step", STEPS),
        dimensions(view.rows, series),
        free_energy(series, "step", STEPS),
        excess(view.rows, series, view.models),
        equilibration(view.readings),
    ]
    return [chart for chart in charts if chart.data]


def baseline_charts(view: RunView, series: Sequence[Series]) -> list[Chart]:
    """Every chart of baselines: training against steps, and what the model is worth on the target."""
    charts = [
        rate_distortion(series),
        constraint(series, "step", STEPS, view.config.asked.tolerance),
        loss(series, "step", STEPS),
        accuracy(series, "step", STEPS),
        free_energy(series, "step", STEPS),
        equilibration(view.readings),
    ]
    return [chart for chart in charts if chart.data]


def rate_distortion(series: Sequence[Series]) -> Chart:
    """Fig. 2a."""
    data, (R, D) = [], (span(series, name) for name in "RD")
    for one in (one.between_leaps() for one in series):
        trace = line(one, one.of("R"), one.of("D"))
        trace |= {"error_x": bars(one, "R_se", span=R), "error_y": bars(one, "D_se", span=D)}
        data.append(trace | where(one, "R %{x:.4g}, D %{y:.4g}"))
    for one in series:
        if (curve := exact_curve(one.steps)) is not None:
            style = {"color": "#000000", "dash": "dash", "width": 1.5}
            data.append(line(one, *curve, mode="lines", line=style, name=f"{one.label}, exact"))
    return Chart(
        name="rate-distortion",
        title="Distortion against rate",
        caption="Right and down: z carries more about x, and reconstructions are better. Bars: two standard errors of the "
        "draws of z alone; what training, branch and seed do is not in them.",
        data=data,
        layout=axes("Rate R (nats)", "Distortion D (squared pixels)"),
    )


def dimensions(rows: pd.DataFrame, series: Sequence[Series]) -> Chart:
    """Nats of each dimension of z along log lam, and where dimensions come in or go out."""
    events, data = dimension_events(rows), []
    for one in series:
        for dimension, rates in enumerate(rates_of(one.steps).T):
            hover = {"text": f"dimension {dimension}", "hovertemplate": "%{text}, lam %{x:.4g}: %{y:.3g} nats<extra></extra>"}
            data.append(line(one, one.of("lam"), rates, showlegend=dimension == 0) | hover)
        own = events[events["trajectory"] == one.trajectory]
        for event, symbol in (("in", "triangle-up-open"), ("out", "triangle-down-open")):
            chosen = own[own["event"] == event]
            marker = {"symbol": symbol, "size": 11, "color": one.color}
            at = chosen["lam"].to_numpy()
            named = {
                "text": [f"dimension {dimension} {event}" for dimension in chosen["dimension"]],
                "hovertemplate": "%{text} at lam %{x:.4g}<extra></extra>",
            }
            if len(at):
                name = f"{one.label}: {event}"
                data.append(line(one, at, np.full(len(at), ACTIVE), mode="markers", marker=marker, name=name) | named)
    return Chart(
        name="dimensions",
        title="Nats of each dimension of z",
        caption=f"A phase diagram: dimensions come in as lam grows (triangles up, above {ACTIVE:g} nats) and may go out (down).",
        data=data,
        layout=axes("Multiplier lam of D", "Rate (nats)", xaxis={"title": {"text": "Multiplier lam of D"}, "type": "log"}),
    )


def multipliers(series: Sequence[Series]) -> Chart:
    """Fig. 2b; an x marks a found stop."""
    data = []
    for one in (one.between_leaps() for one in series):
        data.append(line(one, one.of("lam"), one.of("gamma")) | where(one, "R %{customdata[3]:.4g}"))
        if one.stop is not None:
            data.append(mark(one, float(one.stop["lam"]), float(one.stop["gamma"]), f"stop {one.stop['reason']}", "x-thin"))
    return Chart(
        name="multipliers",
        title="Multipliers gamma against lam",
        caption="What gamma has to be so that C stays while lam grows. A large x: the walk ended there by a named stop.",
        data=data,
        layout=axes("Multiplier lam of D", "Multiplier gamma of C"),
    )


def constraint(series: Sequence[Series], column: str, x_title: str, tolerance: float) -> Chart:
    """C / C0 - 1 in per cent with its band, and the tolerance."""
    data = []
    for one in (one for one in series if np.isfinite(one.of("C_target")).any()):
        held = drift(one.steps, one.of("C_target"))
        x, y = one.of(column), 100.0 * held["drift"].to_numpy()
        data += [band(one, x, y, 100.0 * held["drift_se"].to_numpy()), line(one, x, y)]
    limit = 100.0 * tolerance
    return Chart(
        name="constraint",
        title="Was C held? C / C0 - 1",
        caption=f"Grey: the tolerance of {limit:g} %. Coloured bands: two standard errors of the draws of z.",
        data=data,
        layout=axes(x_title, "C / C0 - 1 (%)", shapes=tolerance_band(limit)),
    )


def loss(series: Sequence[Series], column: str, x_title: str) -> Chart:
    """Fig. 2c: validation loss, training loss dotted, loss on the target alone dashed."""
    data: list[dict[str, Any]] = []
    across = span(series, "val_C")
    for one in series:
        error = bars(one, "val_C_se", span=across)
        data.append(line(one, one.of(column), one.of("val_C"), name=f"{one.label}, validation", error_y=error))
        data.append(dashed(one, one.of(column), one.of("C"), "training"))
        if has([one], "target_C"):
            data.append(_on_target(one, column, "target_C", 1.0))
    return Chart(
        name="loss",
        title="Classification loss C",
        caption=_second("validation data (bars: two standard errors over images)", "training data", series, "target_C"),
        data=data,
        layout=axes(x_title, "C (nats)", yaxis={"title": {"text": "C (nats)"}, "rangemode": "tozero"}),
    )


def accuracy(series: Sequence[Series], column: str, x_title: str) -> Chart:
    """Validation and training accuracy, and that on the target alone."""
    data: list[dict[str, Any]] = []
    for one in series:
        data.append(line(one, one.of(column), one.of("val_accuracy", 100.0), name=f"{one.label}, validation"))
        data.append(dashed(one, one.of(column), one.of("accuracy", 100.0), "training"))
        if has([one], "target_accuracy"):
            data.append(_on_target(one, column, "target_accuracy", 100.0))
    return Chart(
        name="accuracy",
        title="Accuracy",
        caption=_second("validation data", "training data", series, "target_accuracy"),
        data=data,
        layout=axes(x_title, "Accuracy (%)"),
    )


def free_energy(series: Sequence[Series], column: str, x_title: str) -> Chart:
    """Fig. 4b."""
    return Chart(
        name="free-energy",
        title="Free energy along the way",
        caption="F = R + lam D + gamma C of each accepted step: it changes because the multipliers do.",
        data=[line(one, one.of(column), one.of("F")) | where(one, "F %{y:.5g}") for one in series],
        layout=axes(x_title, "F (nats)"),
    )


def excess(rows: pd.DataFrame, series: Sequence[Series], models: pd.DataFrame | None) -> Chart:
    """How far F is above what the other models that are there reach at the same multipliers."""
    above = envelope_excess(rows, models)
    data = []
    for one in series:
        y = 100.0 * above[one.steps.index].to_numpy() / np.abs(one.of("F"))
        data.append(line(one, one.of("step"), y) | where(one, "%{y:.3f} %"))
    return Chart(
        name="excess",
        title="Distance from equilibrium (lower bound)",
        caption="F above the best of the models that happen to be there, at the same multipliers, in per cent of F: at least so far "
        "is it from equilibrium. Zero is no proof.",
        data=data,
        layout=axes(STEPS, "excess (% of F)", yaxis={"title": {"text": "excess (% of F)"}, "rangemode": "tozero"}),
    )


def equilibration(readings: pd.DataFrame) -> Chart:
    """Fig. 4a: F on the probe during the first equilibrium."""
    data = []
    for walk in equilibrations(readings):
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": values(numbers(walk.steps, "update")),
                "y": values(numbers(walk.steps, "F")),
                "name": walk.label,
                "meta": str(walk.steps["trajectory"].iloc[0]),
                "line": {"color": walk.style["color"], "width": 2},
            }
        )
    return Chart(
        name="equilibration",
        title="Free energy while the start was trained",
        caption="F on the probe against mini-batch updates of the first equilibrium. It should be flat at the end.",
        data=data,
        layout=axes("Mini-batch update", "F (nats)", yaxis={"title": {"text": "F (nats)"}, "type": "log"}),
    )


def where(one: Series, text: str) -> dict[str, Any]:
    """Hover text that says at which step and multipliers a point lies."""
    known = np.stack([one.of(name) for name in ("step", "lam", "gamma", "R")], axis=1)
    return {
        "customdata": [values(point) for point in known],
        "hovertemplate": f"{WHERE}{text}<extra>%{{fullData.name}}</extra>",
    }


def _on_target(one: Series, column: str, wanted: str, unit: float) -> dict[str, Any]:
    style = {"color": one.color, "dash": "dash", "width": 1.5}
    marker = {"symbol": f"{one.symbol}-open", "size": 7, "color": one.color}
    return line(one, one.of(column), one.of(wanted, unit), line=style, marker=marker, name=f"{one.label}, target alone")


def _second(first: str, second: str, series: Sequence[Series], on_target: str) -> str:
    text = f"With symbols: {first}; dotted: {second}"
    return f"{text}; open symbols, dashed: the target's validation data alone." if has(series, on_target) else f"{text}."
