"""Processes that move the data: what is kept along a path p(x, t) while t goes from 0 to 1 (sec. 4)."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from rayfe.records import Held, Point, Response, Velocity
from rayfe.surface.process import LOSS, Process, SingularResponse, require_sight

POLE = 0.05
"""Size of 1 + k lam below which the geodesic's velocity (30) means nothing."""
NEAR_POLE = 0.2
"""Below this size of 1 + k lam steps fail because of the pole: lam runs away before it arrives there."""
LARGEST_CHANGE = 1.5
"""Factor by which a step in t may change lam or gamma before the settle: rates are only predictions there."""


def line_length(lam: float, dR: float, dD: float) -> float:
    """Distance of two points in the plane of R and lam D, nats."""
    return math.hypot(dR, lam * dD)


class Transfer(Process):
    """A process along a data path from t = 0 to t = 1; progress is t."""

    end: ClassVar[str] = "t_end"
    growth: ClassVar[float] = 1.5
    predicted_by: ClassVar[Literal["response", "mean slope", "secant"]] = "secant"

    def left(self, point: Point) -> float:
        return 1.0 - point.t

    def moved(self, point: Point, velocity: Velocity, length: float) -> Point:
        return dataclasses.replace(
            point,
            lam=_limited(point.lam, velocity.lam * length),
            gamma=_limited(point.gamma, velocity.gamma * length),
            t=1.0 if length == self.left(point) else point.t + length,
        )


@dataclass(frozen=True, slots=True)
class ConstantRate(Transfer):
    """C is constant while lam changes at the given rate per unit of t (38)."""

    lam_dot: float
    moved_by: ClassVar[tuple[str, ...]] = ("gamma",)

    @property
    def held(self) -> tuple[Held, ...]:
        return (LOSS,)

    def velocity(self, point: Point, response: Response) -> Velocity:
        require_sight(response)
        assert response.C_t is not None
        return Velocity(lam=self.lam_dot, gamma=-(response.C_lam * self.lam_dot + response.C_t) / response.C_gamma)

    def moved(self, point: Point, velocity: Velocity, length: float) -> Point:
        limited = super(ConstantRate, self).moved(point, velocity, length)
        return dataclasses.replace(limited, lam=point.lam + self.lam_dot * length)


@dataclass(frozen=True, slots=True)
class Geodesic(Transfer):
    """C is constant and D - k R is, so that the transfer is straight in the (D, R) plane (30)."""

    k: float
    layer: float = 0.0
    """Up to this t lam is left to the settle: where the target's classes are new, F_t is steep at t = 0."""
    moved_by: ClassVar[tuple[str, ...]] = ("gamma", "lam")
    along_line: ClassVar[bool] = True

    @property
    def held(self) -> tuple[Held, ...]:
        return (LOSS, Held(D=1.0, R=-self.k))

    def velocity(self, point: Point, response: Response) -> Velocity:
        """Solves (30) with F_t, the change of R at fixed (D, C), as its source: R_t at fixed multipliers bends the line.

        In the boundary layer, where the rates change too fast to say anything of lam, gamma alone follows C_t.
        """
        require_sight(response)
        assert response.F_t is not None and response.D_t is not None and response.C_t is not None
        assert response.D_lam is not None
        if point.t < self.layer:
            return Velocity(lam=0.0, gamma=-response.C_t / response.C_gamma)
        pole = self._pole(point)
        if abs(pole) < POLE:
            raise SingularResponse("pole", f"1 + k lam = {pole:.3g}: the line's slope is that of the surface")
        hessian = np.array([[response.D_lam, response.D_gamma], [response.C_lam, response.C_gamma]])
        if not np.linalg.det(hessian) > 0.0:
            raise SingularResponse("singular", f"det Hess F = {np.linalg.det(hessian):.3g} is not above zero")
        source = [self.k * response.F_t / pole - response.D_t, -response.C_t]
        lam_dot, gamma_dot = np.linalg.solve(hessian, source)
        return Velocity(lam=float(lam_dot), gamma=float(gamma_dot))

    def singular_near(self, point: Point) -> str | None:
        return "pole" if abs(self._pole(point)) < NEAR_POLE else None

    def _pole(self, point: Point) -> float:
        return 1.0 + self.k * point.lam


def _limited(value: float, change: float) -> float:
    return min(max(value + change, value / LARGEST_CHANGE), value * LARGEST_CHANGE)
