"""Rows of transfers and baselines -> one line per trajectory: did it arrive, was C held, what the model is worth on the target."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from rayfe.results.frames import BASELINES, accepted_steps, drift, numbers, way_in_D
from rayfe.results.learnt import at_chance, start_columns, worsened
from rayfe.results.walk_summary import (
    NO_STOP,
    OVERFIT_RATIO,
    found_stop,
    passes,
)
from rayfe.surface.data_processes import line_length
from rayfe.surface.equivalence import relative_tolerance

LATE = 0.05
"""t from which a bend of the line is reported apart: before it, new classes make F_t steep."""
LARGEST_BEND = 5.0
"""Per cent of the largest |D - D0| by which a geodesic may miss its line."""
SURE = 5.0
"""The ends of a line are so many times as far apart as training on moves one of them where k is known well: each may be off by as
much across the line, to which k is proportional."""
CLOSED = 0.1
"""Part by which lam and gamma at t = 1 may differ from those of the target's own model on the same line."""


def summarize_transfers(rows: pd.DataFrame, tolerance: float, floor: float = 0.0) -> pd.DataFrame:
    """One line per trajectory of steps rows of transfers or baselines.

    `drift_percent` is C / C_target - 1 where it is largest in size, with its standard error, and `drift_ok` the
    equivalence test over all steps (transfers), with `floor` nats where they are more than `tolerance`. For a baseline step 0,
    the source's model on the target, counts too.
    `bend_percent` is the largest |line_miss| in per cent of the largest |D - D0|, `late_bend_percent` that from t = 0.05 on,
    each with its standard error; `closure_lam` and `closure_gamma` what a geodesic with k from its end points has at t = 1
    divided by what the target's own model has. Null where it does not apply.
    """
    if rows.empty:
        return pd.DataFrame()
    return pd.DataFrame([_line(name, walk, tolerance, floor) for name, walk in rows.groupby("trajectory", sort=True)])


def _line(name: Hashable, walk: pd.DataFrame, tolerance: float, floor: float) -> dict[str, Any]:
    steps, stop = accepted_steps(walk), found_stop(walk)
    if len(steps) and np.isfinite(C0 := numbers(steps, "C_target")[0]):
        tolerance = relative_tolerance(tolerance, floor, C0)
    line: dict[str, Any] = {
        "trajectory": name,
        "process": walk["process"].iloc[0],
        "seed": int(walk["seed"].iloc[0]),
        "accepted_steps": int((steps["step"] > 0).sum()),
        "rejected_attempts": len(walk) - len(steps) - (stop is not None),
        "end": NO_STOP if stop is None else stop["reason"],
        "tolerance": tolerance,
        "unit": "%",
        "examples": float(walk["examples"].max()),
        "seconds": float(walk["seconds"].max()),
    }
    read = ("R", "D", "C", "val_C", "val_C_se", "val_accuracy", "control_C", "target_C", "target_accuracy")
    for column in ("t", "lam", "gamma", *read):
        values = numbers(steps, column)
        line[f"{column}_start"], line[f"{column}_end"] = (values[0], values[-1]) if len(values) else (np.nan, np.nan)
    line["val_accuracy_least"] = float(steps["val_accuracy"].min()) if len(steps) else np.nan
    return line | start_columns(steps) | _ends(steps) | _drift(steps, tolerance) | _bend(steps)


def _drift(steps: pd.DataFrame, tolerance: float) -> dict[str, Any]:
    target = numbers(steps, "C_target")
    if len(steps) < 2 or np.isnan(target).all():
        return {"drift_percent": np.nan, "drift_se_percent": np.nan, "drift_ok": None}
    baseline = steps["process"].iloc[0] in BASELINES
    after = drift(steps, target).iloc[0 if baseline else 1 :]
    worst = after.iloc[int(after["drift"].abs().to_numpy().argmax())]
    tested = not baseline and not after["drift_se"].isna().any()
    return {
        "drift_percent": 100.0 * float(worst["drift"]),
        "drift_se_percent": 100.0 * float(worst["drift_se"]),
        "drift_ok": passes(after, tolerance) if tested else None,
    }


def _ends(steps: pd.DataFrame) -> dict[str, float]:
    """The geodesic's slope, how far apart its ends are and how far training on moved one of them, nats; NaN where k was given."""
    if steps.empty:
        return dict.fromkeys(("k", "ends_apart", "end_moved"), np.nan)
    names = ("k", "lam", "R", "D", "end_R", "end_D", "end_moved")
    k, lam, R, D, end_R, end_D, moved = (float(numbers(steps, name)[0]) for name in names)
    return {"k": k, "ends_apart": line_length(lam, end_R - R, end_D - D), "end_moved": moved}


