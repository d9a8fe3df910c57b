"""Rebuild Fig. 5 (the geodesic in the rate-distortion plane, validation accuracy) from Parquet.

Example: python analysis/fig5.py runs/fig5 --baselines runs/finetune runs/scratch --out figures
"""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from rayfe import figures, figures_transfer, store
from rayfe.files import CorruptFile


def main(runs: tyro.conf.Positional[tuple[str, ...]], out: Path, baselines: tuple[str, ...] = ()) -> int:
    """Draw Fig. 5 of one or several transfers.

    Args:
        runs: run directories or fsspec URIs of jobs/transfer.py; several are labelled by their folder's name.
        out: folder for the PNG files, made if missing.
        baselines: runs of jobs/baseline.py to compare with.
    """
    try:
        rows = figures.pool(store.load_rows, runs)
        others = figures.pool(store.load_rows, baselines) if baselines else None
    except (OSError, ValueError, CorruptFile) as error:
        print(f"fig5: {error}", file=sys.stderr)
        return 2
    out.mkdir(parents=True, exist_ok=True)
    drawn = {
        "fig5a_geodesic.png": figures_transfer.geodesic_plane(rows),
        "fig5b_accuracy.png": figures_transfer.accuracy(rows, others),
        "multipliers.png": figures_transfer.multipliers_in_t(rows),
    }
    for name, figure in drawn.items():
        (out / name).write_bytes(figures.png(figure))
        print(out / name)
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
