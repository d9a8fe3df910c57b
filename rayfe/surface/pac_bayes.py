"""What the training error of random weights says of unseen data: PAC-Bayes bounds (McAllester 1999; Maurer 2004).

N examples are independent draws of one distribution. m(theta) was fixed before anybody saw them, q(theta) may depend on
them in any way, and a loss is in [0, 1]. With probability 1 - delta over the examples, for all q at once,

    kl(training loss || loss on new data) <= (S + ln(2 sqrt(N) / delta)) / N,   S = KL(q || m),

where both losses are means over theta ~ q, and kl(p || r) is the divergence of two coins. So it does not matter how q was
found, by which lam, gamma and sigma, or that it was chosen among the models of a walk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

DELTA = 0.05
"""Probability that a bound may be wrong."""
OF_DRAWS = 0.01
"""The part of it for the draws by which the training loss is estimated."""
FEWEST = 8
"""Examples from which on the bound is proved."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Guarantee:
    """An upper bound of the mean loss on new data, in units of the loss's range, and what it was made of."""

    bound: float
    """With probability 1 - DELTA; 1 says nothing."""
    risk: float
    """Mean training loss of the draws."""
    risk_bound: float
    """Upper bound of the mean over all draws that there are, with probability 1 - OF_DRAWS."""
    complexity: float
    """(S + ln(2 sqrt(N) / (DELTA - OF_DRAWS))) / N, nats per example."""


def kl(p: float, r: float) -> float:
    """Divergence of a coin of probability p from one of probability r, nats; infinite where r excludes what p has."""
    if (p > 0.0 and r <= 0.0) or (p < 1.0 and r >= 1.0):
        return math.inf
    heads = p * math.log(p / r) if p > 0.0 else 0.0
    tails = (1.0 - p) * math.log((1.0 - p) / (1.0 - r)) if p < 1.0 else 0.0
    return max(0.0, heads + tails)


def kl_inverse(p: float, nats: float) -> float:
    """The largest r with kl(p || r) <= nats, by bisection; rounded up, so that a bound remains one."""
    low, high = p, 1.0
    while (middle := 0.5 * (low + high)) not in (low, high):
        low, high = (middle, high) if kl(p, middle) <= nats else (low, middle)
    return high


def complexity(S: float, N: int, delta: float) -> float:
    """(S + ln(2 sqrt(N) / delta)) / N, nats per example.

    Raises:
        ValueError: N is below FEWEST.
    """
    if N < FEWEST:
        raise ValueError(f"N = {N}: the bound is proved from {FEWEST} examples on")
    return (S + math.log(2.0 * math.sqrt(N) / delta)) / N


def guarantee(risk: float, *, draws: int, S: float, N: int, share: float = 1.0) -> Guarantee:
    """The bound from a mean training loss of independent `draws`, each in [0, 1], S in nats and N examples.

    The draws need not have one distribution: each example may have its own. That their mean is too low by chance has probability
    OF_DRAWS times `share` at most (Hoeffding 1963, theorem 1): several means share OF_DRAWS.

    Raises:
        ValueError: N is below FEWEST.
    """
    risk_bound = kl_inverse(risk, -math.log(OF_DRAWS * share) / draws)
    nats = complexity(S, N, DELTA - OF_DRAWS)
    return Guarantee(bound=kl_inverse(risk_bound, nats), risk=risk, risk_bound=risk_bound, complexity=nats)
