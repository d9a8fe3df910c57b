"""Closed-form equilibrium surfaces F(lam, gamma): known answers for everything that walks on a surface.

All are concave (Lemma 3). Multipliers are floats; nothing is checked per call:
outside `contains` the formulas mean nothing and may raise ArithmeticError, ValueError or TypeError.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from dataclasses import dataclass

import numpy as np


class Surface(abc.ABC):
    """F = min over theta of R + lam D + gamma C (8), with D = F_lam, C = F_gamma and R = F - lam D - gamma C."""

    def at(self, t: float) -> Surface:
        """The surface at t of a data path; this one, unless it moves."""
        return self

    def at_sigma(self, sigma: float) -> Surface:
        """The surface at a multiplier of S; this one, unless weights are random."""
        return self

    def S(self, lam: float, gamma: float) -> float | None:
        """Information in the weights, F_sigma (5); None: they are not random."""
        return None

    @abc.abstractmethod
    def contains(self, lam: float, gamma: float) -> bool:
        """Whether F and its derivatives are finite and mean anything there; False for NaN and infinite multipliers."""

    @abc.abstractmethod
    def F(self, lam: float, gamma: float) -> float:
        """Free energy (8)."""

    @abc.abstractmethod
    def D(self, lam: float, gamma: float) -> float:
        """Distortion, F_lam."""

    @abc.abstractmethod
    def C(self, lam: float, gamma: float) -> float:
        """Classification loss, F_gamma."""

    def R(self, lam: float, gamma: float) -> float:
        """Rate at equilibrium; its differential is -lam dD - gamma dC, the first law (7)."""
        return self.F(lam, gamma) - lam * self.D(lam, gamma) - gamma * self.C(lam, gamma)

    @abc.abstractmethod
    def D_lam(self, lam: float, gamma: float) -> float:
        """F_lam,lam, at most 0."""

    @abc.abstractmethod
    def C_lam(self, lam: float, gamma: float) -> float:
        """F_lam,gamma, equal to `D_gamma`."""

    def D_gamma(self, lam: float, gamma: float) -> float:
        """F_gamma,lam = C_lam (Maxwell)."""
        return self.C_lam(lam, gamma)

    @abc.abstractmethod
    def C_gamma(self, lam: float, gamma: float) -> float:
        """F_gamma,gamma, at most 0."""

    def hessian(self, lam: float, gamma: float) -> np.ndarray:
        """Hess F = [[D_lam, D_gamma], [C_lam, C_gamma]] (21), shape (2, 2)."""
        mixed = self.C_lam(lam, gamma)
        return np.array([[self.D_lam(lam, gamma), mixed], [mixed, self.C_gamma(lam, gamma)]])

    @abc.abstractmethod
    def gamma_on_iso_c(self, lam: float, C0: float) -> float:
        """gamma at which C(lam, gamma) = C0: the exact solution of iso-classification (31)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerSurface(Surface):
    """A: F = kappa lam^a gamma^b, for lam, gamma > 0. C_lam > 0, so gamma rises along iso-C.

    With c > 0 it is F = kappa lam^a gamma^b sigma^c (5), and the surface is that at `sigma`.

    Raises:
        ValueError: not kappa, a, b, sigma > 0, c >= 0 and a + b + c < 1 (F would not be strictly concave).
    """

    kappa: float
    a: float
    b: float
    c: float = 0.0
    sigma: float = 1.0

    def __post_init__(self) -> None:
        least = min(self.kappa, self.a, self.b, self.sigma)
        if not (least > 0 and self.c >= 0 and self.a + self.b + self.c < 1):
            raise ValueError(f"{self}: needs kappa, a, b, sigma > 0, c >= 0 and a + b + c < 1")

    def at_sigma(self, sigma: float) -> PowerSurface:
        return dataclasses.replace(self, sigma=sigma) if self.c else self

    def S(self, lam: float, gamma: float) -> float | None:
        return self.c * self.F(lam, gamma) / self.sigma if self.c else None

    def R(self, lam: float, gamma: float) -> float:
        rest = self.F(lam, gamma) - lam * self.D(lam, gamma) - gamma * self.C(lam, gamma)
        return rest - self.c * self.F(lam, gamma) if self.c else rest

    def contains(self, lam: float, gamma: float) -> bool:
        return _positive_and_finite(lam, gamma)

    def F(self, lam: float, gamma: float) -> float:
        return self.kappa * lam**self.a * gamma**self.b * self.sigma**self.c

    def D(self, lam: float, gamma: float) -> float:
        return self.a * self.F(lam, gamma) / lam

    def C(self, lam: float, gamma: float) -> float:
        return self.b * self.F(lam, gamma) / gamma

    def D_lam(self, lam: float, gamma: float) -> float:
        return self.a * (self.a - 1.0) * self.F(lam, gamma) / lam**2

    def C_lam(self, lam: float, gamma: float) -> float:
        return self.a * self.b * self.F(lam, gamma) / (lam * gamma)

    def C_gamma(self, lam: float, gamma: float) -> float:
        return self.b * (self.b - 1.0) * self.F(lam, gamma) / gamma**2

    def gamma_on_iso_c(self, lam: float, C0: float) -> float:
        return (self.kappa * self.b * lam**self.a * self.sigma**self.c / C0) ** (1.0 / (1.0 - self.b))


