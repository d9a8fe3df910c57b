"""What a walk without labels loses to directions that it does not take up, and what taking them up mends: the table of docs/exact.md.

Example: python analysis/saddle.py 0.1
"""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pandas as pd
import tyro

from rayfe.backend.inline import InlineBackend
from rayfe.config import EquilibrationConfig, RunConfig, configure
from rayfe.config.presets import gaussian_exact
from rayfe.data.datasets import load
from rayfe.data.examples import Dataset
from rayfe.records import Annealing, EquilibrateRequest, MeasureRequest, Point, Replica, Split, StepKey, TakeUpRequest
from rayfe.surface.water_filling import WaterFilling

STEPS, RATIO, FIRST = 16, 1.25, 0.8
"""Steps, ratio of their lam, and the first lam where the examples are not scaled."""
NO_LABELS = 1e-9
SHORT = EquilibrationConfig(
    first_epochs=30,
    first_schedule="linear",
    first_learning_rate=1e-2,
    epochs=2,
    schedule="average",
    learning_rate=6e-3,
    optimizer="soap",
    batch=256,
)
"""Few updates a step, so that the encoder's weights lag where they must be large."""


def walk(config: RunConfig, data: Dataset, scale: float, *, takes_up: bool) -> pd.DataFrame:
    """Models trained at rising lam, each from the last one; a row each: lam, F and R off in per cent, uptake, dimensions taken up."""
    backend, rows, weights, left = InlineBackend(config, data), [], None, None
    x = data.train.x.astype(float)
    truth = WaterFilling(spectrum=np.linalg.eigvalsh(np.cov(x.T, bias=True)), latent=config.model.latent)
    epochs = config.equilibration.first_epochs
    for step in range(STEPS):
        point = Point(lam=FIRST * RATIO**step / scale**2, gamma=NO_LABELS)
        key = StepKey(trajectory="saddle", seed=0, step=step, attempt=0)
        dims: tuple[int, ...] = ()
        if takes_up and weights is not None:
            taken = backend.take_up(TakeUpRequest(key=key, point=point, weights=weights))
            weights, dims = taken.weights, taken.dims
        whole = Annealing(epochs=epochs, begin=0.0, end=epochs) if weights is None else None
        replica = Replica(name="centre", point=point, weights=weights)
        trained = backend.equilibrate(EquilibrateRequest(key=key, replicas=(replica,), preconditioner=left, annealing=whole))
        weights, left = trained.weights[0], trained.preconditioner
        read = dataclasses.replace(replica, weights=weights)
        request = MeasureRequest(key=key, replicas=(read,), splits=(Split.TRAIN,), purpose="test", certify=True)
        found = backend.measure(request).readings[0]
        assert found.certificate is not None
        off = {name: 100.0 * (getattr(found, name) / getattr(truth, name)(point.lam) - 1.0) for name in ("F", "R")}
        rows.append({"lam": point.lam} | off | {"uptake": found.certificate.uptake, "taken_up": len(dims)})
    return pd.DataFrame(rows)


def main(scale: tyro.conf.Positional[float]) -> int:
    """Walk without labels twice, as trained and with dimensions that take up what is missed.

    Args:
        scale: factor of the examples, such as 0.1.
    """
    if not (np.isfinite(scale) and scale > 0):
        print(f"saddle: scale {scale:g}: give a positive number, such as 0.1", file=sys.stderr)
        return 2
    config = configure(gaussian_exact(), backend="inline", equilibration=SHORT)
    data = load(config.data)
    scaled = dataclasses.replace(data.train, x=(scale * data.train.x).astype(np.float32))
    for takes_up in (False, True):
        print("with dimensions that take up what is missed" if takes_up else "as trained")
        shown = walk(config, dataclasses.replace(data, train=scaled), scale, takes_up=takes_up)
        print(shown.to_string(index=False, float_format=lambda value: f"{value:.3g}"))
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
