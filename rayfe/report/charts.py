"""Rows of walks and baselines -> charts: Figs. 2 and 4, the constraint, the distance from equilibrium."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rayfe.figures.legs import parted
from rayfe.figures.styles import equilibrations
from rayfe.records.columns import ACTIVE
from rayfe.report.plots import (
    EXAMPLES,
    LAM,
    SIGMA,
    SIZE,
    Axis,
    Chart,
    Errors,
    Series,
    axes,
    curve,
    dashed,
    has,
    line,
    logarithmic,
    lowest,
    mark,
    span,
    tolerance_band,
    values,
)
from rayfe.report.surface_chart import rdc_surface
from rayfe.report.view import RunView
from rayfe.results.dimensions import dimension_events, rates_of
from rayfe.results.frames import distortion_title, drift, exact_curve, gammas_of, numbers, percent_of_F, size_of_F
from rayfe.results.walk_summary import envelope_excess

DRAWS = "Bars: two standard errors of the draws of z alone."


def walk_charts(view: RunView, series: Sequence[Series]) -> list[Chart]:
    """Every chart of walks, the curve first."""
    axis = SIGMA if view.config.process == "weight-information" else LAM
    charts = [
        rate_distortion(view.rows, series),
        multipliers(series, axis),
        constraint(series, axis, tolerances(view)),
        loss(series, axis),
        accuracy(series, axis),
        *([information(series, axis)] if has(series, "S") else []),
        dimensions(view.rows, series),
        free_energy(series, axis),
        excess(view.rows, series, view.models),
        equilibration(view.readings),
        *rdc_surface(view.rows, view.readings, series),
    ]
    return worth(charts)


def baseline_charts(view: RunView, series: Sequence[Series]) -> list[Chart]:
    """Every chart of baselines: training against examples, and what the model is worth on the target."""
    charts = [
        rate_distortion(view.rows, series),
        constraint(series, EXAMPLES, tolerances(view)),
        loss(series, EXAMPLES),
        accuracy(series, EXAMPLES),
        free_energy(series, EXAMPLES),
        equilibration(view.readings),
    ]
    return worth(charts)


def worth(charts: Sequence[Chart]) -> list[Chart]:
    """The first, and those others that show more than single points."""
    first, *others = charts
    return [first, *(chart for chart in others if any(len(trace.get("x", ())) > 1 for trace in chart.data))]


def rate_distortion(rows: pd.DataFrame, series: Sequence[Series]) -> Chart:
    """Fig. 2a."""
    data, (R, D) = [], (span(series, name) for name in "RD")
    for one in series:
        errors = {"x": Errors(each=one.of("R_se"), span=R), "y": Errors(each=one.of("D_se"), span=D)}
        data += curve(one, one.of("R"), one.of("D"), "R %{x:.4g}, D %{y:.4g}", errors=errors)
        data += lowest(one, one.of("R"), one.of("D"))
    for one in series:
        if (exact := exact_curve(one.steps)) is not None:
            style = {"color": "#000000", "dash": "dash", "width": 1.5}
            data.append(line(one, *exact, mode="lines", line=style, name=f"{one.label}, exact"))
    return Chart(
        name="rate-distortion",
        title="Distortion against rate",
        caption=f"Each point is a model. Further right z keeps more of x; further down x is reconstructed better. {DRAWS}",
        data=data,
        layout=axes("Rate R (nats)", distortion_title(rows)),
    )


def dimensions(rows: pd.DataFrame, series: Sequence[Series]) -> Chart:
    """Nats of each dimension of z along log lam, and where dimensions come in or go out."""
    events, data = dimension_events(rows), []
    for one in series:
        for dimension, rates in enumerate(rates_of(one.steps).T):
            hover = {"text": f"dimension {dimension}", "hovertemplate": "%{text}, lam %{x:.4g}: %{y:.3g} nats<extra></extra>"}
            x, y = parted(one.steps, one.of("lam")), parted(one.steps, rates)
            data.append(line(one, x, y, showlegend=dimension == 0) | hover)
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
        caption=f"Triangles: where a dimension comes in (up, above {ACTIVE:g} nats) or goes out (down).",
        data=data,
        layout=LAM.layout(series, "Rate (nats)"),
    )


def multipliers(series: Sequence[Series], axis: Axis) -> Chart:
    """Fig. 2b, of several losses a line each; an x marks a found stop."""
    data, x = [], axis.column
    for one in series:
        for gamma in gammas_of(one.steps).T:
            data += curve(one, axis.of(one), gamma, "R %{customdata[3]:.4g}") + lowest(one, axis.of(one), gamma)
        if one.stop is not None:
            data.append(mark(one, float(one.stop[x]), float(one.stop["gamma"]), f"stop {one.stop['reason']}", "x-thin"))
    return Chart(
        name="multipliers",
        title=f"Multipliers: gamma against {x}",
        caption="A large x: the walk ended there by a named stop. Where several losses are held, each has a line.",
        data=data,
        layout=axis.layout(series, "Multiplier gamma of C"),
    )


def tolerances(view: RunView) -> tuple[float, ...]:
    """Of C, fractions: those of all trajectories. They differ where a floor in nats is more of a smaller C."""
    return tuple(sorted(set(numbers(view.summary, "tolerance")))) if len(view.summary) else ()


def constraint(series: Sequence[Series], axis: Axis, tolerance: Sequence[float]) -> Chart:
    """C / C0 - 1 in per cent with its error, and the tolerances (fractions)."""
    data, limits = [], [100.0 * one for one in tolerance]
    for one in (one for one in series if np.isfinite(one.of("C_target")).any()):
        off = drift(one.steps, one.of("C_target")) * 100.0
        errors = {"y": Errors(each=off["drift_se"].to_numpy(), span=max(limits))}
        data += curve(one, axis.of(one), off["drift"].to_numpy(), "%{y:+.2f} %", errors=errors)
    relative = not any(has([one], "C_scale") for one in series)
    name, unit = ("C / C0 - 1", "%") if relative else ("C - C0", "% of a nat")
    return Chart(
        name="constraint",
        title=f"Was C held? {name}",
        caption=f"Grey: the tolerance, {' or '.join(f'{limit:.3g}' for limit in limits)} {unit}. {DRAWS}",
        data=data,
        layout=axis.layout(series, f"{name} ({unit})", shapes=tolerance_band(*limits)),
    )


def loss(series: Sequence[Series], axis: Axis) -> Chart:
    """Fig. 2c: validation loss, training loss dotted, loss on the target alone dashed."""
    data: list[dict[str, Any]] = []
    across = span(series, "val_C")
    for one in series:
        errors = {"y": Errors(each=one.of("val_C_se"), span=across)}
        data += curve(one, axis.of(one), one.of("val_C"), "validation C %{y:.4g}", errors=errors)
        data.append(dashed(one, axis.of(one), one.of("C"), "training"))
        if has([one], "target_C"):
            data.append(_on_target(one, axis, "target_C", 1.0))
    layout = axis.layout(series, "C (nats)", rangemode="tozero")
    if has(series, "target_C"):  # which begins a hundred times above the other
        layout["yaxis"] |= logarithmic(one.of(name) for one in series for name in ("val_C", "C", "target_C"))
    return Chart(
        name="loss",
        title="Loss C of the task",
        caption=_second("validation examples (bars: two standard errors over them)", series, "target_C"),
        data=data,
        layout=layout,
    )


def accuracy(series: Sequence[Series], axis: Axis) -> Chart:
    """Validation and training accuracy, and that on the target alone; of another task its score."""
    data: list[dict[str, Any]] = []
    if has(series, "val_score"):
        for one in series:
            data += curve(one, axis.of(one), one.of("val_score"), "validation score %{y:.4g}")
            data.append(dashed(one, axis.of(one), one.of("score"), "training"))
        caption = (
            "Of validation examples; dotted: training. Of regression: squared error of the mean prediction, mean over targets."
        )
        return Chart(
            name="accuracy", title="Score of the task", caption=caption, data=data, layout=axis.layout(series, "Score")
        )
    for one in series:
        data += curve(one, axis.of(one), one.of("val_accuracy", 100.0), "validation accuracy %{y:.2f} %")
        data.append(dashed(one, axis.of(one), one.of("accuracy", 100.0), "training"))
        if has([one], "target_accuracy"):
            data.append(_on_target(one, axis, "target_accuracy", 100.0))
    return Chart(
        name="accuracy",
        title="Accuracy",
        caption=_second("validation examples", series, "target_accuracy"),
        data=data,
        layout=axis.layout(series, "Accuracy (%)"),
    )


def information(series: Sequence[Series], axis: Axis) -> Chart:
    """What random weights know of the data."""
    data = []
    for one in series:
        data += curve(one, axis.of(one), one.of("S"), "S %{y:.5g}")
    return Chart(
        name="information",
        title="Information in the weights S",
        caption="KL(p(theta | data) || m(theta)) of all random weights together.",
        data=data,
        layout=axis.layout(series, "S (nats)", rangemode="tozero"),
    )


def free_energy(series: Sequence[Series], axis: Axis) -> Chart:
    """Fig. 4b."""
    data = []
    for one in series:
        data += curve(one, axis.of(one), one.of("F"), "F %{y:.5g}") + lowest(one, axis.of(one), one.of("F"))
    return Chart(
        name="free-energy",
        title="Free energy F = R + lam D + gamma C",
        caption="F of each accepted step. It changes because the multipliers do.",
        data=data,
        layout=axis.layout(series, "F (nats)"),
    )


def excess(rows: pd.DataFrame, series: Sequence[Series], models: pd.DataFrame | None) -> Chart:
    """How far F is above what the other models that are there reach at the same multipliers."""
    above, told = envelope_excess(rows, models), percent_of_F(rows)
    data = []
    for one in series:
        nats = above[one.steps.index].to_numpy()
        found = 100.0 * nats / size_of_F(one.steps).to_numpy() if told else nats
        data += curve(one, LAM.of(one), found, "%{y:.3f} %" if told else "%{y:.3g} nats") + lowest(one, LAM.of(one), found)
    return Chart(
        name="excess",
        title="Distance from equilibrium, at least",
        caption="F above that of the best stored model at the same multipliers. Zero is no proof of equilibrium.",
        data=data,
        layout=LAM.layout(series, "excess (% of F)" if told else "excess (nats)", rangemode="tozero"),
    )


def equilibration(readings: pd.DataFrame) -> Chart:
    """Fig. 4a: F on the probe during the first equilibrium."""
    data, walks = [], equilibrations(readings)
    for walk in walks:
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
    scale = {} if any((numbers(walk.steps, "F") <= 0.0).any() for walk in walks) else {"type": "log"}
    return Chart(
        name="equilibration",
        title="Free energy while the start was trained",
        caption="F of the probe examples during the first training. It should be flat at the end.",
        data=data,
        layout=axes("Mini-batch update", "F (nats)", yaxis={"title": {"text": "F (nats)"}} | scale),
    )


def _on_target(one: Series, axis: Axis, wanted: str, unit: float) -> dict[str, Any]:
    style = {"color": one.color, "dash": "dash", "width": 1.5}
    marker = {"symbol": f"{one.symbol}-open", "size": SIZE, "color": one.color}
    return line(one, axis.of(one), one.of(wanted, unit), line=style, marker=marker, name=f"{one.label}, target alone")


def _second(first: str, series: Sequence[Series], on_target: str) -> str:
    text = f"Symbols: {first}. Dotted: training examples."
    return f"{text} Open symbols, dashed: validation examples of the target alone." if has(series, on_target) else text
