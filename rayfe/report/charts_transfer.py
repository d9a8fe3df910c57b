"""Rows of transfers -> charts: Figs. 5 and 6, against the position t on the data path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rayfe.figures.styles import GREY
from rayfe.report.charts import DRAWS, accuracy, constraint, equilibration, free_energy, loss, tolerances, worth
from rayfe.report.plots import POSITION, Chart, Errors, Series, arrows, axes, curve, has, line, mark, span, tolerance_band
from rayfe.report.view import RunView
from rayfe.results.frames import distortion_title, way_in_D
from rayfe.results.transfer_summary import LARGEST_BEND

DOMAINS = ([0.56, 1.0], [0.0, 0.44])


def transfer_charts(view: RunView, series: Sequence[Series]) -> list[Chart]:
    """Every chart of transfers, the way in the plane of R and D first."""
    charts = [
        geodesic(view.rows, series),
        multipliers_in_t(series),
        constraint(series, POSITION, tolerances(view)),
        off_the_line(series),
        loss(series, POSITION),
        accuracy(series, POSITION),
        free_energy(series, POSITION),
        slope(series),
        equilibration(view.readings),
    ]
    return worth(charts)


def geodesic(rows: pd.DataFrame, series: Sequence[Series]) -> Chart:
    """Fig. 5a: D against R, the line of slope k through the start, and the target's own model."""
    data: list[dict[str, Any]] = []
    across = {name: span(series, name) for name in "RD"}
    for one in series:
        R, D, k, end_R, end_D = (one.of(name) for name in ("R", "D", "k", "end_R", "end_D"))
        if np.isfinite(k[0]):
            ends = np.array([np.nanmin([*R, end_R[0]]), np.nanmax([*R, end_R[0]])])
            style = {"color": GREY, "dash": "dash", "width": 1.5}
            data.append(line(one, ends, D[0] + k[0] * (ends - R[0]), mode="lines", line=style, name="D - D0 = k (R - R0)"))
        errors = {axis: Errors(each=one.of(f"{name}_se"), span=across[name]) for axis, name in (("x", "R"), ("y", "D"))}
        data += curve(one, R, D, "t %{customdata[4]:.4g}, R %{x:.4g}, D %{y:.4g}", errors=errors)
        data.append(arrows(one, R, D))
        data.append(mark(one, R[0], D[0], "start, t = 0", "circle-open"))
        if np.isfinite([end_R[0], end_D[0]]).all():
            data.append(mark(one, end_R[0], end_D[0], "trained on the target alone, same C", "hexagon-open"))
    return Chart(
        name="rate-distortion",
        title="Distortion against rate during the transfer",
        caption="A ring: the start. A hexagon: a model trained on the target alone, with the same C. Dashed: the line that the transfer "
        f"keeps to, where it keeps to one. {DRAWS}",
        data=data,
        layout=axes("Rate R (nats)", distortion_title(rows)),
    )


def multipliers_in_t(series: Sequence[Series]) -> Chart:
    """lam above, gamma below, against t; a hexagon: the target's own gamma at the start's C and lam."""
    data: list[dict[str, Any]] = []
    for one in series:
        end = one.of("end_gamma")[0]
        for name, y_axis in (("lam", "y"), ("gamma", "y2")):
            data += [
                trace | {"yaxis": y_axis} for trace in curve(one, one.of("t"), one.of(name), f"t %{{x:.4g}}, {name} %{{y:.4g}}")
            ]
            if one.stop is not None:
                stop = mark(one, float(one.stop["t"]), float(one.stop[name]), f"stop {one.stop['reason']}", "x-thin")
                data.append(stop | {"yaxis": y_axis})
        if np.isfinite(end):
            data.append(mark(one, 1.0, end, "the target's own gamma", "hexagon-open") | {"yaxis": "y2"})
    layout = POSITION.layout(series, "lam")
    for (axis, title), domain in zip((("yaxis", "lam"), ("yaxis2", "gamma")), DOMAINS, strict=True):
        layout[axis] = {"title": {"text": title}, "domain": domain}
    layout["xaxis"]["anchor"] = "y2"
    return Chart(
        name="multipliers",
        title="Multipliers along the data path",
        caption="lam above, gamma below. A hexagon: the gamma of the target's own model with the same C.",
        data=data,
        layout=layout,
    )


def off_the_line(series: Sequence[Series]) -> Chart:
    """D - D0 - k (R - R0) of geodesics in per cent of the largest |D - D0|."""
    data: list[dict[str, Any]] = []
    for one in (one for one in series if has([one], "line_miss") and len(one.steps) > 1):
        if way := way_in_D(one.steps):
            errors = {"y": Errors(each=100.0 * one.of("line_miss_se") / way, span=LARGEST_BEND)}
            data += curve(one, one.of("t"), 100.0 * one.of("line_miss") / way, "%{y:+.2f} %", errors=errors)
    return Chart(
        name="line",
        title="Off the geodesic's line",
        caption=f"D - D0 - k (R - R0) in per cent of the largest |D - D0|. Grey: up to {LARGEST_BEND:g} %. {DRAWS}",
        data=data,
        layout=POSITION.layout(series, "off the line (%)", shapes=tolerance_band(LARGEST_BEND)),
    )


def slope(series: Sequence[Series]) -> Chart:
    """F_t along the way: large where the target has classes that the model has not seen."""
    shown = [one for one in series if has([one], "F_t")]
    return Chart(
        name="slope",
        title="How fast the data change: F_t",
        caption="The derivative of F in t at fixed weights. It is steep near t = 0 where the target has new classes.",
        data=[trace for one in shown for trace in curve(one, one.of("t"), one.of("F_t"), "F_t %{y:.4g}")],
        layout=POSITION.layout(series, "F_t (nats)"),
    )
