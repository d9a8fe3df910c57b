"""Processes: what is kept along a walk, and the velocity that keeps it to first order."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from rayfe.records import Held, Point, Response, Velocity

BLIND = 2.0
"""Standard errors that C_gamma must be below zero for gamma to hold C."""
AT_STATIONARY = 0.02
"""Distance in logarithms of the multipliers from a stationary point of G below which there is no direction to go."""
NEAR_STATIONARY = 0.3
"""Distance in logarithms of the multipliers from a stationary point of G at which steps fail because of it."""
CLOSED_AFTER = 6
"""Steps that a closed curve has at least."""
LOSS = Held(C=1.0)


class SingularResponse(ArithmeticError):
    """The response does not determine the velocity; `stop` is the named stop that the walk ends with."""

    def __init__(self, stop: str, what: str) -> None:
        super().__init__(what)
        self.stop = stop


class Conditions(abc.ABC):
    """What is held, or wanted, and the multipliers by which a settle brings it about."""

    moved_by: ClassVar[tuple[str, ...]]
    """Multipliers that settle the conditions: "gamma", or "gamma" and "lam"."""

    @property
    @abc.abstractmethod
    def held(self) -> tuple[Held, ...]:
        """Conditions, at most as many as multipliers in `moved_by`."""


class Process(Conditions):
    """One row of the table of processes: conditions that are held, and the progress that is made meanwhile."""

    end: ClassVar[str] = "end"
    """Name of the end where nothing is left."""
    growth: ClassVar[float] = 1.3
    """Largest growth of the step length from one step to the next."""
    predicted_by: ClassVar[Literal["response", "mean slope", "secant"]] = "response"
    """By what the multipliers of a settled step are predicted after the first one: the response at the last point with what its settle
    moved, the mean slope of the last steps, or their secant against log t."""
    along_line: ClassVar[bool] = False
    """Whether D - k R is held, with a slope k that may have to be found before the first step."""

    @abc.abstractmethod
    def velocity(self, point: Point, response: Response) -> Velocity:
        """(lam_dot, gamma_dot) per unit of progress.

        Raises:
            SingularResponse: the response does not determine it.
        """

    def left(self, point: Point) -> float:
        """Progress that is left from here to the end; 0 or less there, and infinite where there is no end to arrive at."""
        return math.inf

    def ended(self, points: Sequence[Point]) -> str | None:
        """The name of the end at which a walk over these accepted points has arrived; None before it."""
        return self.end if self.left(points[-1]) <= 0.0 else None

    def singular_near(self, point: Point) -> str | None:
        """The named stop that explains why no step succeeds from here, None where there is none."""
        return None

    @abc.abstractmethod
    def moved(self, point: Point, velocity: Velocity, length: float) -> Point:
        """The point a step of this length further; exactly at the end if the length is `left`."""

    def towards(self, lam: float) -> Process:
        """The same process on its way to another lam: what a walk that goes both ways turns round by.

        Raises:
            NotImplementedError: it cannot turn round.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot turn round")


@dataclass(frozen=True, slots=True)
class IsoClassification(Process):
    """C is constant while lam goes, up or down, to `lam_end` (31); progress is the way in log lam."""

    lam_end: float
    moved_by: ClassVar[tuple[str, ...]] = ("gamma",)
    end: ClassVar[str] = "lam_end"
    predicted_by: ClassVar[Literal["response", "mean slope", "secant"]] = "mean slope"

    def towards(self, lam: float) -> IsoClassification:
        return IsoClassification(lam)

    @property
    def held(self) -> tuple[Held, ...]:
        return (LOSS,)

    def velocity(self, point: Point, response: Response) -> Velocity:
        """lam_dot = lam, or -lam on the way down, so alpha = -lam_dot / C_gamma in (31)."""
        require_sight(response)
        lam_dot = math.copysign(point.lam, self.lam_end - point.lam)
        return Velocity(lam=lam_dot, gamma=-response.C_lam / response.C_gamma * lam_dot)

    def left(self, point: Point) -> float:
        return abs(math.log(self.lam_end / point.lam))

    def moved(self, point: Point, velocity: Velocity, length: float) -> Point:
        return _moved_in_lam(self, point, velocity, length)


@dataclass(frozen=True, slots=True)
class WeightInformation(Process):
    """C is constant while sigma goes, up or down, to `sigma_end`, and lam stays; progress is the way in log sigma.

    C_sigma = S_gamma (Maxwell), so neighbours in gamma say how gamma holds C.
    """

    sigma_end: float
    moved_by: ClassVar[tuple[str, ...]] = ("gamma",)
    end: ClassVar[str] = "sigma_end"
    predicted_by: ClassVar[Literal["response", "mean slope", "secant"]] = "mean slope"

    @property
    def held(self) -> tuple[Held, ...]:
        return (LOSS,)

    def velocity(self, point: Point, response: Response) -> Velocity:
        """sigma_dot = sigma, or -sigma on the way down; gamma_dot = -(S_gamma / C_gamma) sigma_dot."""
        require_sight(response)
        assert response.S_gamma is not None
        sigma_dot = math.copysign(point.sigma, self.sigma_end - point.sigma)
        return Velocity(lam=0.0, gamma=-response.S_gamma / response.C_gamma * sigma_dot)

    def left(self, point: Point) -> float:
        return abs(math.log(self.sigma_end / point.sigma))

    def moved(self, point: Point, velocity: Velocity, length: float) -> Point:
        arrives = length == self.left(point)
        sigma = self.sigma_end if arrives else point.sigma * math.exp(math.copysign(length, self.sigma_end - point.sigma))
        return dataclasses.replace(point, gamma=point.gamma + velocity.gamma * length, sigma=sigma)


