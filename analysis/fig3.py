"""Rebuild Fig. 3 (CIFAR-10: rate-distortion, multipliers, validation accuracy) from Parquet.

Example: python analysis/fig3.py runs/fig3 --out figures
"""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from rayfe import figures, figures_transfer, store
from rayfe.files import CorruptFile


def main(runs: tyro.conf.Positional[tuple[str, ...]], out: Path) -> int:
    """Draw Fig. 3 of one or several runs.

    Args:
        runs: run directories or fsspec URIs; several are labelled by their folder's name.
        out: folder for the PNG files, made if missing.
    """
    try:
        rows = figures.pool(store.load_rows, runs)
    except (OSError, ValueError, CorruptFile) as error:
        print(f"fig3: {error}", file=sys.stderr)
        return 2
    out.mkdir(parents=True, exist_ok=True)
    drawn = {
        "fig3a_rate_distortion.png": figures.rate_distortion(rows),
        "fig3b_multipliers.png": figures.multipliers(rows),
        "fig3c_accuracy.png": figures_transfer.accuracy(rows),
    }
    for name, figure in drawn.items():
        (out / name).write_bytes(figures.png(figure))
        print(out / name)
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
