"""How far trained rows are from the exact surface, and at which lam dimensions of z come in: of runs whose data know their surface.

Example: python analysis/exact.py runs/gaussian-exact runs/gaussian-rate
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import tyro

from rayfe.data.datasets import load
from rayfe.exceptions import CorruptFile
from rayfe.results.dimensions import thresholds
from rayfe.results.frames import accepted_steps, numbers
from rayfe.storage import store
from rayfe.storage.manifest import stored_config
from rayfe.storage.store import Store
from rayfe.surface.linear_gaussian import LinearGaussian
from rayfe.surface.water_filling import WaterFilling

FIRST = 6
"""Thresholds that are compared."""


def misses(steps: pd.DataFrame) -> pd.DataFrame:
    """Of each accepted row of one trajectory how far it is off the exact surface at its multipliers, a row each.

    `F`, `R`, `D` and `C` in per cent; `F_nats` in nats; `gamma` in per cent of the exact one at the row's lam and C_target.
    """
    off = {name: 100.0 * (numbers(steps, name) / numbers(steps, f"exact_{name}") - 1.0) for name in ("F", "R", "D", "C")}
    off["F_nats"] = numbers(steps, "F") - numbers(steps, "exact_F")
    off["gamma"] = 100.0 * (numbers(steps, "gamma") / numbers(steps, "exact_held_gamma") - 1.0)
    return pd.DataFrame(off, index=steps.index).assign(
        step=steps["step"], lam=numbers(steps, "lam"), R_nats=numbers(steps, "R")
    )


def worst(off: pd.DataFrame) -> pd.DataFrame:
    """The row of `misses` that is furthest off in each quantity: quantity, miss, and step, lam and R of that row."""
    lines = []
    for name in ("F", "F_nats", "R", "D", "C", "gamma"):
        known = off[np.isfinite(off[name])]
        if len(known):
            row = known.loc[known[name].abs().idxmax()]
            lines.append({"quantity": name, "miss": row[name], "step": int(row["step"]), "lam": row["lam"], "R": row["R_nats"]})
    return pd.DataFrame(lines)


def compared_thresholds(steps: pd.DataFrame, spectrum: np.ndarray) -> pd.DataFrame:
    """The first FIRST thresholds of the dimensions of z that rows without labels show, beside 1 / (2 s_i): lam, exact, percent."""
    found = thresholds(steps).head(FIRST)
    exact = WaterFilling(spectrum=spectrum, latent=len(spectrum)).thresholds()[: len(found)]
    return found.assign(exact=exact, percent=100.0 * (found["lam"] / exact - 1.0))


def beside_population(steps: pd.DataFrame, surface: LinearGaussian) -> pd.DataFrame:
    """The exact minima of the sample beside those of Gaussian classes with its moments, a row each: lam, F, population_F, and R, D and C
    of the sample in per cent of the population's."""
    lines = []
    for _, row in steps.iterrows():
        of_classes = surface.of_classes(float(row["lam"]), float(row["gamma"]))
        off = {name: 100.0 * (row[f"exact_{name}"] / getattr(of_classes, name) - 1.0) for name in ("R", "D", "C")}
        lines.append({"lam": row["lam"], "F": row["exact_F"], "population_F": of_classes.F} | off)
    return pd.DataFrame(lines)


def surface_of(location: str) -> LinearGaussian:
    """The exact surface of a run's training examples."""
    _, config = stored_config(Store(location))
    train = load(config.data).train
    return LinearGaussian(train.x, train.y, latent=config.model.latent)


def report(location: str) -> str:
    """The worst rows of each trajectory of a run, and the thresholds of those without labels.

    Raises:
        FileNotFoundError, CorruptFile, ValueError: there is no such run, or it has no exact columns.
    """
    rows, parts = store.load_rows(location), list[str]()
    for name, walk in rows.groupby("trajectory", sort=True):
        steps = accepted_steps(walk)
        if not np.isfinite(numbers(steps, "exact_F")).any():
            raise ValueError(f"{location}: {name} has no exact columns, give runs of gaussian-exact")
        parts += [f"{location} {name}: {len(steps)} rows, the worst of each quantity", _table(worst(misses(steps)))]
        if not numbers(steps, "gamma").any():
            parts += [f"the first {FIRST} thresholds", _table(compared_thresholds(steps, surface_of(location).spectrum))]
        else:
            parts += [
                "the sample's truth beside that of Gaussian classes",
                _table(beside_population(steps, surface_of(location))),
            ]
    return "\n".join(parts)


def _table(frame: pd.DataFrame) -> str:
    return frame.to_string(index=False, float_format=lambda value: f"{value:.4g}")


def main(runs: tyro.conf.Positional[tuple[str, ...]]) -> int:
    """Compare runs with the exact surface that their data know.

    Args:
        runs: run directories or fsspec URIs of jobs/isoc.py gaussian-exact.
    """
    try:
        if not runs:
            raise ValueError("give folders of runs, e.g. runs/gaussian-exact")
        shown = [report(location) for location in runs]
    except (OSError, ValueError, CorruptFile) as error:
        print(f"exact: {error}", file=sys.stderr)
        return 2
    print("\n\n".join(shown))
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
