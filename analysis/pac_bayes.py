"""What PAC-Bayes bounds guarantee on new data, against the temperature sigma: trainings of equal length from new weights.

Example: python analysis/pac_bayes.py --run mnist        # makes the rows of one set; without --run: table and figure of the stored rows
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import tyro
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from rayfe.backend.inline import InlineBackend
from rayfe.config import DataConfig, EquilibrationConfig, MeasureConfig, ModelConfig, RunConfig, configure
from rayfe.data.datasets import load
from rayfe.records import Annealing, EquilibrateRequest, MeasureRequest, Point, Replica, Split, StepKey

RESULTS = Path(__file__).parent / "results" / "pac-bayes"
SEEDS = (0, 1, 2)
CLASSES = 10
Set = Literal["digits", "mnist"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """What is trained, and at which temperatures."""

    config: RunConfig
    lam: float
    gamma: float
    sigmas: tuple[float, ...]


def _trained_for(data: str, hidden: int, epochs: float, batch: int) -> RunConfig:
    return configure(
        threads=1,
        sigma=1e-3,  # that the points have instead
        data=DataConfig(name=data),
        model=ModelConfig(hidden=hidden, latent=16, classifier_hidden=0, posterior="all"),
        measure=MeasureConfig(head_draws=16),
        equilibration=EquilibrationConfig(
            first_epochs=epochs, first_schedule="linear", first_learning_rate=1e-2, first_batch=batch, batch=batch
        ),
    )


CASES: Mapping[Set, Callable[[], Case]] = MappingProxyType(
    {
        "digits": lambda: Case(
            config=_trained_for("digits", 32, 150, 128), lam=0.25, gamma=50.0, sigmas=(0.003, 0.01, 0.02, 0.05)
        ),
        "mnist": lambda: Case(
            config=_trained_for("mnist", 64, 30, 512), lam=0.25, gamma=50.0, sigmas=(2e-3, 5e-4, 1e-2, 1e-3, 4e-3)
        ),
    }
)


def trained(config: RunConfig, point: Point, seed: int) -> dict[Hashable, Any]:
    """A first equilibrium with new weights, and its readings with errors of single draws."""
    backend, began = InlineBackend(config, load(config.data)), time.monotonic()
    key = StepKey(trajectory="pac-bayes", seed=seed, step=0, attempt=0)
    epochs = config.equilibration.first_epochs
    replica = Replica(name="centre", point=point, weights=None)
    annealing = Annealing(epochs=epochs, begin=0.0, end=epochs)
    found = backend.equilibrate(EquilibrateRequest(key=key, replicas=(replica,), preconditioner=None, annealing=annealing))
    model = Replica(name="centre", point=point, weights=found.weights[0])
    splits = (Split.TRAIN, Split.VALIDATION)
    measured = backend.measure(MeasureRequest(key=key, replicas=(model,), splits=splits, purpose="test", certify=True))
    train, validation = measured.readings
    assert train.gibbs is not None and validation.gibbs is not None
    row: dict[Hashable, Any] = {"seed": seed, "lam": point.lam, "gamma": point.gamma, "sigma": point.sigma, "N": train.size}
    row |= {name: getattr(train, name) for name in ("R", "D", "C", "S", "F")}
    row |= {"val_D": validation.D, "val_C": validation.C}
    row |= {f"gibbs_{name}": getattr(train.gibbs, name) for name in ("error", "C", "S", "error_bound", "C_bound")}
    row |= {f"val_gibbs_{name}": getattr(validation.gibbs, name) for name in ("error", "C", "error_se", "C_se")}
    return row | {"examples": found.examples + measured.examples, "seconds": time.monotonic() - began}


def make(name: Set, seeds: tuple[int, ...]) -> None:
    """Train what is missing of a set, and store a row each at once."""
    case, path = CASES[name](), RESULTS / f"{name}.csv"
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    done = {(row["sigma"], row["seed"]) for row in rows}
    for seed in seeds:
        for sigma in case.sigmas:
            if (sigma, seed) in done:
                continue
            rows.append(trained(case.config, Point(lam=case.lam, gamma=case.gamma, sigma=sigma), seed))
            RESULTS.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(rows).to_csv(path, index=False, float_format="%.7g")
            print(pd.DataFrame(rows[-1:]).round(4).to_string(index=False), flush=True)


def table(name: Set) -> pd.DataFrame:
    """Means over the seeds at each sigma; of the bound of errors the spread, too."""
    rows = pd.read_csv(RESULTS / f"{name}.csv")
    columns = ["R", "D", "C", "S", "gibbs_S", "gibbs_error", "val_gibbs_error", "gibbs_error_bound"]
    columns += ["gibbs_C", "val_gibbs_C", "gibbs_C_bound", "seconds"]
    by_sigma = rows.groupby("sigma")
    found = by_sigma[columns].mean()
    spread = by_sigma["gibbs_error_bound"].agg(lambda bounds: bounds.max() - bounds.min())
    return found.assign(seeds=by_sigma.size(), bound_spread=spread).reset_index()


def draw(names: list[Set]) -> None:
    """A row of figures a set: errors, clipped losses and S against sigma, the mean of the seeds and a point for each."""
    figure, axes = plt.subplots(len(names), 3, figsize=(11, 3.1 * len(names)), squeeze=False, layout="constrained")
    for row, name in zip(axes, names, strict=True):
        rows = pd.read_csv(RESULTS / f"{name}.csv")
        title = f"{name}, lam {rows['lam'].iloc[0]:g}, gamma {rows['gamma'].iloc[0]:g}, N {rows['N'].iloc[0]}"
        _draw_losses(row[0], rows, "error", 1.0 - 1.0 / CLASSES, "part of wrong answers")
        _draw_losses(row[1], rows, "C", float(np.log(CLASSES)), "clipped C, nats")
        for column, label in (("S", "all"), ("gibbs_S", "encoder and classifier")):
            _line(row[2], rows, column, label)
        row[2].set_ylabel("S, nats")
        row[0].set_title(title, fontsize=9, loc="left")
        for axis in row:
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_xticks(sorted(set(rows["sigma"])), [f"{sigma:g}" for sigma in sorted(set(rows["sigma"]))])
            axis.xaxis.set_minor_locator(NullLocator())
            axis.set_xlabel("sigma")
            axis.legend(fontsize=7)
    figure.savefig(RESULTS / "pac_bayes.png", dpi=110)


def _draw_losses(axis: Axes, rows: pd.DataFrame, name: str, guess: float, label: str) -> None:
    _line(axis, rows, f"gibbs_{name}_bound", "bound (95 %)")
    _line(axis, rows, f"val_gibbs_{name}", "validation")
    _line(axis, rows, f"gibbs_{name}", "training")
    axis.axhline(guess, color="grey", linewidth=0.8, linestyle=":", label="guessing")
    axis.set_ylabel(label)


def _line(axis: Axes, rows: pd.DataFrame, column: str, label: str) -> None:
    mean = rows.groupby("sigma")[column].mean()
    (line,) = axis.plot(mean.index, mean, label=label, linewidth=1.0)
    axis.plot(rows["sigma"], rows[column], ".", color=line.get_color(), markersize=4)


def main(run: Set | None = None, seeds: tuple[int, ...] = SEEDS) -> None:
    """`run`: which rows to make; without it table and figure are made of those that are stored."""
    if run is not None:
        make(run, seeds)
        return
    names: list[Set] = [name for name in CASES if (RESULTS / f"{name}.csv").exists()]
    for name in names:
        print(f"{name}\n{table(name).round(4).to_string(index=False)}\n")
    draw(names)


if __name__ == "__main__":
    tyro.cli(main)
