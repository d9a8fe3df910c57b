"""Rows of a benchmark -> one line per run; and of the runs that differ by their seed only one line with errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.benchmark.fronts import bd_rate, hypervolume
from analysis.benchmark.reference import Reference, gaps_percent, mean_over_log_lam, points, runs_of
from analysis.benchmark.registry import METHODS, NAMES, begins_anew
from rayfe.results.frames import numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerance:
    """Largest |C / C0 - 1| and largest excess of F at all points, both in per cent."""

    name: str
    drift: float
    excess: float

    def kept(self, lines: pd.DataFrame) -> pd.Series:
        """Whether each run keeps it to the end of the curve."""
        drift, excess = lines["largest_drift_percent"], lines["largest_excess_percent"]
        return lines["complete"] & (drift <= self.drift) & (excess <= self.excess)


TIGHT, LOOSE = TOLERANCES = (Tolerance(name="tight", drift=0.5, excess=1.0), Tolerance(name="loose", drift=2.0, excess=3.0))
ONE_SIDED = 1.645
"""Standard errors of a bound that holds with 95 %."""
NEARLY = 1.1
"""Factor within which numbers of examples count as equal."""
ALIKE = ["method", "optimizer", "budget"]
"""What runs have in common that differ by their seed only."""


def used(run: pd.DataFrame, column: str, *, start: bool) -> float:
    """Examples or seconds of a run, summed over its trajectories, with those of the common `start` or without."""
    groups = (frame[column].astype(float) for _, frame in run.groupby("trajectory"))
    return float(sum(values.max() - (0.0 if start else values.min()) for values in groups))


def for_gamma(run: pd.DataFrame) -> float:
    """Examples of models from scratch that were trained to find gamma, and given up."""
    ordered = run.sort_values(["trajectory", "step", "attempt"], kind="stable")
    each = ordered.groupby("trajectory")["examples"].diff()
    return float(each[~ordered["accepted"].astype(bool)].sum())


def run_line(run: pd.DataFrame, known: Reference, lam_end: float) -> dict[str, object]:
    """One line: how far a run came, what it cost, how well it held C and how near it is to what is known."""
    found, method = points(run), str(run["method"].iloc[0])
    anew = begins_anew(method)
    lam, C = (numbers(found, name) for name in ("lam", "C"))
    off = np.abs(100.0 * (C / known.C0 - 1.0))
    line: dict[str, object] = {
        "method": method,
        "optimizer": run["optimizer"].iloc[0],
        "route": METHODS[method].route if method in METHODS else "",
        "data": run["data"].iloc[0],
        "model": run["model"].iloc[0],
        "budget": float(run["budget"].iloc[0]),
        "start": run["start"].iloc[0],
        "settings": run["settings"].iloc[0],
        "searched": int(run["searched"].iloc[0]),
        "seed": str(run["seed"].iloc[0]),
        "points": len(found),
        "lam_last": _largest(lam),
        "complete": bool(len(found) and lam.max() >= lam_end * (1.0 - 1e-6)),
        "examples": used(run, "examples", start=not anew),
        "examples_start": 0.0 if anew else known.start_examples,
        "examples_for_gamma": for_gamma(run) if anew else 0.0,
        "seconds": used(run, "seconds", start=not anew),
        "unsettled_percent": _unsettled(found),
        "largest_drift_percent": _largest(off),
        "largest_drift_bound_percent": _largest(off + ONE_SIDED * 100.0 * numbers(found, "drift_se")),
    }
    return line | _heights(found, known) | _against_scratch(found, known) | _fronts(found, known)


def _heights(found: pd.DataFrame, known: Reference) -> dict[str, object]:
    excess = known.excess_percent(found)
    mean = mean_over_log_lam(numbers(found, "lam"), excess)
    return {"mean_excess_percent": mean, "largest_excess_percent": _largest(excess)}


def _against_scratch(found: pd.DataFrame, known: Reference) -> dict[str, object]:
    """Excess above models from scratch, and what differs to first order, where there are such models."""
    there = found[found["lam"].round(9).isin(known.scratch["lam"].round(9))]
    over = known.excess_percent(there, known.independent) if len(there) else np.array([])
    heights = {"mean_independent_percent": mean_over_log_lam(numbers(there, "lam"), over)}
    gaps = {f"gap_{name}_percent": value for name, value in gaps_percent(there, known.scratch).items()}
    return {**heights, "largest_independent_percent": _largest(over), **gaps}


def _fronts(found: pd.DataFrame, known: Reference) -> dict[str, object]:
    """Rate, brought to C0 to first order, against distortion, compared with the pooled front at the same lam: as a part of the area that
    both together dominate, and as rate in addition. Points of the front itself have 100 % and 0 %, however many they are."""
    if found.empty:
        return {"hypervolume_percent": np.nan, "bd_rate_percent": np.nan}
    lam, gamma = numbers(found, "lam"), known.gamma_at(numbers(found, "lam"))
    R, D = numbers(found, "R") + gamma * (numbers(found, "C") - known.C0), numbers(found, "D")
    front = known.pooled.front(lam, gamma, known.C0)
    corner = (1.1 * front[0].max(), 1.1 * front[1].max())
    both = (np.append(R, front[0]), np.append(D, front[1]))
    share = 100.0 * hypervolume(R, D, corner=corner) / hypervolume(*both, corner=corner)
    return {"hypervolume_percent": share, "bd_rate_percent": bd_rate(R, D, than=front)}


def _largest(values: np.ndarray) -> float:
    """NaN without a value, or where one is not known."""
    return float(values.max()) if len(values) else float("nan")


def _unsettled(found: pd.DataFrame) -> float:
    """The largest |C / C0 - 1| that settles found, on their own draws, in per cent; NaN where there was none."""
    off = np.abs(100.0 * (numbers(found, "C_before_settle") / numbers(found, "C_settle_target") - 1.0))
    return float(np.nanmax(off)) if np.isfinite(off).any() else float("nan")


def curves(rows: pd.DataFrame, known: Mapping[str, Reference]) -> pd.DataFrame:
    """lam and excess in per cent of every point of every run (columns start, run, method, optimizer, budget, lam, excess_percent)."""
    parts = []
    for start, run in runs_of(rows):
        found = points(run)
        named = {name: run[name].iloc[0] for name in ("start", "run", *ALIKE)}
        columns = {"lam": numbers(found, "lam"), "excess_percent": known[start].excess_percent(found)}
        parts.append(pd.DataFrame(columns).assign(**named))
    return pd.concat(parts, ignore_index=True)


def table(rows: pd.DataFrame, known: Mapping[str, Reference]) -> pd.DataFrame:
    """One line per run, methods in the order of NAMES."""
    lam_end = float(numbers(rows[rows["accepted"].astype(bool)], "lam").max())
    lines = pd.DataFrame([run_line(run, known[start], lam_end) for start, run in runs_of(rows)])
    for tolerance in TOLERANCES:
        lines[tolerance.name] = tolerance.kept(lines)
    order = {name: i for i, name in enumerate(NAMES)}
    by = [*ALIKE, "start"]
    return lines.sort_values(by=by, key=lambda s: s.map(order) if s.name == "method" else s, ignore_index=True)


def over_seeds(lines: pd.DataFrame) -> pd.DataFrame:
    """Runs that differ by their seed only in one line: means, with the standard error of column x in `x_se` (NaN for one seed), the numbers
    of `seeds` and of `runs`, and of each tolerance in how many runs it was kept."""
    measured = [name for name in lines if lines[name].dtype == float and name not in ALIKE]
    kept = [tolerance.name for tolerance in TOLERANCES]
    groups = lines.groupby(ALIKE, sort=False)
    errors = groups[measured].sem().add_suffix("_se")
    counted = groups[kept].sum().join(groups["complete"].all()).join(groups["points"].min())
    counted = counted.join(groups[["route", "data", "model", "settings", "searched"]].first())
    number = groups["seed"].nunique().rename("seeds").to_frame().join(groups.size().rename("runs"))
    return groups[measured].mean().join(errors).join(counted).join(number).reset_index()


def at_equal_examples(summary: pd.DataFrame, examples: float) -> pd.Series:
    """Mean excess in per cent that each method has with so many examples in all, by (method, optimizer): between its budgets by a line
    in logarithms, and NEARLY as many count as equal; NaN where there are none. Runs that did not arrive do not count."""

    def between(group: pd.DataFrame) -> float:
        group = group.sort_values("examples")
        x, y = np.log(group["examples"].to_numpy()), np.log(group["mean_excess_percent"].clip(lower=1e-3).to_numpy())
        wanted = np.clip(np.log(examples), x[0], x[-1])
        return float(np.exp(np.interp(wanted, x, y))) if abs(wanted - np.log(examples)) <= np.log(NEARLY) else float("nan")

    arrived = summary[summary["complete"].astype(bool)]
    return pd.Series({key: between(group) for key, group in arrived.groupby(ALIKE[:2], sort=False)}, dtype=float)
