"""Rows of jobs/benchmark.py -> table.csv, frontier.png and the table as Markdown.

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
import pandas as pd

from analysis.benchmark.figure import frontier
from analysis.benchmark.table import collect, curve_end, curves, polished, readable, reference, table
from rayfe.cli.commands.parser import Distinct, Parser, Refused, typed
from rayfe.config.checks import POSITIVE
from rayfe.exceptions import CorruptFile, visible


def report(
    folder: str | Path, *, polish: Sequence[str | Path] = (), out: str | Path | None = None, lam_end: float | None = None
) -> str:
    """Write table.csv and frontier.png to `out` (the benchmark's own folder without it); returns the table as Markdown.

    Points beyond `lam_end`, that of the benchmark without it, are left out; they still count for the lowest known F, and what led
    beyond it and back for the cost of what came later.
    """
    out = Path(out or folder)
    out.mkdir(parents=True, exist_ok=True)
    rows = collect(folder)
    more = pd.concat([polished(path) for path in polish]) if polish else None
    known = reference(rows, more)
    lam_end = curve_end(folder) if lam_end is None else lam_end
    shown = rows if lam_end is None else rows[rows["lam"].astype(float) <= lam_end * (1.0 + 1e-6)]
    lines = table(shown, known)
    lines.to_csv(out / "table.csv", index=False, float_format="%.6g")
    buffer = io.BytesIO()
    figure = frontier(lines, curves(shown, known))
    figure.savefig(buffer, dpi=150, metadata={"Software": None})
    plt.close(figure)
    (out / "frontier.png").write_bytes(buffer.getvalue())
    return readable(lines)


def main(argv: Sequence[str]) -> int:
    """Compare the methods in a benchmark's folder. Exit code: 0 done, 2 bad input."""
    parser = Parser("jobs/benchmark.py table", __doc__)
    parser.add_argument("run", metavar="RUN", help="folder of jobs/benchmark.py")
    parser.add_argument("--out", metavar="FOLDER", help="for table.csv and frontier.png; that of the run without it")
    text = "CSV files with columns R, D, C, whose models also count for the lowest known F"
    parser.add_argument("--polish", nargs="+", action=Distinct, default=(), metavar="FILE", help=text)
    text = "leave out points beyond this lam, and what they cost"
    parser.add_argument("--lam-end", type=typed(Annotated[float, POSITIVE]), metavar="LAM", help=text)
    try:
        chosen = parser.parse_args(argv)
        print(report(chosen.run, polish=chosen.polish, out=chosen.out, lam_end=chosen.lam_end))
    except Refused as error:
        print(visible(str(error)), file=sys.stderr)
        return 2
    except (OSError, ValueError, CorruptFile) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    return 0
