"""TensorBoard and MLflow, by the callbacks that Ray Tune has for them."""

from __future__ import annotations

import dataclasses
import os
import posixpath
from typing import Any

from ray import tune
from ray.tune.logger import TBXLoggerCallback

from rayfe.config import RunConfig
from rayfe.records import StepRecord

SHOWN = frozenset(
    {
        *("lam", "gamma", "t", "R", "D", "C", "F", "accuracy", "val_R", "val_D", "val_C", "val_accuracy", "target_C"),
        *("C_target", "C_lam", "C_gamma", "excess", "step_length", "examples", "seconds", "step", "attempt"),
    }
)
"""Columns that go to loggers."""


def numbers(record: StepRecord) -> dict[str, float]:
    """What a trial reports of a row; columns that were not measured are left out."""
    row = {name: value for name, value in dataclasses.asdict(record).items() if name in SHOWN and value is not None}
    return row | {"accepted": int(record.accepted)}


def loggers(config: RunConfig) -> list[tune.Callback]:
    """The callbacks that the configuration asks for."""
    found: list[tune.Callback] = []
    if config.service.tensorboard:
        found.append(TensorBoard(config.service.tensorboard))
    if config.service.mlflow:
        from ray.tune.logger.mlflow import MLflowLoggerCallback

        name = posixpath.basename((config.out or "rayfe").rstrip("/"))
        found.append(MLflowLoggerCallback(tracking_uri=config.service.mlflow, experiment_name=name))
    return found


class TensorBoard(TBXLoggerCallback):
    """Tune's own, but in a folder that stays: FOLDER/<trajectory>, by step."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder

    def log_trial_start(self, trial: Any) -> None:
        if trial in self._trial_writer:
            self._trial_writer[trial].close()
        folder = os.path.join(self._folder, trial.config["trajectory"])
        self._trial_writer[trial] = self._summary_writer_cls(folder, flush_secs=30)
        self._trial_result[trial] = {}

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        """Accepted steps by their number, which Tune's count of results is not."""
        if result.get("accepted"):
            row = {name: value for name, value in result.items() if name in SHOWN}
            super().log_trial_result(iteration, trial, row | {"training_iteration": result["step"]})
