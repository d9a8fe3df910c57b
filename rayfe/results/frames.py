"""Rows as data frames: columns as numbers, the accepted steps, and whether C was held."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from rayfe.config import require
from rayfe.exceptions import UsageError
from rayfe.records import Kind, Leg
from rayfe.records.run_json import SIGNED, SQUARED, UNIT, distortion_of

BASELINES = ("finetune", "scratch", "joint")
"""What rows of baselines name as their process."""
SEEK = "seek"
"""What rows of seeks name as their process: they go to another C, or hold none."""
CONDITIONED = "conditioned"
"""What rows of a conditioned model name as their process: points of a box, in no order."""
NOT_HELD = 0.05
"""Drift of C from which on it is not said to be held; whether a tolerance is met is for the equivalence test."""
FEW_LEVELS = 3
"""Levels of C that are named one by one."""


def numbers(frame: pd.DataFrame, name: str) -> np.ndarray:
    """Column `name` as float64; null is NaN (a column of nulls only has dtype object)."""
    return np.asarray(frame[name].to_numpy(), float)  # not astype: with its checks it takes four times as long


def of_weights(frame: pd.DataFrame, name: str) -> np.ndarray:
    """Column `sigma` or `S`: 0 where no weights are random, as in all rows of older frames."""
    return np.nan_to_num(numbers(frame, name)) if name in frame else np.zeros(len(frame))


def size_of_F(rows: pd.DataFrame) -> pd.Series:
    """What differences of F are compared with: F itself, unless D or C is negative, where F may pass through 0."""
    R, lam, D = (rows[name].astype(float) for name in ("R", "lam", "D"))
    return R + lam * D.abs() + np.abs(paid(rows)) + of_weights(rows, "sigma") * of_weights(rows, "S")


def paid(rows: pd.DataFrame) -> np.ndarray:
    """gamma C of each row, or the sum of its losses, each times its multiplier, (N,)."""
    found = numbers(rows, "gamma") * numbers(rows, "C")
    if "multipliers" in rows:
        for place in np.flatnonzero(rows["multipliers"].notna()):
            found[place] = np.dot(rows["multipliers"].iloc[place], rows["losses"].iloc[place])
    return found


def holds_losses(rows: pd.DataFrame) -> bool:
    """Whether these rows of one run or trajectory have several losses, a multiplier each."""
    return "multipliers" in rows and bool(rows["multipliers"].notna().any())


def gammas_of(rows: pd.DataFrame) -> np.ndarray:
    """Multipliers of the losses of accepted rows, (N, k): gamma alone, (N, 1), unless there are several."""
    return np.array(rows["multipliers"].tolist(), float) if holds_losses(rows) else numbers(rows, "gamma")[:, None]


def percent_of_F(rows: pd.DataFrame) -> bool:
    """Whether differences of F are told in per cent of it: not where D or C may be negative, so that F may be near 0."""
    negative = rows.attrs.get(SIGNED, False) or bool((numbers(rows, "D") < 0.0).any())
    return not negative and bool(np.isnan(own_scale(rows)).all())


def told_F(nats: float, percent: float, *, in_percent: bool) -> str:
    """A difference of F for people."""
    return f"{nats:.3g} nats ({percent:.2g} % of F)" if in_percent else f"{nats:.3g} nats"


def distortion_title(rows: pd.DataFrame) -> str:
    """D and its unit in these rows, for people."""
    return f"Distortion D ({rows.attrs.get(UNIT, SQUARED['unit'])})"


def bits_line(rows: pd.DataFrame, run: Mapping[str, Any]) -> str:
    """What R + D says of lossless codes, for people; empty where D is not -log of a probability. `run` is run.json."""
    read = rows[rows["accepted"].to_numpy(bool) & rows["val_D"].notna().to_numpy()]
    if not distortion_of(run)["probability"] or read.empty:
        return ""
    nats = numbers(read, "val_R") + numbers(read, "val_D")
    best, size = read.iloc[nats.argmin()], math.prod(run["input_shape"])
    bits = nats.min() / math.log(2.0) / size
    where = f"step {best['step']} of {best['trajectory']}, lam {best['lam']:.3g}"
    return f"lossless codes need at most {bits:.4g} bits a dimension: (R + D) / ln 2 / {size} on validation examples ({where})"


def span_of(values: np.ndarray, form: str = ".3g") -> str:
    """The values in words: one number, or the smallest and the largest."""
    return " to ".join(dict.fromkeys(format(value, form) for value in (values.min(), values.max())))


def check_rows(frame: pd.DataFrame, called: str, *, numeric: Iterable[str], words: Iterable[str] = ()) -> None:
    """Refuse a frame that somebody gave as the argument `called`, if it is none of rows.

    Raises:
        UsageError: it lacks one of these columns, one of `numeric` holds no numbers or one of `words` none, or two rows have one index.
    """
    give = "give rows such as rayfe.load_run gives"
    lacking = [name for name in (*numeric, *words) if list(frame.columns).count(name) != 1]
    require(not lacking, called, frame, f"lacks the columns {', '.join(lacking)}; {give}")
    for name in numeric:
        try:
            numbers(frame, name)
        except (TypeError, ValueError):
            raise UsageError(called, frame, f"has a column {name} that holds no numbers; {give}") from None
    odd = [name for name in words if not all(isinstance(value, str | None) for value in frame[name])]
    require(not odd, called, frame, f"has a column {', '.join(odd)} that holds no words; {give}")
    require(frame.index.is_unique, called, frame, f"has an index that names rows twice; give {called}.reset_index(drop=True)")


def accepted_steps(walk: pd.DataFrame) -> pd.DataFrame:
    """The accepted rows of one trajectory in order of steps."""
    accepted = walk["accepted"].to_numpy(bool)
    steps = walk if accepted.all() else walk[accepted]
    in_order = bool((np.diff(steps["step"].to_numpy()) >= 0).all())  # as it is stored: to sort costs as much as all else
    return steps if in_order else steps.sort_values("step", kind="stable")


def counted_steps(rows: pd.DataFrame) -> pd.DataFrame:
    """The accepted rows that count: of a walk with renewals or several legs the one at each lam whose F is lowest at the multipliers of
    the last; of a transfer that trained once more where it arrived, that last training. Of others all accepted rows count."""
    accepted = rows[rows["accepted"].astype(bool)].sort_values("step", kind="stable")
    again = accepted["kind"].isin([Kind.RENEWAL, Kind.LEAP]) | (accepted["leg"] != Leg.THERE)
    walks = accepted[accepted["trajectory"].isin(accepted["trajectory"][again])]
    by_lam = [walks["trajectory"], walks["lam"]]
    gamma = walks.groupby(by_lam)["gamma"].transform("last")
    height = (walks["R"] + walks["lam"] * walks["D"] + gamma * walks["C"]).astype(float)
    height += of_weights(walks, "sigma") * of_weights(walks, "S")
    lowest = height.groupby(by_lam).idxmin()
    others = accepted[~accepted.index.isin(walks.index)]
    if len(others):
        others = others[others.groupby("trajectory")["kind"].shift(-1) != Kind.LAST_TRAINING]
    return rows[rows.index.isin(lowest) | rows.index.isin(others.index)]


def level_of(rows: pd.DataFrame) -> str:
    """At which C trajectories hold it, in words, and from which C those went that did not; empty where C is no matter."""
    if "C_target" not in rows:
        return ""
    target, off = numbers(rows, "C_target"), np.abs(numbers(rows, "held_drift"))
    of, process = (rows[name].to_numpy(object) for name in ("trajectory", "process"))
    steps = rows["accepted"].to_numpy(bool) & ~np.isin(process, [*BASELINES, SEEK]) & ~np.isnan(target)
    far = set(of[steps & (off > NOT_HELD)])
    left = np.array([name in far for name in of], bool)
    told = (("C held at", target[steps & ~left]), ("C not held, from", target[steps & left]))
    return ", ".join(f"{how} {_levels(levels)} nats" for how, levels in told if len(levels))


def _levels(values: np.ndarray) -> str:
    levels = list(dict.fromkeys(f"{value:.3g}" for value in sorted(values)))
    return ", ".join(levels) if len(levels) <= FEW_LEVELS else f"{levels[0]} to {levels[-1]}"


def exact_curve(steps: pd.DataFrame) -> tuple[np.ndarray, np.ndarray] | None:
    """R and D of the exact surface at the lam of the accepted rows of one trajectory: where C is held, at C_target, else at the rows'
    gamma. None where the data set does not know it."""
    for R, D in (("exact_held_R", "exact_held_D"), ("exact_R", "exact_D")):
        if R in steps and np.isfinite(numbers(steps, R)).any():
            return numbers(steps, R), numbers(steps, D)
    return None


def holds_something(steps: pd.DataFrame) -> bool:
    """Whether the process of these accepted rows of one trajectory holds, or seeks, anything."""
    return bool(np.isfinite(numbers(steps, "C_target")).any() or np.isfinite(numbers(steps, "held_drift")).any())


def moves_data(rows: pd.DataFrame) -> pd.Series:
    """Whether the data of each row's trajectory change on its way, as in a transfer: F_t is read, or t is above 0; (N,) bool."""
    found = (rows["F_t"].notna() | (rows["t"] > 0.0)) & ~rows["process"].isin(BASELINES)
    return found.groupby(rows["trajectory"]).transform("any").astype(bool)


