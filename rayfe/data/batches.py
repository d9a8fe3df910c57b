"""Order of batches and encoder noise as functions of (seed, trajectory, step, attempt), never of global state."""

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
