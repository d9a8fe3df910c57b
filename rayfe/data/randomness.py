"""Random numbers as functions of what they are for, never of global state: orders of batches, noise, parts of a data set.

Noise of readings belongs to an example's number: however examples are ordered or cut into chunks, each one gets its own.
"""

from __future__ import annotations

import abc
import hashlib
import threading

import torch
from torch import Tensor

GLOBAL = threading.RLock()
"""Held by who seeds torch's global generators, of which a process has one set for all its threads."""


def derived_seed(*parts: object) -> int:
    """A 63-bit seed that depends on all parts and on nothing else (SHA-256, the same on every machine)."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(device: torch.device | str, *parts: object) -> torch.Generator:
    """A fresh torch.Generator on `device`, seeded by `derived_seed(*parts)`."""
    return torch.Generator(device=device).manual_seed(derived_seed(*parts))


def integers_of(numbers: Tensor, columns: int, *, key: int | Tensor) -> Tensor:
    """64 random bits each for `numbers` (..., N) int64, shaped (..., N, columns): row n is a function of its number and the key alone.

    SplitMix64 (Steele, Lea and Flood 2014) at counter number * 2^20 + column from the 63-bit `key`, or from one for each row of
    `numbers`, (...) int64. By integers alone: every device has the same ones. Keys come from `derived_seed`.
    """
    counter = (numbers[..., None] << 20) + torch.arange(1, columns + 1, device=numbers.device)
    mixed = counter * GOLDEN + (key[..., None, None] if isinstance(key, Tensor) else key)
    mixed.bitwise_xor_(_shifted(mixed, 30)).mul_(MIX[0])
    mixed.bitwise_xor_(_shifted(mixed, 27)).mul_(MIX[1])
    return mixed.bitwise_xor_(_shifted(mixed, 31))


def uniform_of(numbers: Tensor, columns: int, *, key: int | Tensor, dtype: torch.dtype) -> Tensor:
    """Uniform numbers in (0, 1], (..., N, columns), by `integers_of`; 1 by rounding."""
    bits = 53 if dtype == torch.float64 else 24
    return (_shifted(integers_of(numbers, columns, key=key), 64 - bits).to(dtype) + 0.5) * 2.0**-bits


def normal_of(numbers: Tensor, columns: int, *, key: int | Tensor, dtype: torch.dtype) -> Tensor:
    """Standard normal numbers, (..., N, columns), as `uniform_of` has uniform ones."""
    return to_normal(uniform_of(numbers, columns, key=key, dtype=dtype))


def to_normal(uniform: Tensor) -> Tensor:
    """Standard normal numbers from uniform ones in [0, 1], which are overwritten; 0 and 1 become the ends of what the type can tell."""
    smallest = torch.finfo(uniform.dtype).eps
    return uniform.mul_(2.0).sub_(1.0).clamp(smallest - 1.0, 1.0 - smallest).erfinv_().mul_(2.0**0.5)


def _shifted(value: Tensor, bits: int) -> Tensor:
    """A logical shift to the right: torch's own keeps the sign."""
    return (value >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    """64 bits as the signed integer that torch has for them; products wrap around."""
    return value - (1 << 64) if value >> 63 else value


GOLDEN = _signed(0x9E3779B97F4A7C15)
MIX = (_signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB))
"""SplitMix64's increment and multipliers."""


class RandomNumbers(abc.ABC):
    """Where the orders of a training's examples come from, an epoch after the other."""

    @abc.abstractmethod
    def epoch(self, number: int | Tensor) -> RandomNumbers:
        """Those of one epoch, which are drawn in the order in which they are asked for."""

    @abc.abstractmethod
    def permutation(self, n: int) -> Tensor:
        """The numbers from 0 to n - 1 in a random order, (..., n) int64."""

    @abc.abstractmethod
    def uniform(self, n: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Uniform numbers in [0, 1), (..., n)."""


class Drawn(RandomNumbers):
    """From a generator of torch, which goes on from epoch to epoch. On GPUs of another model it draws others."""

    def __init__(self, rng: torch.Generator) -> None:
        self._rng = rng

    def epoch(self, number: int | Tensor) -> RandomNumbers:
        return self

    def permutation(self, n: int) -> Tensor:
        return torch.randperm(n, generator=self._rng, device=self._rng.device)

    def uniform(self, n: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.rand(n, generator=self._rng, device=self._rng.device, dtype=dtype)


class Counted(RandomNumbers):
    """Functions of keys (...) int64 and of the epochs' numbers, the same on every device; a first dimension counts the keys.

    An order is that of the numbers' random integers.
    """

    def __init__(self, keys: Tensor) -> None:
        self._keys, self._asked = keys, 0

    def epoch(self, number: int | Tensor) -> RandomNumbers:
        return Counted(self._of(number))

    def permutation(self, n: int) -> Tensor:
        return torch.argsort(integers_of(self._places(n), 1, key=self._next())[..., 0], dim=-1, stable=True)

    def uniform(self, n: int, dtype: torch.dtype = torch.float32) -> Tensor:
        bits = 53 if dtype == torch.float64 else 24
        return _shifted(integers_of(self._places(n), 1, key=self._next())[..., 0], 64 - bits).to(dtype) * 2.0**-bits

    def _of(self, number: int | Tensor) -> Tensor:
        """Other keys, by a number or by one for each."""
        numbers = number if isinstance(number, Tensor) else torch.full_like(self._keys, number)
        return integers_of(numbers[..., None], 1, key=self._keys)[..., 0, 0]

    def _next(self) -> Tensor:
        self._asked += 1
        return self._of(self._asked)

    def _places(self, n: int) -> Tensor:
        return torch.arange(n, device=self._keys.device)
