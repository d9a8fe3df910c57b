"""Several losses of a task: their prices in a model, and whether they are what they should be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rayfe.config import ModelConfig, require
from rayfe.model.parts import on_trial
from rayfe.model.task import task_of


def set_prices(model: Any, prices: Tensor) -> None:
    """Give the losses of a model's task these prices (k,); the task becomes a part of the model."""
    model.task = task_of(model, len(prices))
    model.task.prices = prices


def check_losses(config: ModelConfig, model: Any, outputs: Sequence[str], x: Tensor, y: Tensor) -> tuple[str, ...]:
    """Look at the losses of a model's task on examples x (N, *input_shape) with labels y, whose outputs have these names; returns theirs.

    Raises:
        UsageError: model.task; there is one loss alone, two have one name, or they are not nats (draws, N, k) whose sum is the loss.
    """
    task = task_of(model, len(outputs))
    names = task.names(outputs)
    several = "has one loss alone, and process iso-losses holds several; give ``process=iso-classification``"
    require(len(names) > 1, "model.task", config.task, several)
    require(
        len(set(names)) == len(names), "model.task", config.task, f"has losses of one name: {', '.join(names)}; tell them apart"
    )
    prediction = model.eval().classify(model.encode(x)[0]).detach().expand(2, len(x), -1)
    with on_trial("task", config.task, f"must give losses (draws, N, {len(names)}), but fails"):
        losses, loss = task.losses(prediction, y), task.loss(prediction, y)
    shape = (2, len(x), len(names))
    fix = f"gives losses of shape {tuple(losses.shape)}, expected {shape}: one for each of {', '.join(names)}"
    require(tuple(losses.shape) == shape, "model.task", config.task, fix)
    fix = "gives losses whose sum is not the loss"
    require(torch.allclose(losses.sum(-1), loss, rtol=1e-4, atol=1e-5), "model.task", config.task, fix)
    return names
