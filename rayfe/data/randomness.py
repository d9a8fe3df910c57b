"""Random numbers as functions of what they are for, never of global state: orders of batches, noise, parts of a data set.

Noise of readings belongs to an example's number: however examples are ordered or cut into chunks, each one gets its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor


def derived_seed(*parts: object) -> int:
    """A 63-bit seed that depends on all parts and on nothing else (SHA-256, the same on every machine)."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(device: torch.device | str, *parts: object) -> torch.Generator:
    """A fresh torch.Generator on `device`, seeded by `derived_seed(*parts)`."""
    return torch.Generator(device=device).manual_seed(derived_seed(*parts))


def uniform_of(numbers: Tensor, columns: int, *, key: int | Tensor, dtype: torch.dtype) -> Tensor:
    """Uniform numbers in (0, 1) for examples with these `numbers` (N,) int64, shaped (N, columns): row n is a function of its number.

    SplitMix64 (Steele, Lea and Flood 2014) at counter number * 2^20 + column from the 63-bit `key`, by integers alone: every device
    has the same ones. Keys come from `derived_seed`; a tensor () of one serves torch.func.vmap.
    """
    counter = (numbers[:, None] << 20) + torch.arange(1, columns + 1, device=numbers.device)
    mixed = counter * GOLDEN + key
    mixed.bitwise_xor_(_shifted(mixed, 30)).mul_(MIX[0])
    mixed.bitwise_xor_(_shifted(mixed, 27)).mul_(MIX[1])
    mixed.bitwise_xor_(_shifted(mixed, 31))
    bits = 53 if dtype == torch.float64 else 24
    return (_shifted(mixed, 64 - bits).to(dtype) + 0.5) * 2.0**-bits


def normal_of(numbers: Tensor, columns: int, *, key: int | Tensor, dtype: torch.dtype) -> Tensor:
    """Standard normal numbers for examples with these `numbers`, (N, columns), as `uniform_of` has uniform ones."""
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


def batch_indices(n: int, batch: int, *, updates: int, rng: torch.Generator) -> Iterator[Tensor]:
    """`updates` index vectors of length `batch` into n examples: epochs of random order, each without its incomplete rest.

    Raises:
        ValueError: `batch` exceeds n.
    """
    if batch > n:
        raise ValueError(f"batch {batch} is larger than the data ({n} examples)")
    per_epoch = n // batch
    for update in range(updates):
        position = update % per_epoch
        if position == 0:
            order = torch.randperm(n, generator=rng, device=rng.device)
        yield order[position * batch : (position + 1) * batch]
