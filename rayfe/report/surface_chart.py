"""The rate-distortion-classification surface in three dimensions: what the stored models say about it, and the walks on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import ConvexHull, QhullError

from rayfe.report.plots import SYMBOLS_3D, Chart, Series, values
from rayfe.results.frames import accepted_steps, numbers

MOST_POINTS = 4000
"""Models from which the surface is made; evenly chosen ones where there are more."""


def lower_hull(points: np.ndarray) -> np.ndarray:
    """Triangles (m, 3) of the lower convex hull in the third coordinate of points (n, 3); none if they lie in one plane.

    The equilibrium surface R(D, C) is convex and no model lies below it, so this hull is the lowest surface that the
    models prove: the true one lies on it or below. It is the Legendre transform of the envelope
    min over j of R_j + lam D_j + gamma C_j.
    """
    none = np.empty((0, 3), int)
    spread = np.ptp(points, axis=0) if len(points) else np.zeros(3)
    if len(points) < 4 or (spread <= 0).any():
        return none
    try:
        hull = ConvexHull((points - points.min(axis=0)) / spread)
    except QhullError:
        return none
    return hull.simplices[hull.equations[:, 2] < -1e-6]


def models(rows: pd.DataFrame, readings: pd.DataFrame) -> np.ndarray:
    """(n, 3): D, C, R on the training split of accepted steps and of the neighbours that were trained beside them."""
    frames = [accepted_steps(rows)]
    if not readings.empty:
        frames.append(readings[(readings["split"].astype(str) == "train") & (readings["replica"] != "endpoint")])
    points = np.concatenate([np.stack([numbers(frame, name) for name in "DCR"], axis=1) for frame in frames])
    points = np.unique(points[np.isfinite(points).all(axis=1)], axis=0)
    return points[np.linspace(0, len(points) - 1, min(len(points), MOST_POINTS)).astype(int)]


def rdc_surface(rows: pd.DataFrame, readings: pd.DataFrame, series: Sequence[Series]) -> Chart:
    """The walks in (D, C, R), on the lower convex hull of all stored models."""
    points = models(rows, readings)
    triangles = lower_hull(points)
    data: list[dict[str, Any]] = [_mesh(points, triangles)] if len(triangles) else []
    data += [_walk(one.between_leaps(), "D", "C", "R") for one in series]
    below = (
        f"The shaded surface is the lower convex hull of {len(points)} measured models (steps and their trained neighbours): "
        "the equilibrium surface lies on it or below. Points above it are not at equilibrium."
        if len(triangles)
        else "One loss C alone spans no surface: walks at several gamma, or with their readings, do."
    )
    return Chart(
        name="surface",
        title="Rate-distortion-classification surface",
        caption=f"{below} Drag, or use the buttons, to turn it.",
        data=data,
        layout={"scene": _scene("Distortion D", "Classification loss C", "Rate R")},
        is_3d=True,
    )


def path_in_t(series: Sequence[Series]) -> Chart:
    """A transfer in (t, D, R): its surface moves with the data."""
    return Chart(
        name="surface",
        title="Rate and distortion while the data change",
        caption="The equilibrium surface moves with t, so the walk is drawn in (t, D, R); C stays, as below. "
        "Drag, or use the buttons, to turn it.",
        data=[_walk(one, "t", "D", "R") for one in series],
        layout={"scene": _scene("Position t", "Distortion D", "Rate R")},
        is_3d=True,
    )


def _mesh(points: np.ndarray, triangles: np.ndarray) -> dict[str, Any]:
    x, y, z = (values(column) for column in points.T)
    i, j, k = (column.tolist() for column in triangles.T)
    shade = {"ambient": 0.75, "diffuse": 0.5, "specular": 0.05}
    return {
        "type": "mesh3d",
        **{"x": x, "y": y, "z": z, "i": i, "j": j, "k": k},
        **{"intensity": z, "colorscale": "Cividis", "showscale": False, "opacity": 0.55},
        **{"hoverinfo": "skip", "lighting": shade, "name": "lower convex hull"},
    }


def _walk(series: Series, *columns: str) -> dict[str, Any]:
    places = dict(zip("xyz", (values(series.of(name)) for name in columns), strict=True))
    names = [f"{name} %{{{axis}:.4g}}" for axis, name in zip("xyz", columns, strict=True)]
    known = np.stack([series.of(name) for name in ("step", "lam", "gamma")], axis=1)
    return {
        "type": "scatter3d",
        "mode": "lines+markers",
        **places,
        "name": series.label,
        "meta": series.trajectory,
        "customdata": [values(point) for point in known],
        "hovertemplate": "step %{customdata[0]}<br>lam %{customdata[1]:.4g}, gamma %{customdata[2]:.4g}<br>"
        + ", ".join(names)
        + "<extra>%{fullData.name}</extra>",
        "line": {"color": series.color, "width": 5},
        "marker": {"symbol": SYMBOLS_3D.get(series.symbol, series.symbol), "size": 3.5, "color": series.color},
    }


def _scene(x: str, y: str, z: str) -> dict[str, Any]:
    camera = {"eye": {"x": 1.7, "y": 1.7, "z": 0.8}, "center": {"x": 0, "y": 0, "z": -0.12}}
    named = {f"{axis}axis": {"title": {"text": title}} for axis, title in zip("xyz", (x, y, z), strict=True)}
    return {**named, "camera": camera, "aspectmode": "cube", "dragmode": "turntable"}
