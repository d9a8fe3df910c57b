"""What an exported model is worth as people use it: by the mean of z, on the validation split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rayfe.config import RunConfig
from rayfe.data.paths import PathData, examples_of
from rayfe.model.likelihood import likelihood_of
from rayfe.model.marginal import Marginal, marginal_of
from rayfe.model.objective import classification_loss, rate
from rayfe.records import Split

CHUNK = 500
"""Examples that are passed at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AsUsed:
    """Means over the validation split at p(x, t), without a draw: reconstruction and logits are of the mean of z."""

    R: float | None
    """None: it has no closed form."""
    D: float
    C: float
    accuracy: float


def as_used(
    run: Callable[[Tensor], Mapping[str, Tensor]],
    model: Any,
    data: PathData,
    config: RunConfig,
    t: float,
    shape: tuple[int, ...],
) -> AsUsed | None:
    """Readings of an exported `model` whose outputs are x -> mean, log_variance, reconstruction, logits; `shape` is an example's.

    None within a displacement (0 < t < 1), whose examples are blends that nobody has.
    """
    if data.kind == "displacement" and 0.0 < t < 1.0:
        return None
    ends = [(data.source, 1.0)] if data.target is None else [(data.source, 1.0 - t), (data.target, t)]
    total, marginal = np.zeros(4), marginal_of(model)
    for end, weight in ends:
        if weight > 0.0:
            examples = examples_of(end, Split.VALIDATION, config)
            total += weight * _means(run, model, marginal, examples.x, examples.y, shape)
    R, D, C, accuracy = total.tolist()
    return AsUsed(R=R if marginal.closed else None, D=D, C=C, accuracy=accuracy)


@torch.no_grad()
def _means(
    run: Callable[[Tensor], Mapping[str, Tensor]],
    model: Any,
    marginal: Marginal,
    x: np.ndarray,
    y: np.ndarray,
    shape: tuple[int, ...],
) -> np.ndarray:
    total = torch.zeros(4, dtype=torch.float64)
    for begin in range(0, len(y), CHUNK):
        part = torch.from_numpy(np.ascontiguousarray(x[begin : begin + CHUNK])).reshape(-1, *shape)
        part = part.float() / 255.0 if part.dtype == torch.uint8 else part.float()
        labels, out = torch.from_numpy(y[begin : begin + CHUNK]), run(part)
        loss = classification_loss(out["logits"][None], labels)[0]
        correct = (out["logits"].argmax(-1) == labels).double()
        R = rate(*marginal.in_unit(out["mean"], out["log_variance"]))
        each = (R, likelihood_of(model)(part, out["reconstruction"]), loss, correct)
        total += torch.stack([value.double().sum() for value in each])
    return (total / len(y)).numpy()
