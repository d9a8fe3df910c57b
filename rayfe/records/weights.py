"""Arithmetic of weights: named numpy arrays, one model or several groups of them in one mapping."""

from __future__ import annotations

import hashlib

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from rayfe.records import Weights

PRICES = "task.prices"
"""What each loss of a task counts by, (k,), in the weights of models of process iso-losses."""


def priced(weights: Weights, prices: np.ndarray) -> Weights:
    """The weights with these prices of the losses, (k,)."""
    return {**weights, PRICES: np.asarray(prices, weights[PRICES].dtype)}


def along(weights: Weights, tangent: Weights, shift: float) -> Weights:
    """weights + shift * tangent, name by name; the weights themselves where there is nothing to add."""
    if shift == 0.0 or not tangent:
        return weights
    return {name: np.asarray(value + shift * tangent[name], value.dtype) for name, value in weights.items()}


def slope(up: Weights, down: Weights, width: float) -> Weights:
    """(up - down) / width, name by name."""
    return {name: np.asarray((value - down[name]) / width, value.dtype) for name, value in up.items()}


def pack(**groups: Weights | None) -> Weights:
    """Several groups in one mapping, `group/name`; None is an empty group."""
    return {f"{group}/{name}": value for group, weights in groups.items() for name, value in (weights or {}).items()}


def unpack(packed: Weights, group: str) -> Weights:
    """One group of `pack`, empty if it is not there."""
    return {name.removeprefix(f"{group}/"): value for name, value in packed.items() if name.startswith(f"{group}/")}


def without(packed: Weights, group: str) -> Weights:
    """`packed` but for one group."""
    return {name: value for name, value in packed.items() if not name.startswith(f"{group}/")}


def arrays_in(data: bytes) -> Weights:
    """The arrays of a weight file, of types that numpy knows.

    Raises:
        ValueError: it is none.
    """
    try:
        return load(data)
    except (SafetensorError, KeyError, ValueError, MemoryError) as error:
        raise ValueError(f"is no weight file ({error})") from error


def digest_of(weights: Weights) -> str:
    """SHA-256 of names, shapes, types and values, in the order of the names."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).reshape(-1).data)
    return digest.hexdigest()
