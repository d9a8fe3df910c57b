"""What each method's model is worth on the target, at its end and at equal training examples: a table over seeds.

Example: python analysis/compare.py runs/fig5 runs/finetune runs/scratch runs/joint --out figures
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tyro

from rayfe.exceptions import CorruptFile
from rayfe.figures import frames
from rayfe.results.frames import BASELINES, accepted_steps, held_loss, moves_data, numbers
from rayfe.storage import store

COLUMNS = ("target_accuracy", "target_C", "val_C", "R", "D", "C")
VALUES = ("t", "examples", *COLUMNS, "largest_drift")
START = ("lam", "gamma")
WIDTH = 100


def at_examples(steps: pd.DataFrame, examples: float) -> int:
    """Position of the last of these accepted rows that had seen at most this many examples; -1 if none had."""
    return int(np.searchsorted(numbers(steps, "examples"), examples, side="right")) - 1


def trajectory_lines(rows: pd.DataFrame, examples: float | None) -> pd.DataFrame:
    """One line per trajectory: its end, or where it was after `examples`, and the largest |C / C_target - 1| up to there.

    R, D, C and val_C are on what the row was trained on: p(x, t), for joint training both data sets. `largest_drift` counts
    step 0, which for fine-tuning is the source's model on the target. Null: no C to hold (scratch), or no model yet: a
    transfer's first one has cost its first equilibrium.
    """
    lines = []
    for _, frame in rows.groupby("trajectory", sort=True):
        steps = accepted_steps(frame)
        place = len(steps) - 1 if examples is None else at_examples(steps, examples)
        head = steps.iloc[0] if len(steps) else frame.iloc[0]
        line = {"method": head["process"], "run": head.get("run", ""), "seed": int(head["seed"])}
        line |= {name: float(head[name]) for name in START}
        line |= {name: float(numbers(steps, name)[place]) if place >= 0 else np.nan for name in VALUES[:-1]}
        off = np.abs(held_loss(steps) / numbers(steps, "C_target") - 1.0)[: place + 1]
        line["largest_drift"] = float(np.nanmax(off)) if np.isfinite(off).any() else np.nan
        lines.append(line)
    return pd.DataFrame(lines)


def over_seeds(lines: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard error of each method and start over its trajectories (seeds) that have a model.

    The error is null for a single one. Where a seed occurs more than once, in several runs, these are not repeats of one
    method: each run has a line of its own.
    """
    key = ["method", *START]
    apart = lines.duplicated([*key, "seed"], keep=False).groupby([lines[name] for name in key]).transform("any")
    lines = lines.assign(run=lines["run"].where(apart, ""))
    grouped = lines.groupby([*key, "run"], sort=True)[list(VALUES)]
    mean, error = grouped.mean(), grouped.sem()
    table = pd.concat([mean, error.add_suffix("_se")], axis=1)
    table["trajectories"] = grouped.count()["examples"]
    return table[["trajectories", *(column for name in VALUES for column in (name, f"{name}_se"))]].reset_index()


def fewest_examples(rows: pd.DataFrame) -> float:
    """The smallest number of examples at which a trajectory ended: all have a row at or before it."""
    accepted = rows[rows["accepted"].astype(bool)]
    return float(accepted.groupby("trajectory")["examples"].max().min())


def readable(table: pd.DataFrame) -> str:
    """Quantities down, methods across, as many side by side as WIDTH holds; mean ± standard error."""
    columns = [_column({str(name): value for name, value in line.items()}) for line in table.to_dict("records")]
    first = ["", "", "", "trajectories", *VALUES]
    blocks: list[list[str]] = []
    for column in columns:
        width = max(map(len, column))
        padded = ["  " + text.rjust(width) for text in column]
        if not blocks or len(blocks[-1][0]) + len(padded[0]) > WIDTH:
            blocks.append([text.ljust(max(map(len, first))) for text in first])
        blocks[-1] = [left + right for left, right in zip(blocks[-1], padded, strict=True)]
    return "\n\n".join("\n".join(line for line in block if line.strip()) for block in blocks)


def _column(line: Mapping[str, Any]) -> list[str]:
    head = [str(line["method"]), f"({line['lam']:g}, {line['gamma']:g})", str(line["run"])]
    return [*head, str(line["trajectories"]), *(_cell(line[name], line[f"{name}_se"]) for name in VALUES)]


def _cell(mean: float, error: float) -> str:
    if np.isnan(mean):
        return "-"
    return f"{mean:.4g}" + ("" if np.isnan(error) else f" ± {error:.1g}")


def main(runs: tyro.conf.Positional[tuple[str, ...]], out: Path | None = None, examples: tuple[float, ...] = ()) -> int:
    """Compare transfers and baselines.

    Args:
        runs: run directories or fsspec URIs of jobs/transfer.py and jobs/baseline.py.
        out: folder for compare.csv, all tables with a line a table and method, made if missing.
        examples: numbers of training examples at which methods are compared, each by its last model before; without it
            the fewest with which any trajectory ended.
    """
    try:
        rows = frames.pool(store.load_rows, runs)
        rows = rows[moves_data(rows) | rows["process"].isin(BASELINES)]
        if not rows["accepted"].any():
            raise ValueError("no rows of transfers or baselines; give runs of jobs/transfer.py and jobs/baseline.py")
        if any(not number > 0 for number in examples):
            raise ValueError(f"examples {examples}: must be positive")
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, CorruptFile) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    tables = {"end": over_seeds(trajectory_lines(rows, None))}
    for number in examples or (fewest_examples(rows),):
        tables[f"at {number:.6g} examples"] = over_seeds(trajectory_lines(rows, number))
    for name, table in tables.items():
        print(f"{name}:\n{readable(table)}\n")
    if out is not None:
        path = out / "compare.csv"
        pd.concat([table.assign(when=name) for name, table in tables.items()]).to_csv(path, index=False, float_format="%.6g")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
