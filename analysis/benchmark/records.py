"""The records of rayfe on the whole curve, each read from its stored rows again, above the lowest of all of them.

python jobs/benchmark.py records
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.benchmark.reference import collect, polished, references
from analysis.benchmark.table import TOLERANCES, over_seeds, table
from analysis.benchmark.text import markdown
from rayfe.cli.commands.parser import Parser, Refused
from rayfe.exceptions import CorruptFile, visible

RECORDS = Path(__file__).parents[1] / "results" / "benchmark-records.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One entry of the file; what it cost and how good it is follows from its rows."""

    date: str
    changed: str
    """What was new, in a few words."""
    method: str
    budget: float
    rows: tuple[str, ...]
    """Folders of benchmarks, one a seed, beside the file."""
    command: str | None = None
    """Makes such rows again; None: not with this version, which does more."""


def records(path: Path = RECORDS) -> str:
    """The table of the records in a file as Markdown. The file also names folders (`pool`) and CSV files (`polish`) whose models count for
    the lowest known F."""
    held = json.loads(path.read_text())
    entries = [Record(**{**entry, "rows": tuple(entry["rows"])}) for entry in held["records"]]
    folders = sorted({name for entry in entries for name in entry.rows} | set(held["pool"]))
    rows = collect([path.parent / name for name in folders])
    known = references(rows, pd.concat([polished(path.parent / name) for name in held["polish"]]))
    shown = rows[rows["lam"].astype(float) <= rows["lam_end"] * (1.0 + 1e-6)]
    lines = table(shown, known)
    tight = TOLERANCES[0]
    head = ["record", "date", "what changed", "examples, start included", f"{tight.name} tolerance", "seeds"]
    head += ["largest C/C0 - 1", "mean excess", "largest excess", "command", "rows"]
    return markdown(head, (_cells(number, entry, lines, path.parent) for number, entry in enumerate(entries, 1)))


def _cells(number: int, entry: Record, lines: pd.DataFrame, folder: Path) -> list[str]:
    starts = [str(folder / name) for name in entry.rows]
    own = lines[(lines["method"] == entry.method) & (lines["budget"] == entry.budget) & lines["start"].isin(starts)]
    (line,) = over_seeds(own).to_dict("records")
    percents = (f"{line[f'{name}_percent']:.2f} %" for name in ("largest_drift", "mean_excess", "largest_excess"))
    kept = f"{line[TOLERANCES[0].name]} of {line['runs']}"
    what = [str(number), entry.date, entry.changed, f"{line['examples'] / 1e6:.2f} M", kept, str(line["seeds"])]
    command = f"`{entry.command}`" if entry.command else "not with this version"
    return [*what, *percents, command, ", ".join(f"`{name}`" for name in entry.rows)]


def main(argv: Sequence[str]) -> int:
    """Print the table of records. Exit code: 0 done, 2 bad input."""
    parser = Parser("jobs/benchmark.py records", __doc__)
    parser.add_argument("file", metavar="FILE", nargs="?", default=str(RECORDS), help="JSON file of the records")
    try:
        print(records(Path(parser.parse_args(argv).file)))
    except Refused as error:
        print(visible(str(error)), file=sys.stderr)
        return 2
    except (OSError, ValueError, TypeError, KeyError, CorruptFile) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    return 0
