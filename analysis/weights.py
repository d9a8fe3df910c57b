"""Walks in sigma at constant C: how much the random weights know, S, against what z knows, R, and the loss on new examples.

Example: python analysis/weights.py --run classifier      # makes the rows of preset digits-weights; without --run: table and figure
"""

from __future__ import annotations

import tempfile
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import tyro
from matplotlib.axes import Axes

import rayfe

RESULTS = Path(__file__).parent / "results" / "weights"
SEEDS = (0, 1, 2)
Posterior = Literal["classifier", "all"]
POSTERIORS: tuple[Posterior, ...] = ("classifier", "all")
COLUMNS = (
    *("seed", "step", "sigma", "lam", "gamma", "R", "D", "C", "S", "F", "val_C", "val_accuracy", "accuracy"),
    *("R_se", "D_se", "C_se", "val_C_se", "C_target", "drift_se", "excess", "examples", "seconds"),
)
PANELS = {
    "S": "S, nats of all weights",
    "R": "R, nats of an example",
    "D": "D",
    "gamma": "gamma",
    "C": "C of training examples, nats",
    "val_C": "C of validation examples, nats",
}


def make(posterior: Posterior) -> None:
    """Walk preset digits-weights with these random weights, all seeds, and store the accepted rows."""
    found = []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            run = rayfe.walk(preset="digits-weights", model={"posterior": posterior}, seed=seed, out=f"{folder}/run")
            rows = run.rows
        found.append(rows[rows["accepted"]][list(COLUMNS)])
    RESULTS.mkdir(parents=True, exist_ok=True)
    pd.concat(found).to_csv(RESULTS / f"{posterior}.csv", index=False, float_format="%.7g")


def table(posterior: Posterior) -> pd.DataFrame:
    """First, middle and last sigma, means over the seeds; `off` is the largest |C / C0 - 1| of all seeds and steps, %."""
    rows = pd.read_csv(RESULTS / f"{posterior}.csv")
    lines = []
    last = rows["step"].max()
    for step in (0, last // 2, last):
        some = rows[rows["step"] == step]
        line: dict[Hashable, Any] = {"random": posterior, "seeds": len(some), "sigma": some["sigma"].iloc[0]}
        line |= {name: some[name].mean() for name in ("S", "gamma", "R", "D", "C", "val_C", "val_accuracy")}
        line["off"] = 100.0 * (rows["C"] / rows["C_target"] - 1.0).abs().max()
        lines.append(line)
    return pd.DataFrame(lines)


def _panel(axes: Axes, name: str, title: str) -> None:
    for posterior, colour in zip(POSTERIORS, ("#1b6ca8", "#c4572e"), strict=True):
        path = RESULTS / f"{posterior}.csv"
        if not path.exists():
            continue
        for seed, rows in pd.read_csv(path).groupby("seed"):
            label = f"random: {posterior}" if seed == SEEDS[0] else None
            axes.plot(rows["sigma"], rows[name], ".-", color=colour, linewidth=1.0, markersize=4.0, label=label)
    axes.set_xscale("log")
    if name == "S":
        axes.set_yscale("log")
    axes.set_xlabel("sigma")
    axes.set_title(title, fontsize=10)
    if name in ("C", "val_C"):
        axes.set_ylim(bottom=0.0)


def draw() -> Path:
    """The figure of all stored rows."""
    figure, panels = plt.subplots(2, 3, figsize=(11.0, 6.0), layout="constrained")
    for axes, (name, title) in zip(np.ravel(panels), PANELS.items(), strict=True):
        _panel(axes, name, title)
    panels[0, 0].legend(fontsize=8, frameon=False)
    path = RESULTS / "weights.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def main(run: Posterior | None = None) -> None:
    """With `run` walk and store rows; without, print the table and draw the figure of what is stored."""
    if run is not None:
        make(run)
        return
    for posterior in POSTERIORS:
        if (RESULTS / f"{posterior}.csv").exists():
            print(table(posterior).round(4).to_string(index=False))
    print(draw())


if __name__ == "__main__":
    tyro.cli(main)
