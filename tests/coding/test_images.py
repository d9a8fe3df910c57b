"""Bits-back: images come back byte by byte and cost KL(e || m) - log d nats; a model that computes otherwise is noticed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

pytest.importorskip("constriction", reason="needs the package constriction (rayfe[codec])")

from rayfe.coding.images import Coded, Parts, decoded, encoded
from rayfe.coding.model import levels_of, pixels_of
from rayfe.exceptions import NotDecoded

KEY, COUNT, LATENT = 5, 17, 3


def parts(noise: float = 0.3) -> Parts:
    """An encoder and a decoder of 12 pixels without torch. Over images, z has about the law N(0, I), so that the bits of z are fair."""
    weights = np.random.default_rng(0).standard_normal((LATENT, 12)) / 3.0
    level = np.linspace(0.0, 1.0, COUNT)

    def posterior(row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 2.75 * weights @ (row / (COUNT - 1.0) - 0.5), np.full(LATENT, noise)

    def logs(z: np.ndarray) -> np.ndarray:
        return log_softmax(-20.0 * (level - 0.5 - (z @ weights)[:, None]) ** 2, axis=1)

    return Parts(posterior=posterior, logs=logs)


def images(n: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, COUNT, (n, 12)).astype(np.uint8)


def code(n: int) -> Coded:
    return encoded(images(n), COUNT, parts(), latent=LATENT, key=KEY)


@pytest.mark.parametrize("n", [1, 400])
def test_images_come_back_byte_by_byte(n: int) -> None:
    levels, count = decoded(code(n).data, lambda _: parts(), latent=LATENT, key=KEY)
    assert (levels.tobytes(), count) == (images(n).tobytes(), COUNT)


def test_the_bits_are_rate_and_distortion() -> None:
    n, coded = 400, code(400)
    mean, std = zip(*map(parts().posterior, images(n)), strict=True)
    R = float((0.5 * (np.square(mean) + np.square(std) - 1.0) - np.log(std)).sum(1).mean())
    expected = (R + coded.nats) / np.log(2.0)
    assert (8 * len(coded.data) - coded.borrowed) / n == pytest.approx(expected, rel=0.02)
    assert coded.borrowed < 1000


def test_a_decoder_that_computes_otherwise_is_noticed() -> None:
    with pytest.raises(NotDecoded, match="bit by bit"):
        decoded(code(20).data, lambda _: parts(noise=0.3 + 1e-6), latent=LATENT, key=KEY)
    with pytest.raises(NotDecoded, match="another model"):
        decoded(code(20).data, lambda _: parts(), latent=LATENT, key=KEY + 1)


def test_a_changed_or_cut_stream_is_refused() -> None:
    data = code(2).data
    for place in range(len(data)):
        for broken in (data[:place], data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]):
            with pytest.raises(NotDecoded):
                decoded(broken, lambda _: parts(), latent=LATENT, key=KEY)


def test_pixels_are_levels_where_they_can_be() -> None:
    rng = np.random.default_rng(2)
    grey = rng.integers(0, 256, (3, 1, 2, 4)).astype(np.uint8)
    digits = (rng.integers(0, 17, (3, 1, 2, 4)) / 16).astype(np.float32)
    for x, fewest in (
        (grey, 256),
        (digits, 17),
        (255 * (grey > 99).astype(np.uint8), 2),
        ((grey / 255).astype(np.float32), 256),
    ):
        found = levels_of(x)
        assert found is not None
        assert found[1] == fewest
        assert pixels_of(*found, x.dtype).tobytes() == x.tobytes()
    assert levels_of(rng.random((3, 5)).astype(np.float32)) is None
