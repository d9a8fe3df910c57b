"""rayfe drives encoder/decoder/classifier models along the rate-distortion-classification equilibrium surface.

After Gao & Chaudhari, "A Free-Energy Principle for Representation Learning" (2020). Runs are made by the commands in
jobs/; `load_run` and `load_model` read what they left.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

__version__ = "0.1.0"
__all__ = ["__version__", "load_model", "load_run"]


def load_run(location: str | Path) -> pd.DataFrame:
    """All attempted steps of a run, a row each, by trajectory, step and attempt.

    `location` is the run's folder or its URI; the columns are the fields of `rayfe.records.StepRecord`.

    Raises:
        FileNotFoundError: there is no run at `location`.
        CorruptFile: a trajectory's rows cannot be read.
    """
    from rayfe.store import load_rows

    return load_rows(location)


def load_model(location: str | Path, trajectory: str, step: int) -> nn.Module:
    """The model of an accepted step, in evaluation mode on the CPU.

    It has `encode(x) -> (mean, log_variance)`, `decode(z) -> x_hat` shaped like x, and `classify(z) -> logits`; x is
    float in [0, 1], (N, features) for an MLP and (N, *input_shape) for every other model.

    Raises:
        FileNotFoundError: there is no run at `location`, or these weights are not kept any more (`--keep-states`).
        ValueError: the run has no such trajectory, or no such accepted step.
        CorruptFile: the weights are not the ones that the step's row describes.
    """
    from rayfe.config import ModelConfig  # torch and pandas take seconds to import: not for `import rayfe`
    from rayfe.equilibrate.replicas import load_weights
    from rayfe.model.protocol import build, input_shape
    from rayfe.store import Store

    store = Store(location)
    run = store.read_config()
    names = store.trajectories()
    if trajectory not in names:
        raise ValueError(f"{store.url()} has no trajectory {trajectory!r}, only {', '.join(names) or 'none so far'}")
    accepted = {row.step: row for row in store.rows(trajectory) if row.accepted}
    if step not in accepted:
        steps = ", ".join(map(str, sorted(accepted))) or "none so far"
        raise ValueError(f"{trajectory} in {store.url()} has no accepted step {step!r}, only {steps}")
    config = ModelConfig(
        **{name.removeprefix("model."): value for name, value in run["config"].items() if name.startswith("model.")}
    )
    model = build(config, input_shape=input_shape(config, tuple(run["input_shape"])), classes=run["classes"])
    load_weights(model, store.state(accepted[step]))
    return model.eval()