@dataclass(frozen=True, slots=True)
class FixedGamma(Process):
    """lam goes, up or down, to `lam_end` and gamma stays: nothing is held, so no response is needed. Progress is the way in log lam.

    The one process whose gamma may be 0: R + lam D without labels.
    """

    lam_end: float
    moved_by: ClassVar[tuple[str, ...]] = ()
    end: ClassVar[str] = "lam_end"

    @property
    def held(self) -> tuple[Held, ...]:
        return ()

    def velocity(self, point: Point, response: Response | None = None) -> Velocity:
        """lam_dot = lam, or -lam on the way down."""
        return Velocity(lam=math.copysign(point.lam, self.lam_end - point.lam), gamma=0.0)

    def left(self, point: Point) -> float:
        return abs(math.log(self.lam_end / point.lam))

    def moved(self, point: Point, velocity: Velocity, length: float) -> Point:
        return _moved_in_lam(self, point, velocity, length)


@dataclass(frozen=True, kw_only=True, slots=True)
class IsoFunctional(Process):
    """G = R R + D D + C C + S S is constant (Remark 8); progress is arclength in (log lam, log gamma).

    Level sets of G are closed curves around (lam, gamma) = (D / R, C / R), where G is stationary; with S that is so where sigma is
    S / R, and elsewhere no such point is known. The walk goes along them with
    alpha > 0, which raises lam where G is C. Both multipliers settle G, along its gradient, so turning points need no care.
    """

    functional: Held
    moved_by: ClassVar[tuple[str, ...]] = ("gamma", "lam")

    @property
    def held(self) -> tuple[Held, ...]:
        return (self.functional,)

    def velocity(self, point: Point, response: Response) -> Velocity:
        """alpha (-G_gamma, G_lam), in logarithms of the multipliers and of unit length.

        Raises:
            SingularResponse: G is stationary here, or the stencil cannot tell.
        """
        G_gamma, G_lam = held_jacobian(self, point, response)[0]
        slope = math.hypot(point.lam * G_lam, point.gamma * G_gamma)
        size = (
            abs(self.functional.C) * response.C_gamma_se * point.gamma + abs(self.functional.D) * response.C_lam_se * point.lam
        )
        if slope <= BLIND * size or self._from_stationary(point) < AT_STATIONARY:
            raise SingularResponse("stationary", f"the functional does not change here: {slope:.3g} per unit of log")
        alpha = 1.0 / slope
        return Velocity(lam=-alpha * point.lam * point.gamma * G_gamma, gamma=alpha * point.gamma * point.lam * G_lam)

    def singular_near(self, point: Point) -> str | None:
        """Where no step succeeds although G has a stationary point, that is why."""
        return "stationary" if self._from_stationary(point) < NEAR_STATIONARY else None

    def _from_stationary(self, point: Point) -> float:
        """Distance in logarithms of the multipliers from (D / R, C / R); infinite if that is no point of the surface."""
        R, D, C = self.functional.R, self.functional.D, self.functional.C
        if not R or D / R <= 0.0 or C / R <= 0.0 or self.functional.S:
            return math.inf
        return _log_distance(point, Point(lam=D / R, gamma=C / R))

    def ended(self, points: Sequence[Point]) -> str | None:
        """Back at the start, after having gone around: the curve is closed."""
        if len(points) < CLOSED_AFTER:
            return None
        away = [_log_distance(points[0], point) for point in points]
        step = _log_distance(points[-2], points[-1])
        back = away[-1] <= step and away[-2] <= 2.0 * step and max(away) > 2.0 * step
        return "closed" if back else None

    def moved(self, point: Point, velocity: Velocity, length: float) -> Point:
        lam, gamma = (
            value * math.exp(rate / value * length)
            for value, rate in ((point.lam, velocity.lam), (point.gamma, velocity.gamma))
        )
        return dataclasses.replace(point, lam=lam, gamma=gamma)


def _moved_in_lam(process: IsoClassification | FixedGamma, point: Point, velocity: Velocity, length: float) -> Point:
    """A step of this length in log lam, exactly to `lam_end` where that is all that is left."""
    arrives = length == process.left(point)
    lam = process.lam_end if arrives else point.lam * math.exp(math.copysign(length, process.lam_end - point.lam))
    return dataclasses.replace(point, lam=lam, gamma=point.gamma + velocity.gamma * length)


def held_jacobian(conditions: Conditions, point: Point, response: Response) -> tuple[tuple[float, ...], ...]:
    """d held / d multiplier, a row a condition, columns as in `moved_by`; R's by the first law (7), dR = -lam dD - gamma dC - sigma dS."""
    slopes = {
        "gamma": (response.D_gamma, response.C_gamma, response.S_gamma or 0.0),
        "lam": (response.D_lam or 0.0, response.C_lam, response.S_lam or 0.0),
    }

    def entry(held: Held, multiplier: str) -> float:
        D, C, S = slopes[multiplier]
        value = held.R * (-point.lam * D - point.gamma * C) + held.D * D + held.C * C
        return value + (held.S - held.R * point.sigma) * S if S else value

    return tuple(tuple(entry(held, multiplier) for multiplier in conditions.moved_by) for held in conditions.held)


def require_sight(response: Response) -> None:
    """Raise SingularResponse where C_gamma cannot be told from zero."""
    if response.C_gamma >= -BLIND * response.C_gamma_se:
        raise SingularResponse(
            "gamma_blind", f"C_gamma = {response.C_gamma:.3g} +- {response.C_gamma_se:.2g} is not below zero"
        )


def _log_distance(one: Point, other: Point) -> float:
    return math.hypot(math.log(other.lam / one.lam), math.log(other.gamma / one.gamma))