@dataclass(frozen=True, kw_only=True, slots=True)
class HyperbolicSurface(Surface):
    """B: the surface of R = R0 - log(D C - c^2), for lam, gamma > 0. C_lam > 0; iso-C is a straight line.

    With s = sqrt(1 + 4 lam gamma c^2) the minimum is at D = (1 + s) / (2 lam), C = (1 + s) / (2 gamma).

    Raises:
        ValueError: c is not positive.
    """

    c: float
    R0: float = 0.0

    def __post_init__(self) -> None:
        if not self.c > 0:
            raise ValueError(f"{self}: needs c > 0")

    def _s(self, lam: float, gamma: float) -> float:
        return math.sqrt(1.0 + 4.0 * lam * gamma * self.c**2)

    def contains(self, lam: float, gamma: float) -> bool:
        return _positive_and_finite(lam, gamma)

    def F(self, lam: float, gamma: float) -> float:
        s = self._s(lam, gamma)
        return self.R0 + math.log(2.0 * lam * gamma / (1.0 + s)) + 1.0 + s

    def D(self, lam: float, gamma: float) -> float:
        return (1.0 + self._s(lam, gamma)) / (2.0 * lam)

    def C(self, lam: float, gamma: float) -> float:
        return (1.0 + self._s(lam, gamma)) / (2.0 * gamma)

    def D_lam(self, lam: float, gamma: float) -> float:
        s = self._s(lam, gamma)
        return -((1.0 + s) ** 2) / (4.0 * s * lam**2)

    def C_lam(self, lam: float, gamma: float) -> float:
        return self.c**2 / self._s(lam, gamma)

    def C_gamma(self, lam: float, gamma: float) -> float:
        s = self._s(lam, gamma)
        return -((1.0 + s) ** 2) / (4.0 * s * gamma**2)

    def gamma_on_iso_c(self, lam: float, C0: float) -> float:
        return (C0 + lam * self.c**2) / C0**2


@dataclass(frozen=True, kw_only=True, slots=True)
class LogSurface(Surface):
    """C: F = a log u + b log v, u = 1 + p lam + q gamma, v = 1 + r lam. C_lam < 0, so gamma falls along iso-C.

    Iso-C is the line u = a q / C0. F goes on below gamma = 0 as long as u > 0, so that a walk that
    oversteps the end of its iso-C line still gets answers.

    Raises:
        ValueError: a constant is not positive.
    """

    a: float
    b: float
    p: float
    q: float
    r: float

    def __post_init__(self) -> None:
        if not min(self.a, self.b, self.p, self.q, self.r) > 0:
            raise ValueError(f"{self}: needs a, b, p, q, r > 0")

    def _u(self, lam: float, gamma: float) -> float:
        return 1.0 + self.p * lam + self.q * gamma

    def contains(self, lam: float, gamma: float) -> bool:
        return math.isfinite(lam) and math.isfinite(gamma) and lam > 0 and self._u(lam, gamma) > 0

    def F(self, lam: float, gamma: float) -> float:
        return self.a * math.log(self._u(lam, gamma)) + self.b * math.log1p(self.r * lam)

    def D(self, lam: float, gamma: float) -> float:
        return self.a * self.p / self._u(lam, gamma) + self.b * self.r / (1.0 + self.r * lam)

    def C(self, lam: float, gamma: float) -> float:
        return self.a * self.q / self._u(lam, gamma)

    def D_lam(self, lam: float, gamma: float) -> float:
        return -self.a * (self.p / self._u(lam, gamma)) ** 2 - self.b * (self.r / (1.0 + self.r * lam)) ** 2

    def C_lam(self, lam: float, gamma: float) -> float:
        return -self.a * self.p * self.q / self._u(lam, gamma) ** 2

    def C_gamma(self, lam: float, gamma: float) -> float:
        return -self.a * (self.q / self._u(lam, gamma)) ** 2

    def gamma_on_iso_c(self, lam: float, C0: float) -> float:
        return (self.a * self.q / C0 - 1.0 - self.p * lam) / self.q

    def gamma_zero_at(self, C0: float) -> float:
        """lam at which the iso-C line of C0 meets gamma = 0: from there on C0 does not bind."""
        return (self.a * self.q / C0 - 1.0) / self.p


def _positive_and_finite(lam: float, gamma: float) -> bool:
    return 0.0 < lam < math.inf and 0.0 < gamma < math.inf


@dataclass(frozen=True, kw_only=True, slots=True)
class MovingPowerSurface(PowerSurface):
    """A with kappa and a changing linearly along a data path: kappa + t kappa_t, a + t a_t, for t in [0, 1].

    F_t = F (kappa_t / kappa(t) + a_t log lam) at fixed multipliers.

    Raises:
        ValueError: the surface at t = 1 is not one of kind A.
    """

    kappa_t: float = 0.0
    a_t: float = 0.0

    def __post_init__(self) -> None:
        super(MovingPowerSurface, self).__post_init__()
        self.at(1.0)

    def at(self, t: float) -> PowerSurface:
        return PowerSurface(kappa=self.kappa + t * self.kappa_t, a=self.a + t * self.a_t, b=self.b, c=self.c, sigma=self.sigma)

    def F_t(self, lam: float, gamma: float, t: float) -> float:
        """dF/dt at fixed multipliers."""
        here = self.at(t)
        return here.F(lam, gamma) * (self.kappa_t / here.kappa + self.a_t * math.log(lam))
