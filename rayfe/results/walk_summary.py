"""Steps rows -> one line per trajectory: how far it went, whether C was held, how near to equilibrium it stayed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from rayfe.config.arguments import checked
from rayfe.records import Kind, Leg
from rayfe.results.frames import (
    CONDITIONED,
    accepted_steps,
    check_rows,
    counted_steps,
    drift,
    held_loss,
    holds_losses,
    holds_something,
    loss_scale,
    numbers,
    of_weights,
    own_scale,
    paid,
    percent_of_F,
    size_of_F,
    span_of,
    told_F,
)
from rayfe.results.learnt import at_chance, start_columns, worsened
from rayfe.surface.envelope import lowest
from rayfe.surface.equivalence import is_equivalent, relative_tolerance, simultaneous

NO_STOP = "no named stop"
"""`end` of a trajectory without a found stop: it has more to do, or its steps or time were used up."""

NOT_C = ("seek", "iso-functional")
"""Processes that do not hold C at the start's value."""
SPANNED = dict.fromkeys(("lam", "gamma", "R", "D", "C", "val_C"), ".3g") | {"val_accuracy": ".1%", "val_score": ".3g"}
"""Of a conditioned model: columns of which there is a range, and how it is written."""
OVERFIT_RATIO = 1.5
"""Of validation C to training C; of a loss that may be negative, the same above 1 in nats between them."""
EXCESS_PERCENT = 1.0
NOTHING = 0.05
"""Per cent of F below which another model is no lower: it would read 0.0."""


def found_stop(walk: pd.DataFrame) -> pd.Series | None:
    """The row of the named stop that ended this trajectory, or None: it is the last row."""
    if walk.empty:
        return None
    last = int(np.lexsort((walk["attempt"], walk["step"]))[-1])
    return walk.iloc[last] if walk["kind"].iloc[last] == Kind.STOP else None


@checked
def envelope_excess(rows: pd.DataFrame, models: pd.DataFrame | None = None) -> pd.Series:
    """F of each accepted row above the lower envelope of all accepted rows and `models`, nats; NaN for the other rows.

    Every stored model bounds the surface from above, F(lam, gamma) <= R_j + lam D_j + gamma C_j (with random weights + sigma S_j),
    so this is a lower bound of the row's distance from equilibrium, by the models that happen to be there. Rows of all trajectories
    are pooled: give rows of one data set and model only, and further models of the same, such as `rayfe.Run.models` finds (columns t,
    R, D, C and S), those of certificates and of other runs among them. Rows at different t lie on different surfaces and are not
    compared. Column `excess` of the rows knows only the models of its trajectory that were there before its row. Where losses have a
    multiplier each, `models` say too little, and are left out.

    Raises:
        UsageError: rows or models; they are no such frames.
    """
    excess = pd.Series(np.nan, index=rows.index, name="excess")
    if rows.empty:
        return excess
    check_rows(rows, "rows", numeric=("accepted", "t", "lam", "gamma", "R", "D", "C"))
    if models is not None:
        check_rows(models, "models", numeric=("t", "R", "D", "C"))
    accepted = rows[rows["accepted"].astype(bool)]
    if holds_losses(accepted):
        C, gamma = (np.array(accepted[name].tolist()) for name in ("losses", "multipliers"))
        R, D, lam = (numbers(accepted, name) for name in ("R", "D", "lam"))
        sigma, S = (of_weights(accepted, name) for name in ("sigma", "S"))
        bound = lowest(lam, gamma, sigma, R=R, D=D, C=C, S=S)
        excess[accepted.index] = R + lam * D + paid(accepted) + sigma * S - bound
        return excess
    for t, shared in accepted.groupby("t"):
        more = shared[:0] if models is None else models[models["t"] == t]
        R, D, C = (np.append(numbers(shared, name), numbers(more, name)) for name in ("R", "D", "C"))
        S = np.append(of_weights(shared, "S"), of_weights(more, "S"))
        lam, gamma, sigma = numbers(shared, "lam"), numbers(shared, "gamma"), of_weights(shared, "sigma")
        bound = lowest(lam, gamma, sigma, R=R, D=D, C=C, S=S)
        R, D, C, S = (values[: len(shared)] for values in (R, D, C, S))
        excess[shared.index] = R + lam * D + gamma * C + sigma * S - bound
    return excess


