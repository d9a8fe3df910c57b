"""Relative entropy coding: draws have the right law, the right length, and come back bit by bit; damage is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("constriction", reason="needs the package constriction (rayfe[codec])")

from rayfe.coding.draws import KIND, MOST, decoded, encoded, fault
from rayfe.coding.stream import opened, sealed
from rayfe.exceptions import NotDecoded

KEY = 11


def gaussians(n: int, std: list[float], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations, (n, dimensions): over all, z has about the law N(0, I)."""
    rng = np.random.default_rng(seed)
    spread = np.sqrt(np.maximum(0.0, 1.0 - np.square(std)))
    return spread * rng.standard_normal((n, len(std))), np.tile(std, (n, 1)) * rng.uniform(0.9, 1.1, (n, len(std)))


def nats(mean: np.ndarray, std: np.ndarray) -> float:
    """KL(N(mean, std^2) || N(0, I)), on average over the rows."""
    return float((0.5 * (mean**2 + std**2 - 1.0) - np.log(std)).sum(1).mean())


@pytest.mark.parametrize("std", [[0.9], [0.02], [0.3, 0.3, 0.5, 1.0], [0.2] * 5 + [0.99] * 4, [0.3] * 12])
def test_bits_are_kl_and_little_more(std: list[float]) -> None:
    mean, std_of = gaussians(100, std, 0)
    coded, R = encoded(mean, std_of, KEY), nats(mean, std_of) / np.log(2.0)
    excess = 32 * len(opened(KIND, coded.data)[1]) / len(mean) - R  # a head of 50 bytes is much for so few
    assert coded.cut == 0
    assert 0.0 < excess < np.log2(R + 1.0) + 5.0
    assert coded.blocks == 1 + (std == [0.3] * 12)


def test_draws_have_the_law_of_the_encoder() -> None:
    """Kolmogorov-Smirnov tests at fixed seeds: of each dimension by itself, and of sums over dimensions."""
    mean, std = gaussians(1000, [0.1, 0.4, 0.8, 1.2], 1)
    epsilon = (encoded(mean, std, KEY).z - mean) / std
    for values in (
        *epsilon.T,
        epsilon.sum(1) / 2.0,
        epsilon @ [0.5, -0.5, 0.5, -0.5],
        (epsilon[:, 0] + mean[:, 0]) / np.sqrt(1.99),
    ):
        assert stats.kstest(values, "norm").pvalue > 0.01
    assert stats.kstest((epsilon**2).sum(1), "chi2", args=(4,)).pvalue > 0.01


def test_draws_come_back_bit_by_bit_and_by_their_own_key_alone() -> None:
    mean, std = gaussians(50, [0.3, 0.05, 1.3], 2)
    coded = encoded(mean, std, KEY)
    assert decoded(coded.data, KEY).tobytes() == coded.z.tobytes()
    assert encoded(mean, std, KEY).data == coded.data
    with pytest.raises(NotDecoded, match="another model"):
        decoded(coded.data, KEY + 1)


def test_one_draw_is_a_stream_and_a_far_one_too() -> None:
    for mean, std in ((0.0, 1.0), (7.0, 0.5), (-3.0, 1e-6)):
        coded = encoded(np.array([[mean]]), np.array([[std]]), KEY)
        assert decoded(coded.data, KEY).tobytes() == coded.z.tobytes()
        assert abs(coded.z[0, 0] - mean) < 5.0 * std


def test_a_changed_or_cut_stream_is_refused() -> None:
    data = encoded(*gaussians(20, [0.3, 0.5], 3), KEY).data
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 16
        for broken in (bytes(changed), data[:place]):
            with pytest.raises(NotDecoded):
                decoded(broken, KEY)


def test_a_forged_head_costs_no_memory() -> None:
    head, words = opened(KIND, encoded(*gaussians(20, [0.3, 0.5], 3), KEY).data)
    many = MOST.to_bytes(4, "little") + head[4:]
    for forged in (many, head[:-1], head[:10], head[:-4] + b"\x00\x7e\x00\x7e", head[:-4] + b"\xff\x5b" * 2, b""):
        with pytest.raises(NotDecoded):
            decoded(sealed(KIND, forged, words), KEY)


def test_what_would_take_too_long_is_told_before() -> None:
    one = np.ones((3, 2))
    assert fault(0.0 * one, one) is None
    for mean, std, said in ((np.nan, 1.0, "not finite"), (0.0, 3.0, "3 standard deviations"), (9.0, 1e-3, "bits")):
        told = fault(mean * one, std * one)
        assert told is not None
        assert said in told
