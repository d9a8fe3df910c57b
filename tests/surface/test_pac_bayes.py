"""PAC-Bayes bounds: the inverse of kl, known limits, and how often a bound is wrong where everything can be counted."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayfe.surface.pac_bayes import DELTA, OF_DRAWS, complexity, guarantee, kl, kl_inverse

SHARE = st.floats(0.0, 1.0)
NATS = st.floats(0.0, 30.0)


@given(SHARE, NATS)
def test_kl_inverse_is_the_largest_within_the_divergence(p: float, nats: float) -> None:
    r = kl_inverse(p, nats)
    assert p <= r <= 1.0
    assert kl(p, p + (r - p) * (1.0 - 1e-9)) <= nats + 1e-9 or r - p < 1e-15
    assert r == 1.0 or kl(p, min(1.0, r + 1e-7)) > nats


@given(SHARE, SHARE, NATS, NATS)
def test_kl_inverse_rises_with_both(p: float, more: float, nats: float, further: float) -> None:
    p, more = sorted((p, more))
    nats, further = sorted((nats, further))
    assert kl_inverse(p, nats) <= kl_inverse(more, nats) + 1e-12
    assert kl_inverse(p, nats) <= kl_inverse(p, further)


def test_kl_inverse_without_errors_is_known() -> None:
    """kl(0 || r) = -log(1 - r)."""
    for nats in (0.0, 1e-6, 0.1, 3.0):
        assert kl_inverse(0.0, nats) == pytest.approx(-math.expm1(-nats), abs=1e-15)
    assert kl_inverse(1.0, 0.1) == 1.0


def test_kl_of_coins_is_the_divergence() -> None:
    assert kl(0.25, 0.5) == pytest.approx(math.log(2.0) - (0.75 * math.log(4 / 3) + 0.25 * math.log(4.0)))
    assert kl(0.3, 0.3) == 0.0
    assert kl(0.5, 0.0) == kl(0.5, 1.0) == math.inf


def test_a_million_times_the_examples_leave_the_training_loss() -> None:
    bounds = [guarantee(0.1, draws=N, S=100.0, N=N).bound for N in (100, 10_000, 1_000_000, 10**12)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] == pytest.approx(0.1, abs=2e-5)
    # near p the divergence is (r - p)^2 / (2 p (1 - p))
    nats = complexity(0.0, 10**12, DELTA)
    assert kl_inverse(0.1, nats) - 0.1 == pytest.approx(math.sqrt(2.0 * 0.09 * nats), rel=1e-4)


def test_few_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="N = 7"):
        guarantee(0.1, draws=100, S=1.0, N=7)


def test_a_bound_is_wrong_in_fewer_than_delta_of_2000_repetitions() -> None:
    """Sixteen hypotheses of known error, a posterior that looks at the examples, and all means known by enumeration.

    The posterior's training loss itself is too low nearly always, and the bound is not far away.
    """
    rng = np.random.default_rng(0)
    hypotheses, N, repetitions = 16, 40, 2000
    truth = rng.uniform(0.3, 0.5, hypotheses)
    wrong = too_low = 0
    widths = []
    for _ in range(repetitions):
        errors = rng.random((N, hypotheses)) < truth  # of each example and hypothesis
        posterior = np.exp(-1.0 * errors.sum(0))
        posterior /= posterior.sum()
        S = float(np.sum(posterior * np.log(np.maximum(posterior, 1e-300) * hypotheses)))
        drawn = rng.choice(hypotheses, size=N, p=posterior)  # another hypothesis for each example
        found = guarantee(float(errors[np.arange(N), drawn].mean()), draws=N, S=S, N=N)
        gibbs = float(posterior @ truth)
        wrong += found.bound < gibbs
        too_low += float(posterior @ errors.mean(0)) < gibbs
        widths.append(found.bound - gibbs)
    assert wrong < DELTA * repetitions
    assert too_low > 0.9 * repetitions
    assert 0.0 < np.mean(widths) < 0.45


def test_draws_alone_are_too_low_in_fewer_than_their_part() -> None:
    """Examples have errors of their own; the mean of one draw each is bounded as that of equal coins is."""
    rng = np.random.default_rng(1)
    errors = rng.beta(0.1, 0.9, 60)
    draws = (rng.random((2000, 1, 60)) < errors).mean((1, 2))
    wrong = sum(guarantee(float(mean), draws=60, S=0.0, N=60).risk_bound < errors.mean() for mean in draws)
    assert wrong < OF_DRAWS * 2000