def summarize(rows: pd.DataFrame, tolerance: float, floor: float = 0.0, models: pd.DataFrame | None = None) -> pd.DataFrame:
    """One line per trajectory of steps rows (columns of StepRecord, any order).

    Names ending in `_start` and `_end` are of the first and last accepted step, `D_se_end` is the standard error of the last D from
    the draws of z alone. `drift_percent` is C/C0 - 1 at the step where it is largest in size, signed, with its standard error;
    `drift_ok` the equivalence test over all accepted steps after the start (None if there is none, or C is not held) with
    `tolerance`, or with `floor` nats where they are more; `attainable_percent` is the smallest tolerance at which steps without
    drift would pass. Of a conditioned model `spans` has the range of each column over all its models, in words. `excess_percent` is
    the largest `envelope_excess` (with `models`) of the steps that count in per cent of F, a lower bound, and `excess_nats` the same
    in nats; NaN where no other model is lower, unless `models` have those of another training (column `elsewhere`), and `F_unit` says
    which of the two is to be told. A walk that came back has its end where it turned. Trajectories without an accepted row have null
    numbers.
    """
    if rows.empty:
        return pd.DataFrame()
    pooled = rows.reset_index(drop=True)
    above = envelope_excess(pooled, models).loc[counted_steps(pooled).index]
    percent = 100.0 * above / size_of_F(pooled)
    if models is None or not models.get("elsewhere", pd.Series([False])).any():
        percent = percent.where(percent >= NOTHING)  # that the models of one walk are no lower is no distance
    pooled["excess_percent"], pooled["excess_nats"] = percent, above.where(percent.notna())
    unit = "%" if percent_of_F(rows) else "nats"
    lines = [_line(name, walk, tolerance, floor) for name, walk in pooled.groupby("trajectory", sort=True)]
    return pd.DataFrame(lines).assign(F_unit=unit)


def _line(name: Hashable, walk: pd.DataFrame, tolerance: float, floor: float) -> dict[str, Any]:
    steps, stop = accepted_steps(walk), found_stop(walk)
    if len(steps):
        tolerance = relative_tolerance(tolerance, floor, float(loss_scale(steps, held_loss(steps))[0]))
    line: dict[str, Any] = {
        "trajectory": name,
        "process": walk["process"].iloc[0],
        "seed": int(walk["seed"].iloc[0]),
        "accepted_steps": int((steps["step"] > 0).sum()),
        "rejected_attempts": len(walk) - len(steps) - (stop is not None),
        "end": NO_STOP if stop is None else stop["reason"],
        "end_lam": float("nan") if stop is None else float(stop["lam"]),
        "tolerance": tolerance,
        "unit": "%" if np.isnan(own_scale(walk)).all() else "% of a nat",
        "examples": float(walk["examples"].max()),
        "seconds": float(walk["seconds"].max()),
    }
    there = way_there(steps)
    for column in ("lam", "gamma", "R", "D", "C", "control_C", "val_C", "val_C_se", "val_accuracy", "val_score"):
        values = numbers(there, column)
        line[f"{column}_start"], line[f"{column}_end"] = (values[0], values[-1]) if len(values) else (np.nan, np.nan)
    information = of_weights(there, "S")
    line["S_start"], line["S_end"] = (information[0], information[-1]) if information.any() else (np.nan, np.nan)
    if line["process"] == CONDITIONED and len(steps):
        line["spans"] = {name: span_of(numbers(steps, name), form) for name, form in SPANNED.items()}
    line["D_se_end"] = float(numbers(there, "D_se")[-1]) if len(there) else np.nan
    line |= start_columns(steps)
    line["holds"] = holds_something(steps)
    line["holds_C"] = line["process"] not in NOT_C and len(steps) > 0 and not np.isnan(numbers(steps, "C_target")[-1])
    worst = steps["excess_percent"].max()
    line["excess_percent"] = float(worst)
    line["excess_nats"] = float(steps["excess_nats"][steps["excess_percent"] == worst].max())
    drifted = _drift_columns(steps if line["holds"] else steps.iloc[:0], tolerance)
    return line | drifted | _held_columns(steps) | ({} if line["holds_C"] else {"drift_ok": None})


