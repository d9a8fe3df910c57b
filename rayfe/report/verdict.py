"""One verdict of a report, and what its rules share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import pandas as pd

State = Literal["holds", "look", "fails", "not measured"]
WORDS: Mapping[State, str] = MappingProxyType(
    {"holds": "holds", "look": "look closer", "fails": "fails", "not measured": "not measured"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """One certificate: its name, how it stands, one sentence with numbers, and what it means."""

    name: str
    state: State
    text: str
    meaning: str


def measured(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Accepted rows that have a number in a column."""
    if rows.empty:
        return rows
    return rows[rows["accepted"].astype(bool) & rows[column].notna()]


def records(lines: pd.DataFrame) -> list[dict[str, Any]]:
    """Lines of a summary as dicts."""
    return [{str(name): value for name, value in line.items()} for line in lines.to_dict("records")]
