"""How far stored models are from equilibrium: train their weights on at fixed (lam, gamma), annealed to 0.

    python analysis/polish.py RUN --epochs 20 --seed 1 2 --out analysis/results/polish.csv

For each trajectory the start, the middle and the last accepted step are polished (`--step` names others). The
differences are of the stored row minus the polished model, both measured with the same draws: F is second
order in the distance from equilibrium while C, D and gamma (dgamma = dC / |C_gamma|) are first order.
Rows that FILE holds already are not computed again.
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
import tyro

from rayfe.backend.inline import InlineBackend
from rayfe.config import from_flat
from rayfe.data.datasets import load
from rayfe.records import Annealing, EquilibrateRequest, MeasureRequest, Point, Replica, Split, StepKey, StepRecord
from rayfe.store import Store


@dataclass(frozen=True, kw_only=True)
class Options:
    run: Annotated[str, tyro.conf.Positional]
    """Run directory."""
    out: Path
    """CSV file; rows are added."""
    epochs: float = 20.0
    """Epochs of polishing."""
    learning_rate: float | None = None
    """Initial learning rate, linear to 0; half the maximum of the run's walk without it."""
    seed: tuple[int, ...] = (1, 2)
    """Seeds of the polishing's batches and noise."""
    step: tuple[int, ...] = ()
    """Steps to polish; start, middle and end without it."""
    threads: int = 2


def polish(backend: InlineBackend, store: Store, row: StepRecord, seed: int, epochs: float) -> dict[str, float | int | str]:
    """One polished model against its stored row."""
    point = Point(lam=row.lam, gamma=row.gamma)
    key = StepKey(trajectory=f"polish {row.trajectory} {row.step}", seed=seed, step=0, attempt=0)
    replica = Replica(name="polished", point=point, weights=store.state(row))
    annealing = Annealing(epochs=epochs, begin=0.0, end=epochs)
    trained = backend.equilibrate(EquilibrateRequest(key=key, replicas=(replica,), annealing=annealing))
    measure = StepKey(trajectory=row.trajectory, seed=row.seed, step=row.step, attempt=row.attempt)
    polished = Replica(name="polished", point=point, weights=trained.weights[0])
    splits = (Split.TRAIN, Split.VALIDATION)
    after, validation = backend.measure(
        MeasureRequest(key=measure, replicas=(polished,), splits=splits, purpose="test")
    ).readings
    F, R, D, C, C_target, C_gamma = (float(getattr(row, name)) for name in ("F", "R", "D", "C", "C_target", "C_gamma"))
    return {
        "dF_percent": 100 * (F / after.F - 1),
        "dC_percent": 100 * (C - after.C) / C_target,
        "dD_percent": 100 * (D / after.D - 1),
        "dR_percent": 100 * (R / after.R - 1),
        "dgamma": (C - after.C) / abs(C_gamma),
        "F": after.F,
        "R": after.R,
        "D": after.D,
        "C": after.C,
        "val_C": validation.C,
        "examples": trained.examples,
    }


def main(options: Options) -> None:
    store = Store(options.run)
    config = from_flat(store.read_config()["config"])
    rate = options.learning_rate or 0.5 * config.equilibration.learning_rate
    equilibration = dataclasses.replace(
        config.equilibration, first_epochs=options.epochs, first_schedule="linear", first_learning_rate=rate
    )
    config = dataclasses.replace(config, equilibration=equilibration, threads=options.threads)
    backend = InlineBackend(config, load(config.data))
    done = pd.read_csv(options.out) if options.out.exists() else pd.DataFrame()
    for trajectory in store.trajectories():
        rows = [row for row in store.rows(trajectory) if row.accepted]
        chosen = options.step or sorted({0, len(rows) // 2, len(rows) - 1})
        for row in (row for row in rows if row.step in chosen):
            for seed in options.seed:
                line = {
                    "run": Path(options.run).name,
                    "trajectory": trajectory,
                    "step": row.step,
                    "lam": row.lam,
                    "gamma": row.gamma,
                    "epochs": options.epochs,
                    "learning_rate": rate,
                    "seed": seed,
                }
                name = ["run", "trajectory", "step", "seed"]
                if len(done) and (done[name] == [line[key] for key in name]).all(axis=1).any():
                    continue
                line |= polish(backend, store, row, seed, options.epochs)
                done = pd.concat([done, pd.DataFrame([line])], ignore_index=True)
                options.out.parent.mkdir(parents=True, exist_ok=True)
                done.to_csv(options.out, index=False, float_format="%.6g")
                print({key: round(value, 4) if isinstance(value, float) else value for key, value in line.items()}, flush=True)


if __name__ == "__main__":
    try:
        main(tyro.cli(Options))
    except (OSError, ValueError, KeyError) as error:
        print(f"{error}", file=sys.stderr)
        sys.exit(2)