def way_there(steps: pd.DataFrame) -> pd.DataFrame:
    """The steps of a walk up to where it turned first."""
    there = (steps["leg"] == Leg.THERE).to_numpy(bool)
    return steps if there.all() else steps[there]


def _held_columns(steps: pd.DataFrame) -> dict[str, float]:
    """The largest and the last `held_drift` in per cent, with their standard errors; NaN where not measured."""
    held, error = numbers(steps, "held_drift"), numbers(steps, "held_drift_se")
    if not np.isfinite(held).any():
        names = ("held_percent", "held_se_percent", "held_end_percent", "held_end_se_percent")
        return dict.fromkeys(names, np.nan)
    worst = int(np.nanargmax(np.abs(held)))
    return {
        "held_percent": 100.0 * float(held[worst]),
        "held_se_percent": 100.0 * float(error[worst]),
        "held_end_percent": 100.0 * float(held[-1]),
        "held_end_se_percent": 100.0 * float(error[-1]),
    }


def _drift_columns(steps: pd.DataFrame, tolerance: float) -> dict[str, Any]:
    if len(steps) < 2:
        return dict.fromkeys(("drift_percent", "drift_se_percent", "attainable_percent"), np.nan) | {"drift_ok": None}
    after = drift(steps, float(held_loss(steps)[0])).iloc[1:]
    off, error = after["drift"].to_numpy(), after["drift_se"].to_numpy()
    worst = int(np.abs(off).argmax())
    return {
        "drift_percent": 100.0 * float(off[worst]),
        "drift_se_percent": 100.0 * float(error[worst]),
        "attainable_percent": 100.0 * simultaneous(len(after)) * float(after["drift_se"].max()),
        "drift_ok": passes(after, tolerance),
    }


def passes(drifts: pd.DataFrame, tolerance: float) -> bool:
    """The equivalence test of all steps of a walk at once, from rows of `frames.drift`."""
    off, error = drifts["drift"].to_numpy(), drifts["drift_se"].to_numpy()
    return is_equivalent(off, error, tolerance, z=simultaneous(len(drifts)))


def verdict(line: Mapping[str, Any]) -> str:
    """One sentence on one line of a summary, by column."""
    if line["end"] == "at_chance":
        return at_chance(line)
    if line["process"] == CONDITIONED and not np.isnan(line["C0"]):
        spans = "; ".join(f"{name} {line['spans'][name]}" for name in ("lam", "gamma", "R", "D"))
        return f"models of one training: {line['accepted_steps'] + 1}; {spans}{_ending(line)}"
    if line["accepted_steps"] == 0:
        held = "the start is not there yet" if np.isnan(line["C0"]) else f"only the start so far, C0 = {line['C0']:.4g} nats"
        return held + _ending(line)
    if not line["holds_C"]:
        return _held_verdict(line)
    unit = line["unit"]
    limit = f"tolerance {100 * line['tolerance']:.3g} {unit}, equivalence test"
    C = "C" if np.isnan(line["control_C_end"]) else "C of the control split"
    held = (
        f"{C} held, off by up to {_drift(line)} {unit} ({limit} passed)"
        if line["drift_ok"]
        else f"{C} off by up to {_drift(line)} {unit} ({limit} failed)"
    )
    if np.isnan(line["drift_se_percent"]):
        held = f"{C} off by up to {line['drift_percent']:+z.2f} {unit} (no standard error, not tested)"
    D, R = (_course(name, line[f"{name}_start"], line[f"{name}_end"]) for name in ("D", "R"))
    if not np.isnan(line["D_se_end"]):
        D += f" (± {line['D_se_end']:.1g} by the draws of z alone)"
    if not np.isnan(line["S_end"]):
        R += f" and {_course('S', line['S_start'], line['S_end'], '.4g')}"
    return f"{worsened(line)}{held}; {D} while {R}{_ending(line)}"


