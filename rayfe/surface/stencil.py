"""Which neighbours of a point are equilibrated with it (finite differences of sec. 3.1)."""

from __future__ import annotations

from typing import Literal

from rayfe.config import StencilConfig
from rayfe.records import Point


def centre_only(point: Point) -> dict[str, Point]:
    """No neighbours: a step on which the last tangents are carried."""
    return {"centre": point}


def neighbours(point: Point, kind: Literal["iso", "paper"], config: StencilConfig) -> dict[str, Point]:
    """The centre first, then gamma+, gamma- and, for the paper's stencil, lam+, lam-."""
    dg, dl = config.gamma_delta * point.gamma, config.lam_delta * point.lam
    points = {
        "centre": point,
        "gamma+": Point(lam=point.lam, gamma=point.gamma + dg, t=point.t),
        "gamma-": Point(lam=point.lam, gamma=point.gamma - dg, t=point.t),
    }
    if kind == "paper":
        points["lam+"] = Point(lam=point.lam + dl, gamma=point.gamma, t=point.t)
        points["lam-"] = Point(lam=point.lam - dl, gamma=point.gamma, t=point.t)
    return points
