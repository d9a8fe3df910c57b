"""A job on scikit-learn's digits whose walk commits plausible rows and new models: no training."""

from __future__ import annotations

from typing import Any

import numpy as np

from rayfe.config import RunConfig
from rayfe.records import Commit, StepRecord
from rayfe.storage.store import Store

NAME = "lam1-gamma4-seed0"
DIGITS = ["digits-smoke", "--steps", "2"]


def flat_row(step: int, name: str, config: RunConfig) -> StepRecord:
    """A plausible row of a walk at constant C."""
    start = config.trajectories()[name]
    lam, C = start.lam * 1.1**step, 0.1
    return StepRecord(
        trajectory=name,
        step=step,
        attempt=0,
        accepted=True,
        outcome="OK",
        process="iso-classification",
        lam=lam,
        gamma=start.gamma,
        R=5.0 + step,
        D=30.0 - step,
        C=C,
        F=5.0 + step + lam * (30 - step) + start.gamma * C,
        C_se=1e-5,
        drift_se=1e-4,
        R_se=0.0,
        D_se=0.01,
        val_C=0.11,
        val_accuracy=0.95,
        C_target=C,
        examples=100.0 * step,
        seconds=10.0 * (step + 1),
        seed=start.seed,
    )


def model_weights(config: RunConfig, store: Store) -> dict[str, np.ndarray]:
    from rayfe.model.protocol import build
    from rayfe.model.weights import weights_of

    run = store.read_config()
    model = build(config.model, input_shape=(int(np.prod(run["input_shape"])),), classes=run["classes"], seed=3)
    return dict(weights_of(model))


def walk(config: RunConfig, dataset: object, store: Store, progress: Any) -> dict[str, str]:
    """Commits the rows that are missing, without any training."""
    weights = model_weights(config, store)
    for name in config.trajectories():
        for step in range(len(store.rows(name)), config.steps + 1):
            commit = Commit(record=flat_row(step, name, config), readings=(), state=weights, carry=None)
            progress.row(store.commit(name, commit))
    return {}


def arrays(**changes: np.ndarray | None) -> dict[str, np.ndarray]:
    """A small sound data set for an .npz file, with some arrays changed, or left out where they are None."""
    x, y = np.zeros((40, 6), np.float32), np.arange(40) % 2
    arrays = {"x_train": x, "y_train": y, "x_test": x, "y_test": y} | changes
    return {name: array for name, array in arrays.items() if array is not None}
