"""Rebuild Fig. 3 (CIFAR-10: rate-distortion, multipliers, validation accuracy) and the constraint from Parquet.

Example: python analysis/fig3.py runs/fig3 --out figures
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import tyro
from matplotlib.figure import Figure

from rayfe.figures import walks
from rayfe.figures.redraw import Runs, redraw


def main(runs: tyro.conf.Positional[tuple[str, ...]], out: Path) -> int:
    """Draw Fig. 3 of one or several runs.

    Args:
        runs: run directories or fsspec URIs; several are labelled by their folder's name.
        out: folder for the PNG files, made if missing.
    """

    def draw(drawn: Runs) -> Mapping[str, Figure]:
        rows = drawn.rows
        return {
            "fig3a_rate_distortion.png": walks.rate_distortion(rows),
            "fig3b_multipliers.png": walks.multipliers(rows),
            "fig3c_accuracy.png": walks.validation_accuracy(rows),
            "fig3c_validation_loss.png": walks.validation_loss(rows),
            "fig3_constraint.png": walks.constraint(rows, drawn.tolerance),
        }

    return redraw("fig3", out, runs, draw)


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
