"""What is derived from readings at a point: responses and velocities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """First-order response of the equilibrium surface at one point (Lemma 5, eqs. 21 and 29).

    `C_lam` (= `D_gamma` by symmetry), `D_lam` and `C_gamma` are the entries of Hess F as a T-update
    equilibration shows them: the right gain for a T-update step, smaller than the true ones.
    """

    C_lam: float
    C_gamma: float
    D_gamma: float
    D_lam: float | None = None
    """None: the stencil has no lam neighbour."""
    C_lam_se: float
    C_gamma_se: float
    size: int | None = None
    """Examples on which the neighbours were read."""
    F_t: float | None = None
    """dF/dt, D_t = dF_t/dlam and C_t = dF_t/dgamma on a data path (25), (27); None: not measured."""
    D_t: float | None = None
    C_t: float | None = None
    S_gamma: float | None = None
    """dS/dgamma, which is dC/dsigma (Maxwell), and dS/dlam = dD/dsigma; None: no weights are random, or there is no such neighbour."""
    S_lam: float | None = None

    @property
    def maxwell_gap(self) -> float | None:
        """D_gamma - C_lam where both were measured: checks code and noise, not equilibrium."""
        return None if self.D_lam is None else self.D_gamma - self.C_lam

    @property
    def hess_max_eig(self) -> float | None:
        """Largest eigenvalue of Hess F, at most 0 on a concave F (Lemma 3)."""
        if self.D_lam is None:
            return None
        mixed = 0.5 * (self.D_gamma + self.C_lam)
        return float(np.linalg.eigvalsh([[self.D_lam, mixed], [mixed, self.C_gamma]])[-1])


@dataclass(frozen=True, kw_only=True, slots=True)
class Velocity:
    """(lam_dot, gamma_dot) of a process per unit of its progress: log lam along a walk, t along a data path, or log sigma, where
    sigma_dot is sigma."""

    lam: float
    gamma: float
