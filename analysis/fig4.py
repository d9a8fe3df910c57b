"""Rebuild Fig. 4 (free energy during the first equilibrium and along the walk) from Parquet.

Example: python analysis/fig4.py runs/fig2 --out figures
"""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from rayfe import figures
from rayfe.exceptions import CorruptFile
from rayfe.storage import store

NAMES = ("fig4a_equilibration.png", "fig4b_free_energy.png")


def main(runs: tyro.conf.Positional[tuple[str, ...]], out: Path) -> int:
    """Draw Fig. 4 of one or several runs.

    Args:
        runs: run directories or fsspec URIs; several are labelled by their folder's name.
        out: folder for the PNG files, made if missing.
    """
    try:
        rows, readings = figures.pool(store.load_rows, runs), figures.pool(store.load_readings, runs)
    except (OSError, ValueError, CorruptFile) as error:
        print(f"fig4: {error}", file=sys.stderr)
        return 2
    out.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        (out / name).write_bytes(figures.png(figures.FIGURES[name](rows, readings, None)))
        print(out / name)
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