def _bend(steps: pd.DataFrame) -> dict[str, float]:
    names = ("bend_percent", "bend_se_percent", "late_bend_percent", "late_bend_se_percent", "closure_lam", "closure_gamma")
    line = dict.fromkeys(names, float("nan"))
    t, way = numbers(steps, "t"), way_in_D(steps)
    if not way:
        return line
    miss, error = (100.0 * numbers(steps, name) / way for name in ("line_miss", "line_miss_se"))
    for name, part in (("bend", t >= 0.0), ("late_bend", t >= LATE)):
        if np.isfinite(miss[part]).any():
            worst = int(np.nanargmax(np.abs(miss[part])))
            line[f"{name}_percent"], line[f"{name}_se_percent"] = float(abs(miss[part][worst])), float(error[part][worst])
    end_gamma = numbers(steps, "end_gamma")[0]
    if t[-1] == 1.0 and np.isfinite(end_gamma):
        lam, gamma = numbers(steps, "lam"), numbers(steps, "gamma")
        line |= {"closure_lam": lam[-1] / lam[0], "closure_gamma": gamma[-1] / end_gamma}
    return line


def verdict(line: dict[str, Any]) -> str:
    """One sentence on one line of the summary."""
    if line["end"] == "at_chance":
        return at_chance(line)
    if line["accepted_steps"] == 0:
        return "only the start so far"
    on_target = f"on the target {_percent(line['target_accuracy_start'])} -> {_percent(line['target_accuracy_end'])}"
    if line["process"] in BASELINES:
        C = " -> ".join(_value(line[f"target_C_{side}"], ".4g") for side in ("start", "end"))
        text = f"{on_target}, validation loss there {C}"
        return text if np.isnan(line["drift_percent"]) else f"{text}; C was off the source's by up to {_signed(line)} %"
    test = {True: "passed", False: "failed", None: "not possible"}[line["drift_ok"]]
    held = f"C off by up to {_signed(line)} % (tolerance {100 * line['tolerance']:.3g} %, equivalence test {test})"
    arrived = "arrived" if line["t_end"] == 1.0 else f"ended at t = {line['t_end']:.3g} ({line['end']})"
    text = f"{worsened(line)}{arrived}; {held}; lowest validation accuracy {_percent(line['val_accuracy_least'])}, {on_target}"
    if not np.isnan(line["bend_percent"]):
        late = f" ({_bent(line, 'late_bend')} from t = {LATE:g} on)" if not np.isnan(line["late_bend_percent"]) else ""
        text += f"; off its line by up to {_bent(line, 'bend')} % of the largest |D - D0|{late}"
    if not np.isnan(line["closure_lam"]):
        text += f"; at t = 1 lam is {line['closure_lam']:.3f} and gamma {line['closure_gamma']:.3f} of the target's own"
    return text


def warnings(line: dict[str, Any]) -> list[str]:
    """What a reader of this line must not overlook."""
    if line["process"] in BASELINES or line["accepted_steps"] == 0:
        return []
    found = []
    if line["t_end"] < 1.0:
        found.append(f"it has not arrived: t = {line['t_end']:.3g}")
    if line["val_C_end"] > OVERFIT_RATIO * line["C_end"]:
        ratio = line["val_C_end"] / line["C_end"]
        found.append(
            f"over-fitting: validation C {line['val_C_end']:.3g} is {ratio:.1f} times the C "
            + (
                "that is held, on training data"
                if np.isnan(line["control_C_end"])
                else "of training data; held is the control split's"
            )
        )
    if line["ends_apart"] < SURE * line["end_moved"]:
        found.append(
            f"k = {line['k']:.2g} is mostly chance: the ends of the line are {line['ends_apart']:.2g} nats apart, and training on "
            f"moves one of them by {line['end_moved']:.2g}; train longer, or give ``k``"
        )
    if (open_ := unclosed(line)) is not None:
        found.append(open_)
    if line["late_bend_percent"] > LARGEST_BEND:
        found.append(f"the line is bent: D - D0 - k (R - R0) reaches {line['late_bend_percent']:.1f} % of the largest |D - D0|")
    return found


def unclosed(line: Mapping[str, Any]) -> str | None:
    """That a transfer along a line does not end at the target's own model; None where it does, or where there is nothing to compare."""
    off = {name: line[f"closure_{name}"] for name in ("lam", "gamma") if abs(line[f"closure_{name}"] - 1.0) > CLOSED}
    if not off:
        return None
    parts = " and ".join(f"{name} is {value:.2f}" for name, value in off.items())
    return (
        f"not closed: at t = 1 {parts} of the target's own at the same C on the same line, so that one of the two models is not at "
        "equilibrium, or they are on different branches"
    )


def _signed(line: dict[str, Any]) -> str:
    if np.isnan(line["drift_percent"]):
        return "-"
    error = line["drift_se_percent"]
    return f"{line['drift_percent']:+.2f}" + ("" if np.isnan(error) else f" ± {error:.2f}")


def _bent(line: dict[str, Any], name: str) -> str:
    error = line[f"{name}_se_percent"]
    return f"{line[f'{name}_percent']:.1f}" + ("" if np.isnan(error) else f" ± {error:.1f}")


def _value(value: float, form: str) -> str:
    return "-" if pd.isna(value) else format(value, form)


def _percent(value: float) -> str:
    return "-" if pd.isna(value) else f"{100 * value:.1f} %"
