"""A model as a codec: whatever its marginal and likelihood are, what is coded comes back bit by bit."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("constriction", reason="needs the package constriction (rayfe[codec])")

from rayfe.coding.images import KIND
from rayfe.coding.model import ModelCodec, levels_of, one_thread, pixels_of
from rayfe.coding.stream import opened
from rayfe.config import ModelConfig
from rayfe.model.protocol import build

N, SHAPE = 40, (16,)


@pytest.mark.parametrize(
    ("marginal", "likelihood"),
    [("standard", "gaussian"), ("gaussian", "gaussian"), ("mixture", "discretised-logistic"), ("vamp", "bernoulli")],
)
def test_what_is_coded_comes_back(marginal: str, likelihood: str) -> None:
    config = ModelConfig(latent=3, hidden=8, marginal=marginal, likelihood=likelihood)
    codec = ModelCodec(build(config, input_shape=SHAPE, classes=2).eval(), SHAPE, "sha256")
    x = np.random.default_rng(0).integers(0, 2 if likelihood == "bernoulli" else 17, (N, *SHAPE)).astype(np.float32)
    x /= x.max()
    with one_thread():
        coded = codec.encode_z(x)
        z, x_hat = codec.decode_z(coded.data)
        assert z.tobytes() == coded.z.tobytes()
        assert x_hat.shape == (N, *SHAPE)
        levels = levels_of(x)
        assert levels is not None
        images = codec.encode_x(*levels)
        found, count = codec.decode_x(images.data)
    assert pixels_of(found, count, x.dtype).tobytes() == x.tobytes()
    R = codec.rate(*codec.encode(x), z)
    bits = (32 * len(opened(KIND, images.data)[1]) - images.borrowed) / N
    assert bits == pytest.approx((R + images.nats) / np.log(2.0), abs=2.0)  # words, and bits of z that are not quite random
