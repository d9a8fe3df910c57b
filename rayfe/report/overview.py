"""A run in one table: a line a trajectory, for `Run.summary` and `python -m rayfe status --json`."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from rayfe.exceptions import Words
from rayfe.records import Kind
from rayfe.report.view import RunView
from rayfe.results.frames import accepted_steps
from rayfe.results.recommended import recommended

LAST = ("lam", "gamma", "t", "R", "D", "C", "val_C")
"""Of the last accepted row."""
COLUMNS = {
    "trajectory": "its name",
    "state": "running, stopped, failed or finished",
    "reason": "how far it is, how it ended, or why it failed",
    "steps": "accepted steps after the start",
    "last_row": "when the last row was stored, UTC; of a copied folder it may be the copy's time",
    **dict.fromkeys(LAST, "of the last accepted row"),
    "drift": "what is held, over what it was at the start, minus 1: the largest on the way",
    "drift_se": "its standard error",
    "recommended_step": "the step whose model to take (rayfe.results.recommended)",
}
"""What `overview` has, in this order; null where there is nothing."""


def overview(view: RunView, words: Words) -> pd.DataFrame:
    """A line of `COLUMNS` for each trajectory that is there or asked for; `words` says options as they are written (`exceptions`)."""
    lines = []
    for name, now in view.standing.items():
        rows = view.rows[view.rows["trajectory"] == name]
        steps = accepted_steps(rows)
        found = recommended(rows)
        line: dict[str, Any] = {"trajectory": name, "state": str(now.state), "reason": words(now.where), "last_row": now.last}
        line["steps"] = int((steps["kind"] != Kind.START).sum())
        line |= {column: steps[column].iloc[-1] if len(steps) else None for column in LAST}
        lines.append(line | _largest_drift(view, name) | {"recommended_step": None if found is None else int(found["step"])})
    table = pd.DataFrame(lines, columns=list(COLUMNS))
    table["last_row"] = pd.to_datetime(table["last_row"], utc=True)
    return table.astype({"recommended_step": "Int64"} | dict.fromkeys((*LAST, "drift", "drift_se"), float))


def as_json(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The lines as JSON has them: null for what is missing, times in ISO 8601."""
    return json.loads(table.to_json(orient="records", date_format="iso", double_precision=15))


def _largest_drift(view: RunView, name: str) -> dict[str, float | None]:
    line = view.summary[view.summary["trajectory"] == name] if len(view.summary) else view.summary
    which = "held" if "held_percent" in line and not line["holds_C"].all() else "drift"
    names = {"drift": f"{which}_percent", "drift_se": f"{which}_se_percent"}
    return {key: float(line[column].iloc[0]) / 100.0 if len(line) else None for key, column in names.items()}
