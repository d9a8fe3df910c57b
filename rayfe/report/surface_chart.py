"""The rate-distortion-classification surface in three dimensions: what the stored models say about it, and the walks on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rayfe.report.plots import SYMBOLS_3D, Chart, Series, values, where
from rayfe.results.frames import accepted_steps, numbers

MOST_POINTS = 4000
"""Models from which the surface is made; evenly chosen ones where there are more."""
CURVES = 3
"""Levels of C at which there are curves where the surface is drawn."""
APART = 0.1
"""Part of C by which levels differ: curves of several seeds are one level."""


def lower_hull(points: np.ndarray) -> np.ndarray:
    """Triangles (m, 3) of the lower convex hull in the third coordinate of points (n, 3); none if they lie in one plane.

    The equilibrium surface R(D, C) is convex and no model lies below it, so this hull is the lowest surface that the
    models prove: the true one lies on it or below. It is the Legendre transform of the envelope
    min over j of R_j + lam D_j + gamma C_j.
    """
    from scipy.spatial import ConvexHull, QhullError  # slow to import

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


def rdc_surface(rows: pd.DataFrame, readings: pd.DataFrame, series: Sequence[Series]) -> list[Chart]:
    """The walks in (D, C, R), on the lower convex hull of all stored models; none where there are fewer than `CURVES` levels of C,
    since one curve spans no surface and two span a strip."""
    if levels(series) < CURVES:
        return []
    points = models(rows, readings)
    triangles = lower_hull(points)
    if not len(triangles):
        return []
    caption = (
        f"Shaded: the lower convex hull of {len(points)} measured models. The equilibrium surface lies on it or below; models above it "
        "are not at equilibrium. Drag, or use the buttons, to turn it."
    )
    return [
        Chart(
            name="surface",
            title="Rate-distortion-classification surface",
            caption=caption,
            data=[_mesh(points, triangles), *(_walk(one) for one in series)],
            layout={"scene": _scene()},
            is_3d=True,
        )
    ]


def levels(series: Sequence[Series]) -> int:
    """How many levels of C the curves lie at: neighbouring ones differ by more than `APART` of C."""
    found = np.sort([np.nanmedian(one.of("C")) for one in series if np.isfinite(one.of("C")).any()])
    return int(len(found) > 0) + int((np.diff(found) > APART * found[:-1]).sum())


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


def _walk(series: Series) -> dict[str, Any]:
    D, C, R = (values(series.of(name)) for name in "DCR")
    return {
        "type": "scatter3d",
        "mode": "lines+markers",
        **{"x": D, "y": C, "z": R},
        "name": series.label,
        "meta": series.trajectory,
        **where(series, "D %{x:.4g}, C %{y:.4g}, R %{z:.4g}"),
        "line": {"color": series.color, "width": 5},
        "marker": {"symbol": SYMBOLS_3D.get(series.symbol, series.symbol), "size": 3.5, "color": series.color},
    }


def _scene() -> dict[str, Any]:
    camera = {"eye": {"x": 1.7, "y": 1.7, "z": 0.8}, "center": {"x": 0, "y": 0, "z": -0.12}}
    titles = {"x": "Distortion D", "y": "Loss C of the task", "z": "Rate R"}
    named = {f"{axis}axis": {"title": {"text": title}} for axis, title in titles.items()}
    return {**named, "camera": camera, "aspectmode": "cube", "dragmode": "turntable"}
