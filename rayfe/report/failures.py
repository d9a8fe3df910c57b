"""What was rejected, and how walks ended, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

from rayfe.records import Kind, drift

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "drift": "What is held, C or a geodesic's line, was off by more than it may be, four errors of the draws included; tried again at "
        "half the length, and with twice the draws where those may be why.",
        "settle_range": "What is wanted lay outside the range in which the stencil's tangent holds, also after the model was moved on; "
        "tried again at half the length.",
        "not_equilibrated": "Training ended with a higher free energy than it began with; tried again at half the length and half the "
        "learning rate.",
        "nonfinite": "A number became infinite or undefined in training or in a reading; tried again at half the length and half "
        "the learning rate.",
        "not_nearer": "A step towards the wanted point did not come nearer; the next one moved half as far.",
        "renewal": "A model with renewed weights would not be lower further on, or did not reach the wanted C, so the walk kept its own; "
        "or a transfer's last training raised F. Nothing was lost but its time.",
    }
)
ENDS: Mapping[str, str] = MappingProxyType(
    {
        "gamma_zero": "gamma would have vanished: the loss of the start no longer binds there. A result, not an error.",
        "gamma_blind": "C did not respond to gamma beyond noise, so gamma cannot hold it. A result, not an error.",
        "pole": "1 + k lam reached zero, where the geodesic has its pole. A result, not an error.",
        "singular": "The Hessian of F became singular, so no velocity holds the conditions. A result, not an error.",
        "stationary": "The functional that is held does not change with the multipliers there. A result, not an error.",
        "at_chance": "The start has learnt nothing: its C is that of guessing, or nothing of the input is in z, so there is nothing to "
        "hold. The summary says what to raise.",
        "unreachable": "No multipliers were found that have the wanted values. A result, not an error.",
    }
)
UNKNOWN = "No description of this reason is known to this version of rayfe."
MOST = 200
"""Rejected rows that are listed one by one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One rejected attempt or found stop."""

    trajectory: str
    step: int
    attempt: int
    reason: str
    is_stop: bool
    where: str
    drift: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """One reason, how often it came, and what it means."""

    name: str
    count: int
    is_stop: bool
    meaning: str


def failures(rows: pd.DataFrame) -> list[Failure]:
    """Rejected rows and stops in order, at most `MOST`."""
    return [_failure(row) for _, row in _not_accepted(rows).head(MOST).iterrows()]


def reasons(rows: pd.DataFrame) -> list[Reason]:
    """Every reason that came, the most frequent first."""
    found = _not_accepted(rows)
    if found.empty:
        return []
    names, stops = found.apply(_name, axis=1), set(found[found["kind"] == Kind.STOP].apply(_name, axis=1))
    return [
        Reason(
            name=str(name),
            count=int(count),
            is_stop=name in stops,
            meaning=REASONS.get(str(name)) or ENDS.get(str(name)) or UNKNOWN,
        )
        for name, count in names.value_counts().items()
    ]


def _not_accepted(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[~rows["accepted"].astype(bool)] if len(rows) else rows


def _name(row: pd.Series) -> str:
    return str(row["reason"] if pd.notna(row["reason"]) else row["outcome"]).lower()


def _failure(row: pd.Series) -> Failure:
    t = f", t {row['t']:.4g}" if row["t"] else ""
    return Failure(
        trajectory=str(row["trajectory"]),
        step=int(row["step"]),
        attempt=int(row["attempt"]),
        reason=_name(row),
        is_stop=row["kind"] == Kind.STOP,
        where=f"lam {row['lam']:.4g}, gamma {row['gamma']:.4g}{t}",
        drift=_drift(row),
    )


def _drift(row: pd.Series) -> str:
    """How far what is held was off, with its standard error; of a geodesic the line, too, since either may have failed."""
    C = row["C"] if pd.isna(row["control_C"]) else row["control_C"]
    holds_C = not (pd.isna(C) or pd.isna(row["C_target"]))
    scale = row.get("C_scale")
    off = drift(C, row["C_target"], None if pd.isna(scale) else scale) if holds_C else row["held_drift"]
    error = row["drift_se"] if holds_C else row["held_drift_se"]
    if pd.isna(off):
        return "not measured"
    line = "" if pd.isna(row["line_miss"]) else f"; off its line by {row['line_miss']:+.2g}{_se(row['line_miss_se'])} in D"
    return f"{100.0 * off:+.2f}{_se(100.0 * error if pd.notna(error) else error)} %{line}"


def _se(error: float | None) -> str:
    return "" if pd.isna(error) else f" ± {error:.2g}"
