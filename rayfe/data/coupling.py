"""A coupling of source and target: which source example goes to which target example, and with what probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Coupling:
    """Atoms (i, j) of a joint distribution whose marginals are uniform over the rows of source and target (37)."""

    source: np.ndarray
    """(atoms,) int64: rows i of the source."""
    target: np.ndarray
    """(atoms,) int64: rows j of the target."""
    weight: np.ndarray
    """(atoms,) float64: probabilities, with sum 1."""
    report: dict[str, Any]
    """How it was computed: solver, sizes, cost, error of the marginals, seconds, memory."""
