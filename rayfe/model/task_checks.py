"""Looks at a task before any work: what it does with predictions, and whether labels fit it."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
from torch import Tensor

from rayfe.config import ModelConfig, require
from rayfe.model.parts import on_trial
from rayfe.model.task import BUILT_IN, SCORED, task_of


def check_task(config: ModelConfig, model: Any, x: Tensor, y: Tensor) -> None:
    """Look at what the task does with predictions of a new model on examples x (N, *input_shape) with labels y.

    Raises:
        UsageError: model.task; its loss or score fails, or has another shape than it should, or no gradient.
    """
    task, n = task_of(model), len(x)
    if type(task) in BUILT_IN.values():
        return
    prediction = model.eval().classify(model.encode(x)[0]).detach().expand(2, n, -1).clone().requires_grad_()
    given = f"predictions {tuple(prediction.shape)} and labels {tuple(y.shape)}"
    with on_trial("task", config.task, f"must give nats (draws, N), and a score (N,) or None, but fails for {given}"):
        loss, score = task.loss(prediction, y), task.score(task.mean(prediction), y)
    shapes = [tuple(value.shape) for value in (loss, score) if isinstance(value, Tensor)]
    sound = isinstance(loss, Tensor) and shapes == [(2, n), (n,)][: 1 if score is None else 2]
    require(
        sound, "model.task", config.task, f"gives a loss and a score of shapes {shapes}, expected {(2, n)} and {(n,)} or None"
    )
    fix = "gives a loss that is not finite, or has no gradient in the prediction; compute it by torch, in nats"
    require(bool(loss.isfinite().all()) and loss.requires_grad, "model.task", config.task, fix)
    require(task.signed or bool((loss >= 0).all()), "model.task", config.task, "gives a negative loss; say so: signed = True")
    columns = get_args(SCORED)
    require(task.scored in columns, "model.task", config.task, f"has scored = {task.scored!r}; give {' or '.join(columns)}")


def check_labels(config: ModelConfig, model: Any, y: np.ndarray) -> None:
    """Raises UsageError (model.task) where training labels y do not fit the task of a model."""
    with on_trial("task", config.task, "fails for the labels"):
        fault = task_of(model).fault(y)
    require(fault is None, "model.task", config.task, str(fault))
