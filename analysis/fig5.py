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
from rayfe.figures.redraw import Runs, redraw, transfers


def main(runs: tyro.conf.Positional[tuple[str, ...]], out: Path, baselines: tuple[str, ...] = ()) -> int:
    """Draw Fig. 5 of one or several transfers.

    Args:
        runs: run directories or fsspec URIs of jobs/transfer.py; several are labelled by their folder's name.
        out: folder for the PNG files, made if missing.
        baselines: runs of jobs/baseline.py to compare with.
    """

    def draw(drawn: Runs) -> Mapping[str, Figure]:
        rows, others = transfers(drawn, baselines)
        return {
            "fig5a_geodesic.png": transfer.geodesic_plane(rows),
            "fig5b_accuracy.png": transfer.accuracy(rows, others),
            "fig5_constraint.png": transfer.constraint_in_t(rows, drawn.tolerance),
            "fig5_multipliers.png": transfer.multipliers_in_t(rows),
        }

    return redraw("fig5", out, runs, draw)


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
