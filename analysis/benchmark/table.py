"""Rows of a benchmark -> one line per run, and what each method needed to reach a tolerance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.benchmark.settings import LABELS
from rayfe.results.frames import counted_steps, numbers
from rayfe.storage.store import Store, load_rows
from rayfe.surface.envelope import lowest


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerance:
    """Largest |C / C0 - 1| and largest excess of F at all points, both in per cent."""

    name: str
    drift: float
    excess: float


TOLERANCES = (Tolerance(name="tight", drift=0.5, excess=1.0), Tolerance(name="loose", drift=2.0, excess=3.0))


def collect(folder: str | Path) -> pd.DataFrame:
    """All rows of the runs in a benchmark's folder, with `run`, `method` and `budget`; of the start, `start`."""
    frames = []
    for path in sorted(Path(folder).iterdir()):
        described = _described(path)
        if described is None:
            continue
        names = {"run": path.name, "method": described["method"], "budget": described.get("budget", 1.0)}
        frames.append(load_rows(path).assign(**names))
    if not any(frame["method"].iloc[0] == "start" for frame in frames):
        raise FileNotFoundError(f"no benchmark in {folder}: it has no start")
    return pd.concat(frames, ignore_index=True)


def curve_end(folder: str | Path) -> float | None:
    """lam at the end of the curve that the benchmark was asked for; None where it does not say."""
    (start,) = (run for path in sorted(Path(folder).iterdir()) if (run := _described(path)) and run["method"] == "start")
    return start.get("config", {}).get("lam_end")


def polished(path: str | Path) -> pd.DataFrame:
    """R, D, C of further models, a line each of a CSV file, for the envelope only."""
    return pd.read_csv(path)[["R", "D", "C"]]


