"""Stored rows of jobs/benchmark.py -> table.csv, frontier.png, and tables and verdict as Markdown.

python jobs/benchmark.py table runs/benchmark-long --polish polish.csv --out FOLDER
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from analysis.benchmark.figure import frontier
from analysis.benchmark.reference import collect, polished, references
from analysis.benchmark.table import curves, over_seeds, table
from analysis.benchmark.text import readable
from rayfe.cli.commands.parser import Distinct, Parser, Refused, typed
from rayfe.config import require
from rayfe.config.checks import POSITIVE
from rayfe.exceptions import CorruptFile, UsageError, in_shell_words, visible


def report(
    folders: Sequence[str | Path],
    *,
    polish: Sequence[str | Path] = (),
    out: str | Path | None = None,
    lam_end: float | None = None,
) -> str:
    """Write table.csv (a line a run), seeds.csv (a line for runs that differ by their seed only) and frontier.png to `out` (the first
    folder without it); returns tables and verdict as Markdown. A folder is that of one start, or has such folders in it.

    Points beyond `lam_end`, that of the benchmark without it, are left out; they still count for the lowest known F, and what led
    beyond it and back for the cost of what came later.
    """
    lines, drawn = tabled(folders, polish=polish, lam_end=lam_end)
    summary, out = over_seeds(lines), Path(out or folders[0])
    out.mkdir(parents=True, exist_ok=True)
    for name, frame in (("table.csv", lines), ("seeds.csv", summary)):
        frame.to_csv(out / name, index=False, float_format="%.6g")
    buffer = io.BytesIO()
    figure = frontier(summary, drawn)
    figure.savefig(buffer, dpi=150, metadata={"Software": None})
    plt.close(figure)
    (out / "frontier.png").write_bytes(buffer.getvalue())
    return readable(summary, polished=bool(polish))


def tabled(
    folders: Sequence[str | Path], *, polish: Sequence[str | Path] = (), lam_end: float | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A line for each run, and excess along lam, of the benchmarks in `folders`.

    Raises:
        UsageError: no run has a point up to `lam_end`.
        ValueError: no run has a point.
    """
    rows = collect(folders)
    known = references(rows, pd.concat([polished(path) for path in polish]) if polish else None)
    end = rows["lam_end"].fillna(np.inf) if lam_end is None else lam_end
    within = rows["lam"].astype(float) <= end * (1.0 + 1e-6)
    lam = rows.loc[rows["accepted"].astype(bool) & (rows["step"] > 0), "lam"].astype(float)
    if lam.empty:
        raise ValueError(f"no run has a point yet in {', '.join(map(str, folders))}")
    require(
        bool(within[lam.index].any()), "lam_end", lam_end, f"no run has a point up to there; the first is at {lam.min():.3g}"
    )
    shown = rows[within]
    return table(shown, known), curves(shown, known)


def main(argv: Sequence[str]) -> int:
    """Compare the methods in a benchmark's folder. Exit code: 0 done, 2 bad input."""
    parser = Parser("jobs/benchmark.py table", __doc__)
    parser.add_argument("runs", metavar="RUN", nargs="+", action=Distinct, help="folder of jobs/benchmark.py")
    parser.add_argument("--out", metavar="FOLDER", help="for table.csv, seeds.csv and frontier.png; the first RUN without it")
    text = "CSV files with columns R, D, C, whose models also count for the lowest known F"
    parser.add_argument("--polish", nargs="+", action=Distinct, default=(), metavar="FILE", help=text)
    text = "leave out points beyond this lam, and what they cost"
    parser.add_argument("--lam-end", type=typed(Annotated[float, POSITIVE]), metavar="LAM", help=text)
    try:
        chosen = parser.parse_args(argv)
        print(report(chosen.runs, polish=chosen.polish, out=chosen.out, lam_end=chosen.lam_end))
    except UsageError as error:
        print(in_shell_words(error), file=sys.stderr)
        return 2
    except Refused as error:
        print(visible(str(error)), file=sys.stderr)
        return 2
    except (OSError, ValueError, CorruptFile) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    return 0
