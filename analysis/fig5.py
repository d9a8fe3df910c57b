"""Rebuild Fig. 5 (the geodesic in the rate-distortion plane, validation accuracy) and its constraints from Parquet.

Example: python analysis/fig5.py runs/fig5 --baselines runs/finetune runs/scratch --out figures
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import tyro
from matplotlib.figure import Figure

from rayfe.figures import transfer
from rayfe.figures.redraw import load_transfers, redraw


def main(
    runs: tyro.conf.Positional[tuple[str, ...]], out: Path, baselines: tuple[str, ...] = (), tolerance: float = 0.005
) -> int:
    """Draw Fig. 5 of one or several transfers.

    Args:
        runs: run directories or fsspec URIs of jobs/transfer.py; several are labelled by their folder's name.
        out: folder for the PNG files, made if missing.
        baselines: runs of jobs/baseline.py to compare with.
        tolerance: half width of the band in fig5_constraint.png, a fraction of C.
    """

    def draw() -> Mapping[str, Figure]:
        rows, others = load_transfers(runs, baselines)
        return {
            "fig5a_geodesic.png": transfer.geodesic_plane(rows),
            "fig5b_accuracy.png": transfer.accuracy(rows, others),
            "fig5_constraint.png": transfer.constraint_in_t(rows, tolerance),
            "fig5_multipliers.png": transfer.multipliers_in_t(rows),
        }

    return redraw("fig5", out, draw)


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
