"""Rows of jobs/benchmark.py -> table.csv, frontier.png and the table as Markdown.

Example: python analysis/benchmark.py runs/benchmark-long --polish polish.csv --out analysis/results/benchmark
"""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from rayfe.benchmark.report import report
from rayfe.exceptions import CorruptFile


def main(
    run: tyro.conf.Positional[Path], out: Path | None = None, polish: tuple[Path, ...] = (), lam_end: float | None = None
) -> int:
    """Compare the methods in a benchmark's folder.

    Args:
        run: folder of jobs/benchmark.py.
        out: folder for table.csv and frontier.png; that of the run without it.
        polish: CSV files with columns R, D, C, whose models also count for the lowest known F.
        lam_end: leave out points beyond this lam, and what they cost.
    """
    try:
        print(report(run, polish=polish, out=out, lam_end=lam_end))
    except (OSError, ValueError, CorruptFile) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
