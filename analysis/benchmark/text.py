"""The benchmark's tables as Markdown, and a verdict that says what was not measured."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.benchmark.registry import FAMILIES, INDEPENDENT, METHODS, ROUTES, label_of
from analysis.benchmark.table import LOOSE, TIGHT, TOLERANCES, at_equal_examples

MILLIONS = (4.0, 8.0, 16.0, 32.0)
"""Examples in all, in millions, at which methods are compared."""
SEEDS = 3
"""Seeds below which errors are not to be trusted."""


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *lines))


def readable(summary: pd.DataFrame, *, polished: bool = False) -> str:
    """All tables that have something in them, and the verdict; `polished`: models of other files count for the lowest known F, too."""
    parts = [part(summary) for part in (subject, costs, distances, tolerances, equal_examples, settings)]
    return "\n\n".join(part for part in [*parts, verdict(summary, polished=polished)] if part)


def subject(summary: pd.DataFrame) -> str:
    """What all lines are of."""
    return f"Data: {summary['data'].iloc[0]}. Model: {summary['model'].iloc[0]}."


def costs(summary: pd.DataFrame) -> str:
    """What each method cost, and how well it held C and F."""
    head = [
        *("method", "optimizer", "route", "budget", "seeds", "points", "lam", "examples, start included", "of these for gamma"),
        *("seconds", "C before the settle", "largest C/C0 - 1", "with 95 %", "mean excess", "largest excess"),
    ]
    names = ("unsettled", "largest_drift", "largest_drift_bound", "mean_excess", "largest_excess")
    return markdown(head, ([*_named(line), *_spent(line), *_percents(line, names)] for line in summary.to_dict("records")))


def distances(summary: pd.DataFrame) -> str:
    """How far each method is from models from scratch, and from the pooled front."""
    head = ["method", "optimizer", "route", "budget", "mean excess above scratch", "largest"]
    head += ["C off scratch", "D", "R", "gamma", "hypervolume", "BD-rate"]
    names = ("mean_independent", "largest_independent", "gap_C", "gap_D", "gap_R", "gap_gamma", "hypervolume", "bd_rate")
    return markdown(head, ([*_named(line)[:4], *_percents(line, names)] for line in summary.to_dict("records")))


def tolerances(summary: pd.DataFrame) -> str:
    """By method, optimizer and route the cheapest budget with which all runs keep each tolerance."""
    head = ["method", "optimizer", "route", *(f"{t.name}: drift {t.drift:g} %, excess {t.excess:g} %" for t in TOLERANCES)]
    lines = []
    for _, group in summary.groupby(["method", "optimizer"], sort=False):
        cells = _named(group.to_dict("records")[0])[:3]
        lines.append([*cells, *(_needed(group, tolerance.name) for tolerance in TOLERANCES)])
    return markdown(head, lines)


def equal_examples(summary: pd.DataFrame) -> str:
    """Mean excess at equal numbers of examples, start included; those numbers that no method has are left out, and nothing is left
    without any."""
    every = {f"mean excess at {millions:g} M": at_equal_examples(summary, 1e6 * millions) for millions in MILLIONS}
    found = pd.DataFrame(every).dropna(axis="columns", how="all")
    if found.empty:
        return ""
    lines = []
    for (method, optimizer), values in zip(found.index, found.to_numpy(), strict=True):
        lines.append([label_of(method), optimizer, _route(method), *map(_percent, values)])
    return markdown(["method", "optimizer", "route", *found], lines)


def settings(summary: pd.DataFrame) -> str:
    """What each method ran with at its first budget, and from how many candidates of a search that was chosen."""
    head = ["method", "optimizer", "route", "learning rate", "mini-batch", "epochs", "rule", "candidates searched"]
    lines = []
    for line in summary.drop_duplicates(["method", "optimizer"]).to_dict("records"):
        own = json.loads(line["settings"])
        rule = ", ".join(f"{name} {value}" for name, value in (own.get("rule") or {}).items() if name != "name")
        cells = [str(own.get(name, "-")) for name in ("learning_rate", "batch", "epochs")]
        lines.append([*_named(line)[:3], *cells, rule or "-", str(line["searched"])])
    return markdown(head, lines)


def verdict(summary: pd.DataFrame, *, polished: bool = False) -> str:
    """Who keeps the tight tolerance, who is lowest at what cost, who does not hold C, and what was not measured: one sentence a line.

    Excess is a distance at equal C: only lines that hold C within the loose drift are ranked.
    """
    said = []
    within = summary[summary[TIGHT.name] == summary["runs"]].sort_values("examples").to_dict("records")
    if within:
        best = within[0]
        examples = f"{best['examples'] / 1e6:.2f} M examples, start included"
        said.append(f"The tight tolerance costs least by {_called(best)}: {examples}; {_off(best)}.")
    else:
        said.append("No method keeps the tight tolerance with all seeds.")
    drift = summary["largest_drift_percent"]
    arrived = summary[(drift <= LOOSE.drift) & summary["complete"].astype(bool)].sort_values("mean_excess_percent")
    for line in arrived.head(2).to_dict("records"):
        excess, examples = _with_error(line, "mean_excess_percent"), f"{line['examples'] / 1e6:.2f} M examples"
        said.append(f"{_called(line)} is {excess} above the lowest known in the mean, for {examples}; {_off(line)}.")
    said += [f"{_called(line)} does not hold C: {_off(line)}." for line in summary[drift > LOOSE.drift].to_dict("records")]
    return "\n".join(f"- {sentence}" for sentence in [*said, *not_measured(summary, polished=polished)])


def not_measured(summary: pd.DataFrame, *, polished: bool = False) -> list[str]:
    """What a reader may expect here and does not find."""
    here = {METHODS[name].family for name in summary["method"] if name in METHODS}
    missing = [about.label for family, about in FAMILIES.items() if family not in here]
    said = [f"Not measured: {'; '.join([*missing, 'other data sets and architectures'])}."]
    few = summary[summary["seeds"] < SEEDS]
    if len(few):
        said.append(f"{len(few)} of {len(summary)} lines have fewer than {SEEDS} seeds: their errors are not known, or rough.")
    if not here & set(INDEPENDENT):
        known = "their own models and those of --polish" if polished else "their own models only"
        said.append(f"No model from scratch is among these runs: excess is above {known}, and a lower limit.")
    if not summary["complete"].all():
        said.append(f"{int((~summary['complete'].astype(bool)).sum())} lines did not arrive at the end of the curve.")
    one = summary.groupby(["method", "optimizer"]).size()
    if (one == 1).any():
        said.append(f"{int((one == 1).sum())} of {len(one)} methods ran at one budget only.")
    return said


def _named(line: Mapping[Any, Any]) -> list[str]:
    return [label_of(line["method"]), line["optimizer"], _route(line["method"]), f"{line['budget']:g}"]


def _route(method: str) -> str:
    return ROUTES[METHODS[method].route] if method in METHODS else "-"


def _called(line: Mapping[Any, Any]) -> str:
    return f"{label_of(line['method'])} ({line['optimizer']}, {_route(line['method'])}, budget {line['budget']:g})"


def _off(line: Mapping[Any, Any]) -> str:
    return f"largest C/C0 - 1 {_with_error(line, 'largest_drift_percent')}"


def _spent(line: Mapping[Any, Any]) -> list[str]:
    gamma = line["examples_for_gamma"]
    examples = [f"{line['examples'] / 1e6:.2f} M", f"{gamma / 1e6:.2f} M" if gamma else "-"]
    return [str(line["seeds"]), str(line["points"]), f"{line['lam_last']:.3g}", *examples, f"{line['seconds']:.0f}"]


def _percents(line: Mapping[Any, Any], names: Iterable[str]) -> list[str]:
    return [_with_error(line, f"{name}_percent") for name in names]


def _with_error(line: Mapping[Any, Any], name: str) -> str:
    value, error = line[name], line[f"{name}_se"]
    return _percent(value) if np.isnan(error) else f"{value:.2f} ± {error:.2f} %"


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f} %"


def _needed(group: pd.DataFrame, tolerance: str) -> str:
    """Examples of the cheapest budget with which all runs keep a tolerance; else the dearest one that was tried."""
    within = group[group[tolerance] == group["runs"]].sort_values("examples").to_dict("records")
    if within:
        best = within[0]
        return f"{best['examples'] / 1e6:.2f} M ({best['runs']} of {best['runs']} runs)"
    dearest = group.sort_values("examples").to_dict("records")[-1]
    return f"not in {dearest['examples'] / 1e6:.2f} M ({dearest[tolerance]} of {dearest['runs']} runs)"
