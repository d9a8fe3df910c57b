"""Reverse water-filling: the surface of linear models without labels (gamma = 0), in closed form (MATH.md, section 9)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

UPTAKE = 3e-4
"""Part of F that a dimension of z may be worth taking up: above it a walk sees to it before the next step, and a model is not near
equilibrium."""
LARGEST = 700.0
"""Exponents beyond this, of more nats than any code has, are taken for this: floats end at exp(709)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WaterFilling:
    """F(lam) = min of R + lam D over linear encoders and decoders of Gaussian z, whose noise does not depend on x.

    `spectrum` holds the eigenvalues s_i of the total covariance, in any order; at most `latent` directions carry a signal.
    Direction i does so for 2 lam s_i > 1, with rate log(2 lam s_i) / 2 (nats) and distortion 1 / (2 lam); another one has
    rate 0 and distortion s_i.
    """

    spectrum: np.ndarray
    latent: int

    def rates(self, lam: float) -> np.ndarray:
        """Nats of each dimension of z, the largest first, (latent,)."""
        return 0.5 * np.log(np.maximum(2.0 * lam * self._kept, 1.0))

    def R(self, lam: float) -> float:
        """Rate, nats (1)."""
        return float(self.rates(lam).sum())

    def D(self, lam: float) -> float:
        """Squared error summed over features (1)."""
        kept = self._kept
        return float(np.sum(self.spectrum) - np.sum(np.maximum(kept - 0.5 / lam, 0.0)))

    def F(self, lam: float) -> float:
        """Free energy R + lam D, nats (8)."""
        return self.R(lam) + lam * self.D(lam)

    def thresholds(self) -> np.ndarray:
        """lam above which each dimension of z carries a signal, 1 / (2 s_i), in rising order, (latent,)."""
        return 0.5 / self._kept

    @property
    def _kept(self) -> np.ndarray:
        """The largest eigenvalues, falling, as many as z has dimensions; 0 where there are fewer."""
        largest = np.sort(np.asarray(self.spectrum, np.float64))[::-1][: self.latent]
        return np.append(largest, np.zeros(self.latent - len(largest)))


def rate_of(variance: float, lam: float) -> float:
    """Nats that a dimension of z has at best which carries a direction of x of this variance."""
    return 0.5 * math.log(max(2.0 * lam * variance, 1.0))


def worth(rate: float) -> float:
    """By how much a dimension of z of so many nats lowers R + lam D at best: (exp(2 R) - 1) / 2 - R, nats."""
    return 0.5 * math.expm1(min(2.0 * rate, LARGEST)) - rate


def uptake(fewest: float, missed: float, lam: float) -> float:
    """By how much J would fall if the dimension of z with the `fewest` nats carried the direction of variance `missed` instead.

    Exact for one more direction of linear encoders and decoders; for others what one that is added linearly would do. What the
    dimension carries now is taken to be worth as much as its nats can be. Labels are not looked at.
    """
    return max(0.0, worth(rate_of(missed, lam)) - worth(fewest))


def is_worth_it(gain: float, F: float) -> bool:
    """Whether taking up what would lower J by `gain` nats is more than may be left undone; NaN: it is not known, and no."""
    return gain > UPTAKE * abs(F)
