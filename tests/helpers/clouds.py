"""Clouds of points to couple, and what every coupling must satisfy."""

from __future__ import annotations

import numpy as np

from rayfe.config import PathConfig
from rayfe.data.coupling import Coupling
from rayfe.data.examples import Examples


def examples(x: np.ndarray, y: np.ndarray | None = None) -> Examples:
    return Examples(x=x.astype(np.float32), y=np.zeros(len(x), np.int64) if y is None else y)


def cloud(n: int, features: int = 3, shift: float = 0.0, seed: int = 0) -> Examples:
    return examples(np.random.default_rng(seed).random((n, features)) + shift)


def config(**options: object) -> PathConfig:
    return PathConfig(target="target", **options)  # type: ignore[arg-type]


def assert_marginals(coupling: Coupling, n: int, m: int) -> None:
    np.testing.assert_allclose(np.bincount(coupling.source, coupling.weight, n), 1 / n, atol=1e-12)
    np.testing.assert_allclose(np.bincount(coupling.target, coupling.weight, m), 1 / m, atol=1e-12)
    assert (coupling.weight > 0).all()
