"""What the scripts analysis/fig2.py ... fig6.py share: runs -> rows -> PNG files, or one line that says what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from rayfe.exceptions import CorruptFile
from rayfe.figures.drawing import png
from rayfe.figures.frames import only_baselines, only_transfers, pool
from rayfe.storage.store import load_rows


def redraw(script: str, out: Path, draw: Callable[[], Mapping[str, Figure]]) -> int:
    """Write the figures that `draw` makes, by file name, into the folder `out`; returns the exit code.

    2 where `draw` finds no rows or damaged ones (OSError, ValueError, CorruptFile); nothing is written then.
    """
    try:
        drawn = draw()
        out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, CorruptFile) as error:
        print(f"{script}: {error}", file=sys.stderr)
        return 2
    for name, figure in drawn.items():
        (out / name).write_bytes(png(figure))
        print(out / name)
    return 0


def load_walks(runs: Sequence[str]) -> pd.DataFrame:
    """All rows of several runs.

    Raises:
        OSError, ValueError, CorruptFile: a run is not there, has no rows, or has damaged ones.
    """
    return pool(load_rows, runs)


def load_transfers(runs: Sequence[str], baselines: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Rows of transfers, and those of baselines if any are asked for; raises as `load_walks` does."""
    return only_transfers(load_walks(runs)), only_baselines(load_walks(baselines)) if baselines else None
