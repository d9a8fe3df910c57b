"""What the scripts analysis/fig2.py ... fig6.py share: runs -> rows -> PNG files, or one line that says what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from rayfe.config import RunConfig
from rayfe.exceptions import CorruptFile
from rayfe.figures.drawing import captioned, png
from rayfe.figures.frames import band_of, only_baselines, only_transfers, pool, subject_of
from rayfe.storage.manifest import stored_config
from rayfe.storage.store import Store, load_readings, load_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Runs:
    """Several runs to be drawn together."""

    places: tuple[str, ...]
    rows: pd.DataFrame
    subject: str
    """Data and model of each, once."""
    tolerance: float | None
    """The widest of them, a fraction of C; None where only rows are there."""

    def readings(self) -> pd.DataFrame:
        """All readings of the runs."""
        return pool(load_readings, self.places)


def redraw(script: str, out: Path, places: Sequence[str], draw: Callable[[Runs], Mapping[str, Figure]]) -> int:
    """Write the figures that `draw` makes of the runs at `places`, by file name, into the folder `out`; returns the exit code.

    2 where there are no rows or damaged ones (OSError, ValueError, CorruptFile); nothing is written then.
    """
    try:
        runs = load_runs(places)
        drawn = draw(runs)
        out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, CorruptFile) as error:
        print(f"{script}: {error}", file=sys.stderr)
        return 2
    for name, figure in drawn.items():
        (out / name).write_bytes(png(captioned(figure, runs.subject, runs.rows)))
        print(out / name)
    return 0


def load_runs(places: Sequence[str]) -> Runs:
    """Several runs as one.

    Raises:
        OSError, ValueError, CorruptFile: a run is not there, has no rows, or has damaged ones.
    """
    rows = pool(load_rows, places)
    configs = [config for place in places if (config := _config_of(place)) is not None]
    return Runs(
        places=tuple(places),
        rows=rows,
        subject="; ".join(dict.fromkeys(map(subject_of, configs))),
        tolerance=max((band_of(config, rows) for config in configs), default=None),
    )


def _config_of(place: str) -> RunConfig | None:
    """None where only rows are there, which can be drawn without a head and a band."""
    try:
        return stored_config(Store(place))[1]
    except FileNotFoundError:
        return None


def transfers(runs: Runs, baselines: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Rows of transfers, and those of baselines if any are asked for; raises as `load_runs` does."""
    return only_transfers(runs.rows), only_baselines(pool(load_rows, baselines)) if baselines else None
