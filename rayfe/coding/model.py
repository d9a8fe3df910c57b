"""A stored model as a codec of images: with loss by z alone, and without.

Both sides must compute the same numbers, bit by bit: so torch has one thread here, and what is coded goes through the model in
the same pieces as what is decoded. Another machine, or another version of torch, may round otherwise: decoding then says so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rayfe.coding import draws, images
from rayfe.data.randomness import derived_seed
from rayfe.model.likelihood import likelihood_of
from rayfe.model.marginal import marginal_of

CHUNK = 500
"""Examples that pass the model at a time, where z is known for all."""
MOST_LEVELS = 256
"""Values of a pixel that is coded without loss."""
SMALLEST = 1e-6
"""Standard deviation of z that is coded at least, in units of m(z)."""


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """torch's sums do not depend on how many threads it had."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def levels_of(x: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Examples (N, ...), uint8 or floats in [0, 1], as whole numbers (N, pixels) uint8, and the fewest levels that they fit.

    None: they are not of 256 evenly spaced levels from 0 to 1, or fewer.
    """
    values = np.unique(x)
    if len(values) > MOST_LEVELS:
        return None
    steps = [count for count in range(1, MOST_LEVELS) if x.dtype != np.uint8 or 255 % count == 0]
    for count in (one + 1 for one in steps):
        if np.array_equal(pixels_of(_nearest(values, count), count, x.dtype), values):
            return _nearest(x.reshape(len(x), -1), count), count
    return None


def _nearest(x: np.ndarray, count: int) -> np.ndarray:
    return np.round(_unit(x).astype(np.float64) * (count - 1)).clip(0, count - 1).astype(np.uint8)


def pixels_of(levels: np.ndarray, count: int, dtype: Any) -> np.ndarray:
    """The examples that `levels_of` was given, by their type."""
    part = levels.astype(np.float64) / (count - 1)
    return np.round(255.0 * part).astype(np.uint8) if dtype == np.uint8 else part.astype(dtype)


class ModelCodec:
    """Codes of one model in evaluation mode on the CPU; `shape` is an example's, `sha256` that of its weights.

    What is coded is decoded bit by bit where both are done within `one_thread`.
    """

    def __init__(self, model: Any, shape: tuple[int, ...], sha256: str) -> None:
        self.model, self.shape, self.latent = model, shape, int(model.latent)
        with one_thread(), torch.no_grad():  # a marginal may go through the encoder
            self.marginal, self.likelihood = marginal_of(model), likelihood_of(model)
        self.key = derived_seed("codec", sha256)

    def given(self, x: np.ndarray) -> Tensor:
        """Examples (N, ...), uint8 or in [0, 1], as the model sees them."""
        return torch.from_numpy(np.ascontiguousarray(_unit(x))).reshape(-1, *self.shape)

    @torch.no_grad()
    def encode(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of e(z|x), (N, latent) float64, in units in which m(z) is N(0, I); x (N, ...) in [0, 1] or uint8."""
        parts = [self.model.encode(part) for part in self.given(x).split(CHUNK)]
        mean, log_variance = (torch.cat(both).double() for both in zip(*parts, strict=True))
        mean, log_variance = self.marginal.in_unit(mean, log_variance)
        return mean.numpy(), (0.5 * log_variance).exp().clamp_min(SMALLEST).numpy()

    @torch.no_grad()
    def rate(self, mean: np.ndarray, std: np.ndarray, z: np.ndarray) -> float:
        """R (1) in nats of what `encode` gives, on average: by draws z of it, (N, latent), where m(z) has no closed form."""
        R = base_rate(mean, std)
        return R if self.marginal.closed else R - float(self.marginal.gain(self._own(z)[None]).mean())

    @torch.no_grad()
    def reconstructions(self, z: np.ndarray) -> Tensor:
        """x_hat (N, *shape) of z, (N, latent), in units in which m(z) is N(0, I)."""
        return torch.cat([self.model.decode(part) for part in self._own(z).split(CHUNK)])

    @torch.no_grad()
    def logits(self, z: np.ndarray) -> Tensor:
        """Of z in these units, (N, classes)."""
        return torch.cat([self.model.classify(part) for part in self._own(z).split(CHUNK)])

    def _own(self, z: np.ndarray) -> Tensor:
        """z in the model's own units."""
        return self.marginal.of_unit(torch.from_numpy(z)).float()

    def encode_z(self, x: np.ndarray) -> draws.Coded:
        """A draw of e(z|x) for each example as bits."""
        return draws.encoded(*self.encode(x), self.key)

    def decode_z(self, data: bytes) -> tuple[np.ndarray, Tensor]:
        """z and reconstructions from the bits. Raises NotDecoded."""
        z = draws.decoded(data, self.key)
        return z, self.reconstructions(z)

    def encode_x(self, levels: np.ndarray, count: int) -> images.Coded:
        """Images without loss, of what `levels_of` gives."""
        return images.encoded(levels, count, self._parts(count), latent=self.latent, key=self.key)

    def decode_x(self, data: bytes) -> tuple[np.ndarray, int]:
        """Levels and how many there may be. Raises NotDecoded."""
        return images.decoded(data, self._parts, latent=self.latent, key=self.key)

    def _parts(self, count: int) -> images.Parts:
        """e(z|x) and d(x|z) of one image of so many levels."""

        def posterior(row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            mean, std = self.encode(pixels_of(row[None], count, np.float32))
            return mean[0], std[0]

        @torch.no_grad()
        def logs(z: np.ndarray) -> np.ndarray:
            return self.likelihood.levels(self.reconstructions(z[None]), count)[0].double().numpy()

        return images.Parts(posterior=posterior, logs=logs)


def base_rate(mean: np.ndarray, std: np.ndarray) -> float:
    """Rate relative to N(0, I), by which z is coded, of what `ModelCodec.encode` gives, nats, on average."""
    return float((0.5 * (mean**2 + std**2 - 1.0) - np.log(std)).sum(1).mean())


def _unit(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) / np.float32(255.0) if x.dtype == np.uint8 else x.astype(np.float32)
