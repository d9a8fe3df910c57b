"""What R and R + D are in bits, along runs: a table, a figure and rows, of what `python -m rayfe codec` left in them.

Example: python analysis/codec.py analysis/results/codec/codec.csv --out figures
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tyro
from matplotlib.figure import Figure

from rayfe.figures.drawing import new_panels, png
from rayfe.figures.styles import GREY, MARKERS, PALETTE
from rayfe.records.codec import CodecRecord
from rayfe.storage.store import Store

COLUMNS = ("run", *(field.name for field in dataclasses.fields(CodecRecord) if field.name != "seconds"))
DERIVED = ("R_bits", "base_bits", "most_z_bits", "RD_bits", "own_z_bits", "own_x_bits")


def main(runs: tyro.conf.Positional[tuple[str, ...]], out: Path) -> int:
    """Print the table of runs whose models have coded images, and draw it.

    Args:
        runs: run directories, or tables that this script has written.
        out: folder for codec.csv and codec.png, made if missing.
    """
    table = pd.concat([rows_of(run) for run in runs], ignore_index=True)
    out.mkdir(parents=True, exist_ok=True)
    table.to_csv(out / "codec.csv", index=False)
    (out / "codec.png").write_bytes(png(figure(with_derived(table))))
    print("\n".join(lines(with_derived(table))))
    return 0


def rows_of(run: str) -> pd.DataFrame:
    """Records of a run, or of a table, by rising R."""
    if run.endswith(".csv"):
        return pd.read_csv(run)[list(COLUMNS)]
    store = Store(run)
    found = [record for name in store.trajectories() for record in store.coded.rows(store.rows(name))]
    rows = [{"run": Path(run).name} | dataclasses.asdict(record) for record in sorted(found, key=lambda one: one.R)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def with_derived(table: pd.DataFrame) -> pd.DataFrame:
    """The same with what records derive from their fields."""
    fields = [field.name for field in dataclasses.fields(CodecRecord) if field.name != "seconds"]
    plain = table.astype(object).where(table.notna(), None)
    records = [CodecRecord(**{name: row[name] for name in fields}, seconds=0.0) for row in plain.to_dict("records")]
    return table.assign(**{name: pd.Series([getattr(one, name) for one in records], dtype=float) for name in DERIVED})


def lines(table: pd.DataFrame) -> list[str]:
    """A table in Markdown."""
    head = [
        "| run, step | images | R, bits | z coded | D, usual | D, decoded | accuracy, usual | decoded | R + D, bits | coded |"
    ]
    head.append("|---|---|---|---|---|---|---|---|---|---|")
    for row in table.to_dict("records"):
        cells = [
            f"{row['run']}, {row['step']}",
            str(row["images"]),
            f"{row['R_bits']:.2f}",
            f"{row['own_z_bits']:.2f}",
            f"{row['D']:.3f}",
        ]
        cells += [
            f"{row['coded_D']:.3f} ± {row['D_se']:.3f}",
            *(_cell(row[name], 100.0) for name in ("accuracy", "coded_accuracy")),
        ]
        cells += [_cell(row[name]) for name in ("RD_bits", "own_x_bits")]
        head.append(f"| {' | '.join(cells)} |")
    return head


def _cell(value: float | None, factor: float = 1.0) -> str:
    """A number, or nothing where there is none: no classification, or no code without loss."""
    return "" if pd.isna(value) else f"{factor * value:.1f}"


def figure(table: pd.DataFrame) -> Figure:
    """What both codes cost above R and R + D, against R."""
    made, (upper, lower) = new_panels("rate R (bits an image)", ("code of z - R (bits)", "code of x / (R + D) - 1 (%)"))
    for (name, rows), color, marker in zip(table.groupby("run", sort=False), PALETTE, MARKERS, strict=False):
        how: dict[str, Any] = {"color": color, "marker": marker, "linestyle": "", "markersize": 5}
        upper.plot(rows["R_bits"], rows["own_z_bits"] - rows["R_bits"], label=str(name), **how)
        lower.plot(rows["R_bits"], 100.0 * (rows["own_x_bits"] / rows["RD_bits"] - 1.0), **how)
    R = np.linspace(0.0, 1.05 * table["R_bits"].max(), 200)
    upper.plot(R, np.log2(R + 1.0) + 5.0, color=GREY, linestyle="--", label="log2(R + 1) + 5")
    upper.set_ylim(bottom=0.0)
    lower.axhline(0.0, color=GREY, linewidth=0.9)
    upper.legend(fontsize=9)
    return made


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
