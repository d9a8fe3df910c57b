"""Processes: what is kept along a walk, and the velocity that keeps it to first order."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rayfe.records import Held, Point, Response, Velocity

BLIND = 2.0
"""Standard errors that C_gamma must be below zero for gamma to hold C."""
POLE = 0.05
"""Size of 1 + k lam below which the geodesic's velocity (30) means nothing."""
NEAR_POLE = 0.2
"""Below this size of 1 + k lam steps fail because of the pole: lam runs away before it arrives there."""
LARGEST_CHANGE = 1.5
"""Factor by which a step in t may change lam or gamma before the settle: rates are only predictions there."""
LOSS = Held(C=1.0)


class SingularResponse(ArithmeticError):
    """The response does not determine the velocity; `stop` is the named stop that the walk ends with."""

    def __init__(self, stop: str, what: str) -> None:
        super().__init__(what)
        self.stop = stop


class Process(abc.ABC):
    """One row of the table of processes: conditions that are held, and the progress that is made meanwhile."""

    moved_by: ClassVar[tuple[str, ...]]
    """Multipliers that settle the conditions: "gamma", or "gamma" and "lam"."""

    @property
    @abc.abstractmethod
    def held(self) -> tuple[Held, ...]:
        """Conditions, as many as multipliers in `moved_by`; the first is the loss C."""

    @abc.abstractmethod
    def velocity(self, point: Point, response: Response) -> Velocity:
        """(lam_dot, gamma_dot) per unit of progress.

        Raises:
            SingularResponse: the response does not determine it.
        """

    @abc.abstractmethod
    def left(self, point: Point) -> float:
        """Progress that is left from here to the end; 0 or less there."""

    def singular_near(self, point: Point) -> str | None:
        """The named stop that explains why no step succeeds from here, None where there is none."""
        return None

    @abc.abstractmethod
    def moved(self, point: Point, velocity: Velocity, length: float) -> Point:
        """The point a step of this length further; exactly at the end if the length is `left`."""


@dataclass(frozen=True, slots=True)
class IsoClassification(Process):
    """C is constant while lam rises to `lam_end` (31); progress is log lam."""

    lam_end: float
    moved_by: ClassVar[tuple[str, ...]] = ("gamma",)

    @property
    def held(self) -> tuple[Held, ...]:
        return (LOSS,)

    def velocity(self, point: Point, response: Response) -> Velocity:
        """lam_dot = lam, so alpha = -lam / C_gamma in (31)."""
        _require_sight(response)
        return Velocity(lam=point.lam, gamma=-response.C_lam / response.C_gamma * point.lam)

    def left(self, point: Point) -> float:
        return math.log(self.lam_end / point.lam)

    def moved(self, point: Point, velocity: Velocity, length: float) -> Point:
        lam = self.lam_end if length == self.left(point) else point.lam * math.exp(length)
        return Point(lam=lam, gamma=point.gamma + velocity.gamma * length, t=point.t)


class Transfer(Process):
    """A process along a data path from t = 0 to t = 1; progress is t."""

    def left(self, point: Point) -> float:
        return 1.0 - point.t

    def moved(self, point: Point, velocity: Velocity, length: float) -> Point:
        return Point(
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
        _require_sight(response)
        assert response.C_t is not None
        return Velocity(lam=self.lam_dot, gamma=-(response.C_lam * self.lam_dot + response.C_t) / response.C_gamma)

    def moved(self, point: Point, velocity: Velocity, length: float) -> Point:
        limited = super(ConstantRate, self).moved(point, velocity, length)
        return Point(lam=point.lam + self.lam_dot * length, gamma=limited.gamma, t=limited.t)


@dataclass(frozen=True, slots=True)
class Geodesic(Transfer):
    """C is constant and D - k R is, so that the transfer is straight in the (D, R) plane (30)."""

    k: float
    layer: float = 0.0
    """Up to this t lam is left to the settle: where the target's classes are new, F_t is steep at t = 0."""
    moved_by: ClassVar[tuple[str, ...]] = ("gamma", "lam")

    @property
    def held(self) -> tuple[Held, ...]:
        return (LOSS, Held(D=1.0, R=-self.k))

    def velocity(self, point: Point, response: Response) -> Velocity:
        """Solves (30) with F_t, the change of R at fixed (D, C), as its source: R_t at fixed multipliers bends the line.

        In the boundary layer, where the rates change too fast to say anything of lam, gamma alone follows C_t.
        """
        _require_sight(response)
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


def held_jacobian(process: Process, point: Point, response: Response) -> tuple[tuple[float, ...], ...]:
    """d held / d multiplier, a row a condition, columns as in `moved_by`; R's by the first law (7)."""
    slopes = {"gamma": (response.D_gamma, response.C_gamma), "lam": (response.D_lam or 0.0, response.C_lam)}

    def entry(held: Held, multiplier: str) -> float:
        D, C = slopes[multiplier]
        return held.R * (-point.lam * D - point.gamma * C) + held.D * D + held.C * C

    return tuple(tuple(entry(held, multiplier) for multiplier in process.moved_by) for held in process.held)


def _require_sight(response: Response) -> None:
    if response.C_gamma >= -BLIND * response.C_gamma_se:
        raise SingularResponse(
            "gamma_blind", f"C_gamma = {response.C_gamma:.3g} +- {response.C_gamma_se:.2g} is not below zero"
        )


def _limited(value: float, change: float) -> float:
    return min(max(value + change, value / LARGEST_CHANGE), value * LARGEST_CHANGE)