def holds_nothing(rows: pd.DataFrame) -> pd.Series:
    """Whether the process of each row's trajectory holds and seeks nothing, (N,) bool."""
    found = rows["C_target"].notna() | rows["held_drift"].notna() | rows["process"].isin(BASELINES)
    return ~found.groupby(rows["trajectory"]).transform("any").astype(bool)


def way_in_D(steps: pd.DataFrame) -> float:
    """The largest |D - D0| of the accepted rows of one trajectory: what a geodesic's line is measured in.

    Its two ends may lie near each other, and the way between them need not.
    """
    D = numbers(steps, "D")
    return float(np.abs(D - D[0]).max()) if len(D) else 0.0


def held_loss(steps: pd.DataFrame) -> np.ndarray:
    """C on the split on which it is held: the control split where it was read, else the training split."""
    control = numbers(steps, "control_C")
    return np.where(np.isnan(control), numbers(steps, "C"), control)


def drift(steps: pd.DataFrame, reference: np.ndarray | float) -> pd.DataFrame:
    """C / reference - 1, or (C - reference) / C_scale, and its standard error along the accepted rows of one trajectory.

    The error is the paired one of column `drift_se` (the start's draws are those of every step, and the noise that
    both have in common cancels). NaN where it was not measured. Of several losses it is the drift of the one that is furthest off.
    """
    if holds_losses(steps):
        worst, error = numbers(steps, "held_drift"), numbers(steps, "held_drift_se")
        start = steps["step"].to_numpy() == 0
        columns = {"drift": np.where(start, 0.0, worst), "drift_se": np.where(start, 0.0, error)}
        return pd.DataFrame(columns, index=steps.index)
    C, scale, error = held_loss(steps), own_scale(steps), numbers(steps, "drift_se")
    off = np.where(np.isnan(scale), C / reference - 1.0, (C - reference) / scale)
    return pd.DataFrame({"drift": off, "drift_se": error}, index=steps.index)


def own_scale(rows: pd.DataFrame) -> np.ndarray:
    """C_scale, NaN where drifts of C are parts of C itself, (N,)."""
    return numbers(rows, "C_scale") if "C_scale" in rows else np.full(len(rows), np.nan)


def loss_scale(steps: pd.DataFrame, reference: np.ndarray) -> np.ndarray:
    """What drifts of C are parts of: its own scale, nats, else `reference`, C of the start (N,)."""
    scale = own_scale(steps)
    return np.where(np.isnan(scale), reference, scale)


def drift_called(rows: pd.DataFrame) -> str:
    """What the drift of C is, for the axis of a figure in per cent."""
    return "C / C_target - 1 (%)" if np.isnan(own_scale(rows)).all() else "C - C_target (% of a nat)"
