"""Which neighbours of a point are equilibrated with it (finite differences of sec. 3.1)."""

from __future__ import annotations

import dataclasses
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
        "gamma+": dataclasses.replace(point, gamma=point.gamma + dg),
        "gamma-": dataclasses.replace(point, gamma=point.gamma - dg),
    }
    if kind == "paper":
        points["lam+"] = dataclasses.replace(point, lam=point.lam + dl)
        points["lam-"] = dataclasses.replace(point, lam=point.lam - dl)
    return points
