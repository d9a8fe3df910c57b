"""How far trained rows are from the exact surface, and at which lam dimensions of z come in: of runs whose data know their surface.

Example: python analysis/exact.py runs/gaussian-exact runs/gaussian-rate
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from rayfe import store
from rayfe.data.datasets import load
from rayfe.dimensions import thresholds
from rayfe.files import CorruptFile
from rayfe.frames import accepted_steps, numbers
from rayfe.manifest import stored_config
from rayfe.store import Store
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


def spectrum_of(location: str) -> np.ndarray:
    """Eigenvalues of the total covariance of a run's training examples."""
    _, config = stored_config(Store(location))
    x = load(config.data).train.x.astype(float)
    return np.linalg.eigvalsh(np.cov(x.reshape(len(x), -1).T, bias=True))


def main(argv: list[str]) -> int:
    """Print the worst rows of each trajectory, and the thresholds of those without labels; exit code 2 on bad input."""
    if not argv:
        print("analysis/exact.py: give folders of runs, e.g. runs/gaussian-exact", file=sys.stderr)
        return 2
    for location in argv:
        try:
            rows = store.load_rows(location)
        except (FileNotFoundError, CorruptFile) as error:
            print(f"analysis/exact.py {location}: {error}; give folders of runs", file=sys.stderr)
            return 2
        for name, walk in rows.groupby("trajectory", sort=True):
            steps = accepted_steps(walk)
            if "exact_F" not in steps or not np.isfinite(numbers(steps, "exact_F")).any():
                print(
                    f"analysis/exact.py {location}: {name} has no exact columns, give runs of gaussian-exact", file=sys.stderr
                )
                return 2
            print(f"{location} {name}: {len(steps)} rows, worst of each")
            print(worst(misses(steps)).to_string(index=False, float_format=lambda value: f"{value:.4g}"))
            if not numbers(steps, "gamma").any():
                print(f"the first {FIRST} thresholds")
                shown = compared_thresholds(steps, spectrum_of(location))
                print(shown.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
