"""Reverse water-filling: the surface without labels, against brute force and its own identities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from rayfe.surface.water_filling import WaterFilling

SPECTRUM = np.array([0.3, 2.0, 0.05, 1.1, 0.7])


def brute_force(lam: float, latent: int) -> float:
    """min of 1/2 log det(1 + M M') + lam tr(S (1 + M' M)^-1) over encoders M of whitened x, from several starts."""

    def F(flat: np.ndarray) -> float:
        M = flat.reshape(latent, len(SPECTRUM))
        R = 0.5 * np.linalg.slogdet(np.eye(latent) + M @ M.T)[1]
        return R + lam * np.trace(np.diag(SPECTRUM) @ np.linalg.inv(np.eye(len(SPECTRUM)) + M.T @ M))

    rng = np.random.default_rng(0)
    starts = [rng.standard_normal(latent * len(SPECTRUM)) for _ in range(8)]
    return min(minimize(F, start, method="BFGS", options={"gtol": 1e-9, "maxiter": 2000}).fun for start in starts)


@pytest.mark.parametrize("lam", [0.2, 0.4, 1.5, 8.0])
@pytest.mark.parametrize("latent", [2, 4])
def test_no_linear_model_is_lower_to_eight_decimals(lam: float, latent: int) -> None:
    assert WaterFilling(spectrum=SPECTRUM, latent=latent).F(lam) == pytest.approx(brute_force(lam, latent), abs=1e-8)


def test_distortion_is_the_slope_of_the_free_energy() -> None:
    water, step = WaterFilling(spectrum=SPECTRUM, latent=3), 1e-5
    for lam in (0.3, 0.8, 5.0):
        assert (water.F(lam + step) - water.F(lam - step)) / (2 * step) == pytest.approx(water.D(lam), rel=1e-8)


def test_dimensions_come_in_at_their_thresholds() -> None:
    water = WaterFilling(spectrum=SPECTRUM, latent=3)
    assert water.thresholds() == pytest.approx([0.25, 0.5 / 1.1, 0.5 / 0.7])
    for number, lam in enumerate(water.thresholds()):
        assert (water.rates(0.999 * lam) > 0).sum() == number
        assert (water.rates(1.001 * lam) > 0).sum() == number + 1


def test_more_dimensions_than_eigenvalues_stay_empty() -> None:
    water = WaterFilling(spectrum=SPECTRUM, latent=7)
    assert (water.rates(1e6) > 0).sum() == len(SPECTRUM)
    assert water.F(3.0) == WaterFilling(spectrum=SPECTRUM, latent=5).F(3.0)
