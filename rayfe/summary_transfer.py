"""Rows of transfers and baselines -> one line per trajectory: did it arrive, was C held, what the model is worth on the target."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rayfe.config import RunConfig
from rayfe.summary import (
    BASELINES,
    NO_STOP,
    accepted_steps,
    drift,
    found_stop,
    is_equivalent,
    numbers,
    print_summary,
    summarize,
)

LATE = 0.05
"""t from which a bend of the line is reported apart: before it, new classes make F_t steep."""
LARGEST_BEND = 5.0
"""Per cent of |D1 - D0| by which a geodesic may miss its line."""


def summarize_transfers(rows: pd.DataFrame, tolerance: float) -> pd.DataFrame:
    """One line per trajectory of steps rows of transfers or baselines.

    `drift_percent` is C / C_target - 1 where it is largest in size, with its standard error, and `drift_ok` the
    equivalence test over all steps (transfers); `bend_percent` the largest |line_miss| in per cent of |D_end - D_start|,
    `late_bend_percent` that from t = 0.05 on; `closure_lam` and `closure_gamma` what a geodesic with k from its end points
    has at t = 1 divided by what the target's own model has. Null where it does not apply.
    """
    if rows.empty:
        return pd.DataFrame()
    return pd.DataFrame([_line(name, walk, tolerance) for name, walk in rows.groupby("trajectory", sort=True)])


def _line(name: Hashable, walk: pd.DataFrame, tolerance: float) -> dict[str, Any]:
    steps, stop = accepted_steps(walk), found_stop(walk)
    line: dict[str, Any] = {
        "trajectory": name,
        "process": walk["process"].iloc[0],
        "seed": int(walk["seed"].iloc[0]),
        "accepted_steps": int((steps["step"] > 0).sum()),
        "rejected_attempts": len(walk) - len(steps) - (stop is not None),
        "end": NO_STOP if stop is None else stop["reason"],
        "tolerance": tolerance,
        "examples": float(walk["examples"].max()),
        "seconds": float(walk["seconds"].max()),
    }
    for column in ("t", "lam", "gamma", "R", "D", "C", "val_accuracy", "target_C", "target_accuracy"):
        values = numbers(steps, column)
        line[f"{column}_start"], line[f"{column}_end"] = (values[0], values[-1]) if len(values) else (np.nan, np.nan)
    line["val_accuracy_least"] = float(steps["val_accuracy"].min()) if len(steps) else np.nan
    return line | _drift(steps, tolerance) | _bend(steps)


def _drift(steps: pd.DataFrame, tolerance: float) -> dict[str, Any]:
    target = numbers(steps, "C_target")
    if len(steps) < 2 or np.isnan(target).all():
        return {"drift_percent": np.nan, "drift_se_percent": np.nan, "drift_ok": None}
    after = drift(steps, target).iloc[1:]
    worst = after.iloc[int(after["drift"].abs().to_numpy().argmax())]
    tested = not after["drift_se"].isna().any()
    return {
        "drift_percent": 100.0 * float(worst["drift"]),
        "drift_se_percent": 100.0 * float(worst["drift_se"]),
        "drift_ok": is_equivalent(after["drift"].to_numpy(), after["drift_se"].to_numpy(), tolerance) if tested else None,
    }


def _bend(steps: pd.DataFrame) -> dict[str, float]:
    nothing = dict.fromkeys(("bend_percent", "late_bend_percent", "closure_lam", "closure_gamma"), float("nan"))
    k = numbers(steps, "k")
    if len(steps) < 2 or np.isnan(k[0]):
        return nothing
    D, miss, t = (numbers(steps, name) for name in ("D", "line_miss", "t"))
    way = abs(D[-1] - D[0])
    late = miss[t >= LATE]
    line = {"bend_percent": 100.0 * float(np.nanmax(np.abs(miss))) / way}
    line["late_bend_percent"] = 100.0 * float(np.nanmax(np.abs(late))) / way if len(late) else float("nan")
    if t[-1] == 1.0:
        lam, gamma = numbers(steps, "lam"), numbers(steps, "gamma")
        line["closure_lam"] = lam[-1] / lam[0]
        line["closure_gamma"] = gamma[-1] / numbers(steps, "end_gamma")[0]
    return nothing | line


def verdict(line: dict[str, Any]) -> str:
    """One sentence on one line of the summary."""
    if line["accepted_steps"] == 0:
        return "only the start so far"
    on_target = f"on the target {100 * line['target_accuracy_start']:.1f} % -> {100 * line['target_accuracy_end']:.1f} %"
    if line["process"] in BASELINES:
        return f"{on_target}, loss there {line['target_C_end']:.4g}; C was off the source's by up to {_signed(line)} %"
    test = {True: "passed", False: "failed", None: "not possible"}[line["drift_ok"]]
    held = f"C off by up to {_signed(line)} % (tolerance {100 * line['tolerance']:.3g} %, equivalence test {test})"
    arrived = "arrived" if line["t_end"] == 1.0 else f"ended at t = {line['t_end']:.3g} ({line['end']})"
    text = f"{arrived}; {held}; validation accuracy at least {100 * line['val_accuracy_least']:.1f} %, {on_target}"
    if not np.isnan(line["bend_percent"]):
        text += f"; off its line by {line['bend_percent']:.1f} % of |D1 - D0|"
    if not np.isnan(line["closure_lam"]):
        text += f"; closure lam {line['closure_lam']:.3f}, gamma {line['closure_gamma']:.3f}"
    return text


def warnings(line: dict[str, Any]) -> list[str]:
    """What a reader of this line must not overlook."""
    if line["process"] in BASELINES or line["accepted_steps"] == 0:
        return []
    found = []
    if line["t_end"] < 1.0:
        found.append(f"it has not arrived: t = {line['t_end']:.3g}")
    if line["late_bend_percent"] > LARGEST_BEND:
        found.append(f"the line is bent: D - D0 - k (R - R0) reaches {line['late_bend_percent']:.1f} % of |D1 - D0|")
    return found


def print_transfers(summary: pd.DataFrame, console: Console) -> None:
    """Print a table of `summarize_transfers`' lines, and below it a verdict and the warnings of each (100 columns)."""
    if summary.empty:
        console.print("no steps yet")
        return
    lines = [{str(name): value for name, value in line.items()} for line in summary.to_dict("records")]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0), pad_edge=False)
    table.add_column("trajectory", overflow="fold")
    for name in ("steps", "t", "lam", "gamma", "R", "D", "C/C0-1 %", "val acc", "target", "M ex", "min"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        rejected = f" (-{line['rejected_attempts']})" if line["rejected_attempts"] else ""
        table.add_row(
            str(line["trajectory"]),
            f"{line['accepted_steps']}{rejected}",
            *(_value(line[f"{name}_end"], form) for name, form in _END),
            _signed(line).replace(" ", ""),
            _value(line["val_accuracy_end"], ".1%"),
            _value(line["target_accuracy_end"], ".1%"),
            _value(line["examples"] / 1e6, ".1f"),
            _value(line["seconds"] / 60, ".1f"),
        )
    console.print(table)
    note = "at the last accepted step; val acc: on p(x, t); target: on the target alone; M ex: million training examples"
    console.print(Text(note, style="dim"))
    for line in lines:
        console.print(Text.assemble((f"{line['trajectory']}: ", "bold"), verdict(line)))
        for warning in warnings(line):
            console.print(Text(f"  warning: {warning}", style="yellow"))


def print_run(rows: pd.DataFrame, config: RunConfig, console: Console) -> None:
    """Print the summary that fits what a run does."""
    if config.method is not None or config.moves_data:
        print_transfers(summarize_transfers(rows, config.tolerance), console)
    else:
        print_summary(summarize(rows, config.tolerance), console)


_END = (("t", ".3g"), ("lam", ".3g"), ("gamma", ".3g"), ("R", ".1f"), ("D", ".1f"))


def _signed(line: dict[str, Any]) -> str:
    if np.isnan(line["drift_percent"]):
        return "-"
    error = line["drift_se_percent"]
    return f"{line['drift_percent']:+.2f}" + ("" if np.isnan(error) else f" ± {error:.2f}")


def _value(value: float, form: str) -> str:
    return "-" if pd.isna(value) else format(value, form)
