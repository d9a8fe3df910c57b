"""Images as bits, without loss: bits-back with asymmetric numeral systems (Townsend, Bird and Barber 2019).

For each image z is decoded from the bits so far, by e(z|x); then the pixels are encoded by d(x|z), and z by N(0, I). The next image
takes z from these bits, so that an image costs KL(e || m) - log d(x|z) nats on average. The first one takes z from bits that both sides
know, and these come back at the end. Images are decoded in the other order.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rayfe.coding.stream import check, coder, opened, sealed
from rayfe.exceptions import NotDecoded

KIND = b"rfx1"
FINE, SIDE = 2**11, 2**15
"""Bins of z for a unit of it, and bins on either side of 0."""
LEAST = -24.0 * np.log(2.0)
"""Log-probability that each level has at least: what the coder's whole numbers can tell."""
WORDS_OF_ONE = 1
"""Words of 32 bits that z takes in each dimension, at most half of them."""
MOST = 2**20
"""Images of a stream at most."""
HEAD = struct.Struct("<IIIB")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a model says of one image."""

    posterior: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    """Levels (pixels,) -> mean and standard deviation (dimensions,) of e(z|x), in units in which m(z) is N(0, I)."""
    logs: Callable[[np.ndarray], np.ndarray]
    """z (dimensions,) in these units -> log-probability of each level, (pixels, levels) float64."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Coded:
    """Images as bits."""

    data: bytes
    borrowed: int
    """Bits that both sides know, from which the first z is taken: they are in the stream, too."""
    nats: float
    """- log d(x|z) of an image, on average, of the z that were taken."""


def encoded(levels: np.ndarray, count: int, parts: Parts, *, latent: int, key: int) -> Coded:
    """Images (n, pixels) of whole numbers below `count`, of 256 at most, as bits.

    Raises:
        ModuleNotFoundError: the package constriction is not installed.
    """
    stream = coder()
    bits = _borrowed(latent, key)
    stack, nats = stream.stack.AnsCoder(bits, seal=True), 0.0
    pixels = stream.model.Categorical(perfect=False)
    for row in levels:
        z = stack.decode(_bins(stream), *_in_bins(*parts.posterior(row)))
        logs = _floored(parts.logs(z / FINE))
        nats -= float(logs[np.arange(len(row)), row].sum())
        stack.encode_reverse(row.astype(np.int32), pixels, np.exp(logs))
        stack.encode_reverse(z, _bins(stream), *_in_bins(np.zeros(latent), np.ones(latent)))
    head = HEAD.pack(len(levels), check(np.array([key])), check(levels.astype(np.uint8)), count - 1)
    return Coded(data=sealed(KIND, head, stack.get_compressed()), borrowed=32 * len(bits), nats=nats / len(levels))


def decoded(data: bytes, parts_of: Callable[[int], Parts], *, latent: int, key: int) -> tuple[np.ndarray, int]:
    """The images of a stream, (n, pixels) uint8, and how many levels a pixel may have, which `parts_of` is given.

    Raises:
        NotDecoded: it is damaged, of another model, or this machine computes other numbers than the one that wrote it.
        ModuleNotFoundError: the package constriction is not installed.
    """
    head, words = opened(KIND, data)
    if len(head) != HEAD.size:
        raise NotDecoded("is not as it was written: its head is of another length")
    n, of_key, of_levels, top = HEAD.unpack(head)
    if of_key != check(np.array([key])):
        raise NotDecoded("is of another model, or of another seed")
    if not 0 < n <= MOST:
        raise NotDecoded("is not as it was written: it has no images")
    stream, found, parts = coder(), [], parts_of(top + 1)
    stack, pixels = stream.stack.AnsCoder(words), stream.model.Categorical(perfect=False)
    for _ in range(n):
        if stack.is_empty():
            raise NotDecoded(OTHERWISE)
        z = stack.decode(_bins(stream), *_in_bins(np.zeros(latent), np.ones(latent)))
        row = stack.decode(pixels, np.exp(_floored(parts.logs(z / FINE))))
        stack.encode_reverse(z, _bins(stream), *_in_bins(*parts.posterior(row)))
        found.append(row.astype(np.uint8))
    levels = np.stack(found[::-1])
    if check(levels) != of_levels:
        raise NotDecoded(OTHERWISE)
    return levels, top + 1


OTHERWISE = "gives other images on this machine than those that were coded: the model must compute the same numbers, bit by bit"


def _borrowed(latent: int, key: int) -> np.ndarray:
    """Words that both sides know."""
    return np.random.Generator(np.random.PCG64(key)).integers(0, 2**32, 4 + latent * WORDS_OF_ONE, dtype=np.uint32)


def _floored(logs: np.ndarray) -> np.ndarray:
    """The same with LEAST, a row after the other in memory: constriction reads a table as if it were, and says nothing if it is not."""
    return np.ascontiguousarray(np.maximum(logs, LEAST))


def _bins(stream: Any) -> Any:
    return stream.model.QuantizedGaussian(-SIDE, SIDE - 1)


def _in_bins(mean: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation in bins of z."""
    return FINE * mean.astype(np.float64), FINE * std.astype(np.float64)