def _held_verdict(line: Mapping[str, Any]) -> str:
    """What is sought, or held instead of C: how far off it is; of a process that holds nothing, where it went."""
    miss = f"{line['held_percent']:+z.2f} ± {line['held_se_percent']:.2f} %"
    course = "; ".join(_course(name, line[f"{name}_start"], line[f"{name}_end"]) for name in ("R", "D"))
    C = f"C {line['C_start']:.4g} -> {line['C_end']:.4g}"
    if not line["holds"]:
        return f"nothing is held; {course}{_ending(line)}"
    if line["process"] == "seek":
        miss, error = line["held_end_percent"] / 100, line["held_end_se_percent"] / 100
        there = "reached" if is_equivalent(miss, error, line["tolerance"]) else "not reached yet"
        off = f"{line['held_end_percent']:+z.2f} ± {line['held_end_se_percent']:.2f} %"
        return f"{there}: off what is sought by {off}; {course}; {C}{_ending(line)}"
    return f"what is held is off by up to {miss}; {course}; {C}{_ending(line)}"


def warnings(line: Mapping[str, Any]) -> list[str]:
    """What a reader of this line must not overlook."""
    found = []
    if overfit(line) > OVERFIT_RATIO:
        far = f"{overfit(line):.1f} times training C"
        if line["unit"] != "%":
            far = f"{line['val_C_end'] - line['C_end']:.2g} nats above training C"
        found.append(
            f"over-fitting: validation C {line['val_C_end']:.3g} is {far}"
            + ("" if np.isnan(control := line["control_C_end"]) else f"; held is that of the control split, {control:.3g}")
        )
    if line["accepted_steps"] > 0 and line["process"] == "iso-classification":  # a transfer may well lower R
        up = line["lam_end"] > line["lam_start"]
        for name, rises in (("R", up), ("D", not up)):
            start, end = line[f"{name}_start"], line[f"{name}_end"]
            if not (end > start if rises else end < start):
                did = f"{name} did not {'rise' if rises else 'fall'} ({start:.4g} -> {end:.4g})"
                found.append(f"{did}: not an iso-classification course")
    if line["attainable_percent"] > 100.0 * line["tolerance"]:
        found.append(
            f"the tolerance is below the noise: {line['accepted_steps']} steps without drift would need "
            f"{line['attainable_percent']:.2g} {line['unit']}; the error falls as the root of ``measure.head_draws``"
        )
    if line["excess_percent"] > EXCESS_PERCENT:
        high = told_F(line["excess_nats"], line["excess_percent"], in_percent=line["F_unit"] == "%")
        found.append(f"off equilibrium: F is at least {high} too high: other models are lower at the same point")
    return found


def overfit(line: Mapping[str, Any]) -> float:
    """Validation C in parts of training C at the end; of a loss that may be negative 1 and the nats between them."""
    if line["unit"] != "%":
        return float(1.0 + line["val_C_end"] - line["C_end"])
    return float(line["val_C_end"] / line["C_end"])


def _ending(line: Mapping[str, Any]) -> str:
    return "" if line["end"] == NO_STOP else f"; ended: {line['end']} at lam {line['end_lam']:.3g}"


def _course(name: str, start: float, end: float, form: str = "#.3g") -> str:
    word = "rose" if end > start else "fell" if end < start else "stayed"
    return f"{name} {word} {start:{form}} -> {end:{form}}"


def _drift(line: Mapping[str, Any]) -> str:
    return f"{line['drift_percent']:+z.2f} ± {line['drift_se_percent']:.2f}"
