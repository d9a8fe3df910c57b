"""Order of batches and encoder noise as functions of (seed, trajectory, step, attempt), never of global state."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rayfe.data.datasets import Examples


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


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceExamples:
    """One split on a device: x floating point in [0, 1], (N, ...); y integer labels (N,)."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


def to_device(examples: Examples, device: torch.device, dtype: torch.dtype, shape: tuple[int, ...]) -> DeviceExamples:
    """Copy a split to `device`, each example in `shape`; bytes become floats in [0, 1]."""
    x = torch.from_numpy(np.array(examples.x)).to(device).to(dtype).reshape(-1, *shape)
    if examples.x.dtype == np.uint8:
        x /= 255.0
    return DeviceExamples(x=x, y=torch.from_numpy(np.array(examples.y)).to(device))
