"""Rebuild Fig. 2 (rate-distortion, multipliers, validation loss) and the constraint from Parquet.

Example: python analysis/fig2.py runs/fig2 --out figures
"""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from rayfe import figures, store
from rayfe.files import CorruptFile

NAMES = ("fig2a_rate_distortion.png", "fig2b_multipliers.png", "fig2c_validation_loss.png", "constraint.png")


def main(runs: tyro.conf.Positional[tuple[str, ...]], out: Path, tolerance: float = 0.005) -> int:
    """Draw Fig. 2 of one or several runs.

    Args:
        runs: run directories or fsspec URIs; several are labelled by their folder's name.
        out: folder for the PNG files, made if missing.
        tolerance: half width of the band in constraint.png, a fraction of C.
    """
    try:
        rows = figures.pool(store.load_rows, runs)
    except (OSError, ValueError, CorruptFile) as error:
        print(f"fig2: {error}", file=sys.stderr)
        return 2
    out.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        (out / name).write_bytes(figures.png(figures.FIGURES[name](rows, rows, tolerance)))
        print(out / name)
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
