"""The table of trajectories in a report: the lines of `summary`, with a swatch of each trajectory's line in the charts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import pandas as pd
from markupsafe import Markup

from rayfe.exceptions import in_shell_words
from rayfe.report.keys import swatch_of
from rayfe.report.plots import Series
from rayfe.report.verdict import records
from rayfe.report.view import RunView
from rayfe.results import transfer_summary, walk_summary
from rayfe.results.frames import percent_of_F
from rayfe.results.printed import scored_only, spanned

Cell = Callable[[Mapping[str, Any]], str]
EXCESS = "F above others"
"""Head of the column that has a unit of its own."""
ACCURACY, SCORE = "validation accuracy", "validation score"
"""Heads of the column that says how good the task is solved."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One trajectory: cells of the table, and what a summary says of it in words."""

    name: str
    swatch: Markup | None
    cells: tuple[str, ...]
    standing: str
    sentence: str
    warnings: tuple[str, ...]


def columns_of(view: RunView) -> list[str]:
    """Heads of the table's columns between the name and where the trajectory stands."""
    unit = "%" if percent_of_F(view.rows) else "nats"
    return [f"{name}, {unit}" if name == EXCESS else name for name in _cells(view)]


def lines_of(view: RunView, series: Sequence[Series]) -> list[Line]:
    """A line of every trajectory that the run asks for, those without rows last; `series` are drawn in the charts."""
    module = walk_summary if view.kind == "walk" else transfer_summary
    styles = {one.trajectory: one for one in series}
    lines = []
    for line in records(view.summary):
        name = str(line["trajectory"])
        lines.append(
            Line(
                name=name,
                swatch=swatch_of(styles[name]) if name in styles else None,
                cells=tuple(cell(line) for cell in _cells(view).values()),
                standing=in_shell_words(view.standing[name].dated) if name in view.standing else "",
                sentence=in_shell_words(module.verdict(line)),
                warnings=tuple(map(in_shell_words, module.warnings(line))),
            )
        )
    known = {line.name for line in lines}
    blank = tuple("-" for _ in _cells(view))
    for name in (name for name in view.standing if name not in known):
        waiting = in_shell_words(view.standing[name].dated)
        lines.append(Line(name=name, swatch=None, cells=blank, standing=waiting, sentence=waiting, warnings=()))
    return lines


def _cells(view: RunView) -> Mapping[str, Cell]:
    if view.config.box is not None or view.kind == "walk":
        cells = WALK if view.config.box is None else BOX
        if not scored_only(view.summary):
            return cells
        return {SCORE if name == ACCURACY else name: _score if name == ACCURACY else cell for name, cell in cells.items()}
    return TRANSFER if view.kind == "transfer" else BASELINE


def _of(name: str, form: str, unit: float = 1.0) -> Cell:
    return lambda line: "-" if pd.isna(line[name]) else format(line[name] / unit, form)


def _excess(line: Mapping[str, Any]) -> str:
    return _of("excess_percent", ".2f")(line) if line["F_unit"] == "%" else _of("excess_nats", ".3g")(line)


def _score(line: Mapping[str, Any]) -> str:
    return spanned(line, "val_score") if line.get("spans") else _of("val_score_end", ".4g")(line)


def _steps(line: Mapping[str, Any]) -> str:
    rejected = f" ({line['rejected_attempts']} rejected)" if line["rejected_attempts"] else ""
    return f"{line['accepted_steps']}{rejected}"


def drift_of(line: Mapping[str, Any]) -> str:
    """The largest drift of a line of a summary with its standard error, for people."""
    if pd.isna(line["drift_percent"]):
        return "-"
    error = "" if pd.isna(line["drift_se_percent"]) else f" ± {line['drift_se_percent']:.2f}"
    return f"{line['drift_percent']:+.2f}{error} {line['unit']}"


_COST: Mapping[str, Cell] = {"million examples": _of("examples", ".2f", 1e6), "minutes": _of("seconds", ".1f", 60.0)}
_ENDS: Mapping[str, Cell] = {
    "lam": _of("lam_end", ".3g"),
    "gamma": _of("gamma_end", ".3g"),
    "R": _of("R_end", ".2f"),
    "D": _of("D_end", ".2f"),
    "C": _of("C_end", ".4f"),
    "drift": drift_of,
}
WALK: Mapping[str, Cell] = MappingProxyType(
    {
        "steps": _steps,
        **_ENDS,
        "validation C": _of("val_C_end", ".4f"),
        ACCURACY: _of("val_accuracy_end", ".1%"),
        EXCESS: _excess,
        **_COST,
    }
)
BOX: Mapping[str, Cell] = MappingProxyType(
    {
        "models": lambda line: str(line["accepted_steps"] + 1),
        **{name: partial(spanned, name=name) for name in ("lam", "gamma", "R", "D", "C")},
        "validation C": partial(spanned, name="val_C"),
        ACCURACY: partial(spanned, name="val_accuracy"),
        EXCESS: _excess,
        **_COST,
    }
)
TRANSFER: Mapping[str, Cell] = MappingProxyType(
    {
        "steps": _steps,
        "t": _of("t_end", ".3g"),
        **_ENDS,
        "validation accuracy": _of("val_accuracy_end", ".1%"),
        "on the target": _of("target_accuracy_end", ".1%"),
        **_COST,
    }
)
BASELINE: Mapping[str, Cell] = MappingProxyType(
    {
        "method": lambda line: str(line["process"]),
        "steps": _steps,
        **_ENDS,
        "on the target before": _of("target_accuracy_start", ".1%"),
        "on the target": _of("target_accuracy_end", ".1%"),
        **_COST,
    }
)
