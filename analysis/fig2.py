"""Rebuild Fig. 2 (rate-distortion, multipliers, validation loss) and the constraint from Parquet.

Example: python analysis/fig2.py runs/fig2 --out figures
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import tyro
from matplotlib.figure import Figure

from rayfe.figures import walks
from rayfe.figures.redraw import Runs, redraw

NAMES = ("fig2a_rate_distortion.png", "fig2b_multipliers.png", "fig2c_validation_loss.png", "constraint.png")


def main(runs: tyro.conf.Positional[tuple[str, ...]], out: Path) -> int:
    """Draw Fig. 2 of one or several runs.

    Args:
        runs: run directories or fsspec URIs; several are labelled by their folder's name.
        out: folder for the PNG files, made if missing.
    """

    def draw(drawn: Runs) -> Mapping[str, Figure]:
        rows = drawn.rows
        return {name: walks.FIGURES[name](rows, rows, drawn.tolerance) for name in NAMES}

    return redraw("fig2", out, runs, draw)


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
