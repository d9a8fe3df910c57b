"""Rebuild Fig. 6 (validation loss and accuracy of a transfer at constant lam_dot) and its constraint from Parquet.

Example: python analysis/fig6.py runs/fig6 --baselines runs/finetune runs/scratch --out figures
"""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from rayfe import figures, store
from rayfe.figures import transfer
from rayfe.files import CorruptFile


def main(
    runs: tyro.conf.Positional[tuple[str, ...]], out: Path, baselines: tuple[str, ...] = (), tolerance: float = 0.005
) -> int:
    """Draw Fig. 6 of one or several transfers.

    Args:
        runs: run directories or fsspec URIs of jobs/transfer.py; several are labelled by their folder's name.
        out: folder for the PNG files, made if missing.
        baselines: runs of jobs/baseline.py to compare with.
        tolerance: half width of the band in fig6_constraint.png, a fraction of C.
    """
    try:
        rows = figures.only_transfers(figures.pool(store.load_rows, runs))
        others = figures.only_baselines(figures.pool(store.load_rows, baselines)) if baselines else None
        out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, CorruptFile) as error:
        print(f"fig6: {error}", file=sys.stderr)
        return 2
    drawn = {
        "fig6a_loss.png": transfer.loss(rows, others),
        "fig6b_accuracy.png": transfer.accuracy(rows, others),
        "fig6_constraint.png": transfer.constraint_in_t(rows, tolerance),
        "fig6_multipliers.png": transfer.multipliers_in_t(rows),
    }
    for name, figure in drawn.items():
        (out / name).write_bytes(figures.png(figure))
        print(out / name)
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