def _described(path: Path) -> dict[str, Any] | None:
    """run.json of a run with rows; None of anything else."""
    store = Store(path)
    return store.read_config() if path.is_dir() and store.exists() and store.trajectories() else None


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The lowest known R + lam D + gamma (C - C0) at each lam, at one gamma per lam that all methods share."""

    C0: float
    R: np.ndarray
    D: np.ndarray
    C: np.ndarray
    """Every model known."""
    log_lam: np.ndarray
    gamma: np.ndarray
    """The multiplier as a function of log lam."""

    def gamma_at(self, lam: np.ndarray) -> np.ndarray:
        return np.interp(np.log(lam), self.log_lam, self.gamma)

    def lowest(self, lam: np.ndarray) -> np.ndarray:
        """min over models j of R_j + lam D_j + gamma(lam) (C_j - C0), nats: F at equilibrium is at most that + gamma C0."""
        gamma = self.gamma_at(lam)
        return lowest(lam, gamma, R=self.R, D=self.D, C=self.C - self.C0)

    def excess_percent(self, lam: np.ndarray, R: np.ndarray, D: np.ndarray, C: np.ndarray) -> np.ndarray:
        """How far models at `lam` are above the lowest, in per cent of F = lowest + gamma C0."""
        gamma, lowest = self.gamma_at(lam), self.lowest(lam)
        return 100.0 * (R + lam * D + gamma * (C - self.C0) - lowest) / (lowest + gamma * self.C0)


def reference(rows: pd.DataFrame, more: pd.DataFrame | None = None) -> Reference:
    """The reference of pooled rows; gamma is that of rayfe's own longest run, there in steps or by a leap, or of all accepted rows
    without one."""
    start = rows[rows["method"] == "start"].iloc[0]
    models = pd.concat([rows, more] if more is not None else [rows])[["R", "D", "C"]].dropna().astype(float)
    own = rows[rows["accepted"].astype(bool)]
    walks = next((found for method in ("rayfe", "rayfe-leap") if len(found := own[own["method"] == method])), own[:0])
    if len(walks):
        longest = walks[walks["budget"] == walks["budget"].max()]
        own = pd.concat([longest[longest["step"] == 0], points(longest)])
    course = own.groupby(own["lam"].round(9))["gamma"].last()
    return Reference(
        C0=float(start["C"]),
        R=models["R"].to_numpy(),
        D=models["D"].to_numpy(),
        C=models["C"].to_numpy(),
        log_lam=np.log(course.index.to_numpy(dtype=float)),
        gamma=course.to_numpy(dtype=float),
    )


def points(run: pd.DataFrame) -> pd.DataFrame:
    """The models that a run ends with, one per lam, in order; not the start, and of several the lowest."""
    after = run[run["step"] > 0].assign(trajectory="all")
    return counted_steps(after).sort_values("lam", kind="stable")


def used(run: pd.DataFrame, column: str) -> float:
    """Examples or seconds that a run used after the start, summed over its trajectories."""
    groups = (frame[column].astype(float) for _, frame in run.groupby("trajectory"))
    return float(sum(values.max() - values.min() for values in groups))


def run_line(run: pd.DataFrame, known: Reference, lam_end: float) -> dict[str, object]:
    """One line of the table: how far a run came, what it cost, how well it held C and how near it is to the lowest."""
    found = points(run)
    lam, R, D, C = (numbers(found, name) for name in ("lam", "R", "D", "C"))
    line: dict[str, object] = {
        "method": run["method"].iloc[0],
        "budget": float(run["budget"].iloc[0]),
        "points": len(found),
        "lam_last": float(lam.max()) if len(found) else np.nan,
        "complete": bool(len(found) and lam.max() >= lam_end * (1.0 - 1e-6)),
        "examples": used(run, "examples"),
        "seconds": used(run, "seconds"),
    }
    excess = known.excess_percent(lam, R, D, C) if len(found) else np.array([np.nan])
    line["largest_drift_percent"] = float(np.abs(100.0 * (C / known.C0 - 1.0)).max()) if len(found) else np.nan
    line["unsettled_percent"] = _unsettled(found)
    line["mean_excess_percent"] = _mean_over_log_lam(lam, excess) if len(found) else np.nan
    line["largest_excess_percent"] = float(excess.max())
    return line


def curves(rows: pd.DataFrame, known: Reference) -> pd.DataFrame:
    """lam and excess in per cent of every point of every run (columns run, method, budget, lam, excess_percent)."""
    parts = []
    for name, run in rows[rows["method"] != "start"].groupby("run"):
        found = points(run)
        lam, R, D, C = (numbers(found, column) for column in ("lam", "R", "D", "C"))
        excess = known.excess_percent(lam, R, D, C) if len(found) else lam
        named = {"run": name, "method": run["method"].iloc[0], "budget": float(run["budget"].iloc[0])}
        parts.append(pd.DataFrame({"lam": lam, "excess_percent": excess}).assign(**named))
    return pd.concat(parts, ignore_index=True)


def _unsettled(found: pd.DataFrame) -> float:
    """The largest |C / C0 - 1| that settles found, on their own draws, in per cent; NaN where there was none."""
    off = np.abs(100.0 * (numbers(found, "C_before_settle") / numbers(found, "C_settle_target") - 1.0))
    return float(np.nanmax(off)) if np.isfinite(off).any() else np.nan


def _mean_over_log_lam(lam: np.ndarray, excess: np.ndarray) -> float:
    """Mean over the range in log lam, so that runs with more points in one place are not favoured."""
    if len(lam) == 1:
        return float(excess[0])
    return float(np.trapezoid(excess, np.log(lam)) / np.log(lam[-1] / lam[0]))


def table(rows: pd.DataFrame, known: Reference) -> pd.DataFrame:
    """One line per run, methods in the order of LABELS."""
    lam_end = float(numbers(rows[rows["accepted"].astype(bool)], "lam").max())
    runs = [run for name, run in rows.groupby("run") if run["method"].iloc[0] != "start"]
    lines = pd.DataFrame([run_line(run, known, lam_end) for run in runs])
    order = {name: i for i, name in enumerate(LABELS)}
    return lines.sort_values(
        by=["method", "budget"], key=lambda s: s.map(order) if s.name == "method" else s, ignore_index=True
    )


def reached(lines: pd.DataFrame, tolerance: Tolerance) -> pd.DataFrame:
    """By method: the cheapest run within a tolerance at all points (null: none), and the dearest that was tried."""
    within = (
        lines["complete"]
        & (lines["largest_drift_percent"] <= tolerance.drift)
        & (lines["largest_excess_percent"] <= tolerance.excess)
    )
    best = lines[within].sort_values("examples").groupby("method").first()[["examples", "seconds"]]
    tried = lines.groupby("method")["examples"].max().rename("tried")
    methods = [name for name in LABELS if name in tried.index]
    return pd.DataFrame(index=methods).join(best).join(tried)


def readable(lines: pd.DataFrame, tolerances: Sequence[Tolerance] = TOLERANCES) -> str:
    """The table as Markdown."""
    head = "| method | budget | points | lam | examples | seconds | before the settle | largest C/C0 - 1 | mean excess | largest excess |"
    text = [head, "|---" * 10 + "|"]
    for line in lines.to_dict("records"):
        cells = [
            *(LABELS[line["method"]], f"{line['budget']:g}", str(line["points"]), f"{line['lam_last']:.3g}"),
            *(f"{line['examples'] / 1e6:.2f} M", f"{line['seconds']:.0f}"),
            *map(_percent, (line["unsettled_percent"], line["largest_drift_percent"])),
            *map(_percent, (line["mean_excess_percent"], line["largest_excess_percent"])),
        ]
        text.append(f"| {' | '.join(cells)} |")
    text += ["", "| method | " + " | ".join(f"{t.name}: drift {t.drift:g} %, excess {t.excess:g} %" for t in tolerances) + " |"]
    text.append("|---" * (1 + len(tolerances)) + "|")
    needed = {tolerance.name: reached(lines, tolerance) for tolerance in tolerances}
    own = _own(lines)
    for method in needed[tolerances[0].name].index:
        cells = [_needed(needed[t.name].loc[method], own, needed[t.name]) for t in tolerances]
        text.append(f"| {LABELS[method]} | " + " | ".join(cells) + " |")
    return "\n".join(text)


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f} %"


def _own(lines: pd.DataFrame) -> float:
    """Examples of rayfe at the budget nearest to 1, to which others are compared where rayfe did not arrive."""
    own = lines[lines["method"] == "rayfe"]
    return float(own.loc[np.log(own["budget"]).abs().idxmin(), "examples"]) if len(own) else np.nan


def _needed(line: pd.Series, own: float, all_methods: pd.DataFrame) -> str:
    """Examples, seconds and, where rayfe is in the table, the ratio to rayfe's; where it was not reached, how many were tried."""
    reference = all_methods["examples"].get("rayfe", np.nan)
    reference = own if not reference > 0 else reference
    reached = not np.isnan(line["examples"])
    examples = line["examples" if reached else "tried"]
    ratio = "" if np.isnan(reference) else f" ({examples / reference:.1f} x rayfe)"
    if not reached:
        return f"not reached in {examples / 1e6:.2f} M{ratio}"
    return f"{examples / 1e6:.2f} M, {line['seconds']:.0f} s{ratio}"
