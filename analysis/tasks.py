"""Walks at constant loss of other tasks than classification, three seeds each: a table and a figure from stored rows.

- regression: how far digits were turned and moved (preset digits-turned), C within 0.02 nats.
- multi-label: whether a digit is even, above 4, and has a loop (0, 6, 8, 9), C within 2 %.

Example: python analysis/tasks.py --out figures
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tyro
from matplotlib.figure import Figure

import rayfe
from rayfe.figures.drawing import DPI
from rayfe.results.frames import loss_scale, numbers

RESULTS = Path(__file__).parent / "results" / "tasks"
TASKS = {"regression": "C of where it was turned and moved", "multi-label": "C of three labels"}
TOLERANCE = 0.02
SEEDS = (0, 1, 2)
LOOPS = (0, 6, 8, 9)


def labels(y: np.ndarray) -> np.ndarray:
    """Three labels of each digit, (N, 3): even, above 4, with a loop."""
    return np.stack([y % 2 == 0, y > 4, np.isin(y, LOOPS)], axis=1)


def multi_label() -> dict[str, Any]:
    """What the walk of three labels has beside its preset."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    names = ["even", "above 4", "loop"]
    data = rayfe.dataset(digits.images / 16, labels(digits.target), class_names=names, name="three-labels")
    return {"data": data, "model": {"hidden": 64, "latent": 8, "task": "multi-label"}}


def walk(runs: Path) -> None:
    """Make the runs below `runs`, and keep their rows."""
    for task, preset, fields in (("regression", "digits-turned", {}), ("multi-label", "digits-smoke", multi_label())):
        run = rayfe.walk(preset, seed=SEEDS, out=runs / task, **fields)
        shutil.rmtree(RESULTS / task, ignore_errors=True)
        shutil.copytree(runs / task / "steps", RESULTS / task / "steps")
        shutil.copy(runs / task / "run.json", RESULTS / task)
        assert not run.failed, run.failed


def line(task: str, name: str, steps: pd.DataFrame) -> dict[str, Any]:
    """One trajectory's ends, and by how much its C was off where that was most."""
    first, last = steps.iloc[0], steps.iloc[-1]
    off = numbers(steps, "C") - first["C"]
    worst = int(np.abs(off).argmax())
    scale = loss_scale(steps, numbers(steps, "C_target"))[0]
    both = {column: f"{first[column]:.3g} -> {last[column]:.3g}" for column in ("lam", "gamma", "R", "D", "val_C", "val_score")}
    return {
        "task": task,
        "seed": int(first["seed"]),
        "steps": len(steps) - 1,
        "C0": f"{first['C']:.4f}",
        "largest C - C0": f"{off[worst]:+.5f} ± {scale * numbers(steps, 'drift_se')[worst]:.5f}",
        "tolerance": f"{TOLERANCE * scale:.4f}",
        **both,
        "million examples": f"{last['examples'] / 1e6:.2f}",
    }


def drawn(rows: dict[str, pd.DataFrame]) -> Figure:
    """Distortion against rate, and C on the way in nats, a row of panels for each task."""
    figure = Figure(figsize=(9.0, 6.4), dpi=DPI, layout="constrained")
    panels = figure.subplots(len(rows), 2, squeeze=False)
    for (curve, held), (task, accepted) in zip(panels, rows.items(), strict=True):
        for _, steps in accepted.groupby("trajectory"):
            label = f"seed {steps['seed'].iloc[0]}"
            curve.plot(steps["R"], steps["D"], "o-", label=label, markersize=4)
            error = 2.0 * loss_scale(steps, numbers(steps, "C_target")) * numbers(steps, "drift_se")
            held.errorbar(steps["lam"], steps["C"] - steps["C"].iloc[0], error, fmt="o-", markersize=4, label=label)
        first = accepted[accepted["step"] == 0]
        limit = TOLERANCE * float(loss_scale(first, numbers(first, "C_target")).min())
        held.axhspan(-limit, limit, color="#000000", alpha=0.07, linewidth=0, label=f"tolerance ±{limit:.2g}")
        curve.set(xlabel="Rate R (nats)", ylabel="Distortion D (squared error)", title=task)
        held.set(xlabel="Lambda λ", ylabel="C - C0 (nats)", title=TASKS[task])
        curve.legend(), held.legend(ncols=2, fontsize=8)
    return figure


def main(out: Path, runs: Path | None = None) -> int:
    """Print the table and draw the figure.

    Args:
        out: folder for the PNG file, made if missing.
        runs: folder in which the walks are made first, six of a minute each; without it the stored rows are drawn.
    """
    if runs is not None:
        walk(runs)
    found = {task: pd.read_parquet(RESULTS / task / "steps").sort_values(["seed", "step"]) for task in TASKS}
    rows = {task: frame[frame["accepted"]] for task, frame in found.items()}
    lines = [line(task, str(name), steps) for task, frame in rows.items() for name, steps in frame.groupby("trajectory")]
    print(pd.DataFrame(lines).to_string(index=False))
    out.mkdir(parents=True, exist_ok=True)
    drawn(rows).savefig(out / "tasks.png")
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
