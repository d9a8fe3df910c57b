"""What each method's model is worth on the target, at its end and at equal training examples: a table over seeds.

Example: python analysis/compare.py runs/fig5 runs/finetune runs/scratch runs/joint --out table.csv
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

from rayfe import figures, store
from rayfe.files import CorruptFile
from rayfe.summary import accepted_steps, numbers

COLUMNS = ("target_accuracy", "target_C", "R", "D", "C")


def at_examples(steps: pd.DataFrame, examples: float) -> pd.Series:
    """The last accepted row that had seen at most this many examples; the first one if none had."""
    seen = np.searchsorted(numbers(steps, "examples"), examples, side="right") - 1
    return steps.iloc[max(0, int(seen))]


def trajectory_lines(rows: pd.DataFrame, examples: float | None) -> pd.DataFrame:
    """One line per trajectory: its end, or where it was after `examples`, and the largest |C / C_target - 1| up to there."""
    lines = []
    for _, frame in rows.groupby("trajectory", sort=True):
        steps = accepted_steps(frame)
        row = steps.iloc[-1] if examples is None else at_examples(steps, examples)
        before = steps[steps["step"] <= row["step"]]
        off = np.abs(numbers(before, "C") / numbers(before, "C_target") - 1.0)
        line = {"method": row["process"], "seed": int(row["seed"]), "t": float(row["t"]), "examples": float(row["examples"])}
        line |= {name: float(row[name]) for name in COLUMNS}
        line["largest_drift"] = float(np.nanmax(off)) if np.isfinite(off).any() else np.nan
        lines.append(line)
    return pd.DataFrame(lines)


def over_seeds(lines: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard error over the trajectories of each method; the error is null for a single one."""
    values = ["t", "examples", *COLUMNS, "largest_drift"]
    grouped = lines.groupby("method", sort=True)[values]
    mean, error = grouped.mean(), grouped.sem()
    table = pd.concat([mean, error.add_suffix("_se")], axis=1)
    table.insert(0, "trajectories", lines.groupby("method", sort=True).size())
    return table[["trajectories", *(column for name in values for column in (name, f"{name}_se"))]].reset_index()


def main(runs: tyro.conf.Positional[tuple[str, ...]], out: Path | None = None, examples: float | None = None) -> int:
    """Compare transfers and baselines.

    Args:
        runs: run directories or fsspec URIs of jobs/transfer.py and jobs/baseline.py.
        out: CSV file for both tables.
        examples: training examples at which methods are compared; the fewest that any of them saw without it.
    """
    try:
        rows = figures.pool(store.load_rows, runs)
    except (OSError, ValueError, CorruptFile) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    equal = examples or float(rows.groupby("process")["examples"].max().min())
    tables = {
        "end": over_seeds(trajectory_lines(rows, None)),
        f"at {equal:.4g} examples": over_seeds(trajectory_lines(rows, equal)),
    }
    for name, table in tables.items():
        print(f"{name}:")
        print(table.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        pd.concat([table.assign(when=name) for name, table in tables.items()]).to_csv(out, index=False, float_format="%.6g")
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
