"""Reverse water-filling: the surface of linear models without labels (gamma = 0), in closed form (MATH.md, section 9)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
