"""What a model with random weights errs where each example is answered by one draw of the weights and of z (Gibbs predictor)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Gibbs:
    """Means over the examples of one split, and on the training split bounds of the same means on new data."""

    error: float
    """Part of wrong answers."""
    C: float
    """Loss, clipped at `clip`, nats."""
    error_se: float
    """Standard errors over examples."""
    C_se: float
    S: float | None = None
    """KL(p(theta | data) || m(theta)) of encoder and classifier, nats; like the bounds None but on the training split."""
    error_bound: float | None = None
    C_bound: float | None = None
