"""Rebuild Fig. 4 (free energy during the first equilibrium and along the walk) from Parquet.

Example: python analysis/fig4.py runs/fig2 --out figures
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import tyro
from matplotlib.figure import Figure

from rayfe.figures import walks
from rayfe.figures.redraw import Runs, redraw

NAMES = ("fig4a_equilibration.png", "fig4b_free_energy.png")


def main(runs: tyro.conf.Positional[tuple[str, ...]], out: Path) -> int:
    """Draw Fig. 4 of one or several runs.

    Args:
        runs: run directories or fsspec URIs; several are labelled by their folder's name.
        out: folder for the PNG files, made if missing.
    """

    def draw(drawn: Runs) -> Mapping[str, Figure]:
        readings = drawn.readings()
        return {name: walks.FIGURES[name](drawn.rows, readings, None) for name in NAMES}

    return redraw("fig4", out, runs, draw)


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
