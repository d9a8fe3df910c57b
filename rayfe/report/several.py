"""Several runs as one page: their curves, and a table to choose a model from. Runs on other data have axes of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from rayfe.config import READINGS
from rayfe.figures.frames import data_of, model_of
from rayfe.figures.styles import LINES, MARKERS, PALETTE, lowest_of
from rayfe.records import Split
from rayfe.report.keys import Key, swatch, swatch_of
from rayfe.report.lead import Take, stands, take_of
from rayfe.report.page import Page, content_of, template
from rayfe.report.plots import EXAMPLES, SOME, Axis, Chart, Series, arrows, axes, has, line, logarithmic, star, where
from rayfe.report.table import drift_of
from rayfe.report.verdict import records
from rayfe.report.view import RunView
from rayfe.results.frames import CONDITIONED, accepted_steps, distortion_title, level_of
from rayfe.results.recommended import RULE

CAPTIONS = {
    "walk": "Of each walk: the models with the lowest F at their lam.",
    "transfer": "Of each transfer: all models, with arrows from start to end.",
    "baseline": "Of each baseline: the recommended model.",
}
RATE = Axis(column="R", title="Rate R (nats)")
ON_VALIDATION = (
    ("val_C", "C on validation examples", "C (nats)", 1.0),
    ("val_accuracy", "Accuracy on validation examples", "Accuracy (%)", 100.0),
    ("val_score", "Score of the task on validation examples", "Score", 1.0),
)
ON_TARGET = (
    ("target_C", "C on the target's validation examples", "C (nats)", 1.0),
    ("target_accuracy", "Accuracy on the target's validation examples", "Accuracy (%)", 100.0),
)
"""Columns, the titles of their charts and axes, and units."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """Runs that have this in common read R, D and C of the same examples in the same way."""

    data: str = field(compare=False)
    digest: str
    readings: int
    control: bool

    @property
    def name(self) -> str:
        """In words that tell most from others of the same data."""
        older = "" if self.readings == READINGS else " (read by an earlier version)"
        return f"{self.data}{older}{' without the control split' if self.control else ''}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves:
    """One run as drawn beside others: its trajectories in one style."""

    label: str
    view: RunView
    series: Sequence[Series]


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One run in the table: its recommended model, and how to get it."""

    label: str
    swatch: Markup
    cells: Sequence[str]
    take: Take | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Runs whose R, D and C are of the same examples."""

    data: str
    models: Sequence[str]
    charts: Sequence[Chart]
    columns: Sequence[str]
    lines: Sequence[Line]


def page_of_several(views: Mapping[str, RunView]) -> Page:
    """The page of runs by their labels."""
    groups: dict[Images, list[Curves]] = {}
    for label, view in views.items():
        group = groups.setdefault(_images(view), [])
        group.append(_curves(label, view, len(group)))
    shown = [_group(number, images, group) for number, (images, group) in enumerate(groups.items())]
    data = "; ".join(dict.fromkeys(data_of(view.config) for view in views.values()))
    return Page(
        title=f"rayfe: {len(views)} runs, {data}",
        main=template("several.html").render(count=len(views), groups=shown, data=data, rule=RULE),
        content=content_of([chart for group in shown for chart in group.charts]),
    )


def _images(view: RunView) -> Images:
    return Images(
        data=data_of(view.config),
        digest=str(view.manifest.get("data_sha256")),
        readings=int(view.manifest.get("readings", 1)),
        control=view.config.held_on is Split.CONTROL,
    )


def _curves(label: str, view: RunView, number: int) -> Curves:
    """Of walks the steps that count, in order of lam; of others all accepted ones."""
    block = number // len(PALETTE)
    style = {
        "color": PALETTE[number % len(PALETTE)],
        "linestyle": LINES[block % len(LINES)],
        "marker": MARKERS[(number + block) % len(MARKERS)],
    }
    series = []
    for _, walk in view.rows.groupby("trajectory", sort=True) if len(view.rows) else ():
        steps = accepted_steps(walk)
        if view.kind == "walk" and len(lowest := lowest_of(steps)):
            steps = steps.take(lowest)
        if len(steps):
            series.append(Series(trajectory=label, label=label, steps=steps, stop=None, style=style, symbols=SOME))
    return Curves(label=label, view=view, series=series)


def _group(number: int, images: Images, runs: Sequence[Curves]) -> Group:
    models = [model_of(run.view.config) for run in runs]
    several = len(set(models)) > 1
    columns = _columns(runs)
    lines = []
    for run, model in zip(runs, models, strict=True):
        row = run.view.recommended
        cells = ["-" if row is None else _cell(row, name, form, unit) for name, form, unit in columns.values()]
        lines.append(
            Line(
                label=run.label,
                swatch=swatch_of(run.series[0]) if run.series else Markup(""),
                cells=[*([model] if several else []), *cells, _drift(run.view), stands(run.view).removesuffix(".")],
                take=take_of(run.view, run.label),
            )
        )
    return Group(
        data=images.name,
        models=list(dict.fromkeys(models)),
        charts=_charts(number, runs),
        columns=[*(["model"] if several else []), *columns, "drift", "now"],
        lines=lines,
    )


Column = tuple[str, str, float]
"""The column of a row, how its number is written, and its unit."""


def _columns(runs: Sequence[Curves]) -> dict[str, Column]:
    moves = any(run.view.kind != "walk" for run in runs)
    found: dict[str, Column] = {
        "step": ("step", ".0f", 1.0),
        "lam": ("lam", ".3g", 1.0),
        "gamma": ("gamma", ".3g", 1.0),
        "R": ("R", ".2f", 1.0),
        "D": ("D", ".2f", 1.0),
        "C, training": ("C", ".4f", 1.0),
    }
    if moves:
        return found | {
            "C on the target": ("target_C", ".4f", 1.0),
            "accuracy on the target (%)": ("target_accuracy", ".1f", 100.0),
        }
    found["C, validation"] = ("val_C", ".4f", 1.0)
    if all(run.view.config.model.task == "classification" for run in runs):
        return found | {"accuracy, validation (%)": ("val_accuracy", ".1f", 100.0)}
    return found | {"accuracy, validation (%)": ("val_accuracy", ".1f", 100.0), "score, validation": ("val_score", ".4g", 1.0)}


def _cell(row: pd.Series, name: str, form: str, unit: float) -> str:
    return "-" if pd.isna(row[name]) else format(unit * row[name], form)


def _drift(view: RunView) -> str:
    """The largest of the recommended trajectory."""
    if view.recommended is None:
        return "-"
    (line,) = (one for one in records(view.summary) if one["trajectory"] == view.recommended["trajectory"])
    return drift_of(line)


def _charts(number: int, runs: Sequence[Curves]) -> list[Chart]:
    """The curves with their keys, and what the models are worth on other images."""
    series = [one for run in runs for one in run.series]
    if not series:
        return []
    moves = any(run.view.kind != "walk" for run in runs)
    keys = [_key(run) for run in runs if run.series]
    charts = [
        Chart(
            name=f"rate-distortion-{number}",
            title="Distortion against rate",
            caption=" ".join(text for kind, text in CAPTIONS.items() if kind in {run.view.kind for run in runs}),
            data=_rate_distortion(runs),
            layout=axes(RATE.title, " or ".join(dict.fromkeys(distortion_title(run.view.rows) for run in runs))),
            keys=(*keys, Key(swatch=swatch("#000000", "star", "none"), text="recommended")),
        )
    ]
    axis, wanted = (EXAMPLES, ON_TARGET) if moves else (RATE, ON_VALIDATION)
    for column, title, unit_name, unit in wanted:
        shown = [one for one in series if has([one], column)]
        data = [_points(one, axis.of(one), one.of(column, unit), "%{y:.4g}") for one in shown]
        name = f"{column.replace('_', '-')}-{number}"
        if data:
            layout = axis.layout(shown, unit_name)
            layout["yaxis"] |= logarithmic(one.of(column) for one in shown) if column == "target_C" else {}
            charts.append(Chart(name=name, title=title, caption="Of the same models.", data=data, layout=layout))
    return charts


def _rate_distortion(runs: Sequence[Curves]) -> list[dict[str, object]]:
    data = []
    for run in runs:
        for one in run.series if run.view.kind != "baseline" else ():
            data.append(_points(one, one.of("R"), one.of("D"), "R %{x:.4g}, D %{y:.4g}"))
            data += [arrows(one, one.of("R"), one.of("D"))] if run.view.kind == "transfer" else []
        row = run.view.recommended
        if row is not None:
            data.append(star(row, run.series[0]))
    return data


def _points(one: Series, x: np.ndarray, y: np.ndarray, text: str) -> dict[str, Any]:
    """Models of a run, joined where one came from the other."""
    boxed = one.steps["process"].iloc[0] == CONDITIONED
    return line(one, x, y, mode="markers" if boxed else "lines+markers") | where(one, text)


def _key(run: Curves) -> Key:
    text = ", ".join(filter(None, (run.label, level_of(run.view.rows))))
    return Key(swatch=swatch_of(run.series[0]), text=text, toggles=run.label)
