"""What an exported model is worth as people use it: by the mean of z, on the validation split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rayfe.config import RunConfig
from rayfe.data.examples import Examples
from rayfe.data.paths import PathData, examples_of
from rayfe.model.likelihood import likelihood_of
from rayfe.model.marginal import marginal_of
from rayfe.model.objective import rate, scored
from rayfe.model.task import task_of
from rayfe.records import Split

CHUNK = 500
"""Examples that are passed at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AsUsed:
    """Means over the validation split at p(x, t), without a draw: reconstruction and prediction are of the mean of z."""

    R: float | None
    """None: it has no closed form."""
    D: float
    C: float
    score: float
    """The task's, of which NaN says that there is none."""


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
    total = np.zeros(4)
    for end, weight in ends:
        if weight > 0.0:
            examples = examples_of(end, Split.VALIDATION, config)
            total += weight * _means(run, model, examples, shape)
    R, D, C, score = total.tolist()
    return AsUsed(R=R if marginal_of(model).closed else None, D=D, C=C, score=score)


@torch.no_grad()
def _means(run: Callable[[Tensor], Mapping[str, Tensor]], model: Any, examples: Examples, shape: tuple[int, ...]) -> np.ndarray:
    marginal, likelihood, task = marginal_of(model), likelihood_of(model), task_of(model)
    x, y, total = examples.x, examples.y, torch.zeros(4, dtype=torch.float64)
    for begin in range(0, len(y), CHUNK):
        part = torch.from_numpy(np.ascontiguousarray(x[begin : begin + CHUNK])).reshape(-1, *shape)
        part = part.float() / 255.0 if part.dtype == torch.uint8 else part.float()
        labels, out = torch.from_numpy(y[begin : begin + CHUNK]), run(part)
        prediction = out["logits"][None]
        loss, score = task.loss(prediction, labels)[0], scored(task, task.mean(prediction), labels)
        R = rate(*marginal.in_unit(out["mean"], out["log_variance"]))
        each = (R, likelihood(part, out["reconstruction"]), loss, score)
        total += torch.stack([value.double().sum() for value in each])
    return (total / len(y)).numpy()
