"""What a run says at its end, and `python -m rayfe status`: sentences, and a table of trajectories that fits 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType, ModuleType
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rayfe.config import RunConfig
from rayfe.exceptions import Words, in_shell_words
from rayfe.results import transfer_summary, walk_summary
from rayfe.results.certified import equilibrium_lines
from rayfe.results.frames import BASELINES, CONDITIONED
from rayfe.results.transfer_summary import summarize_transfers
from rayfe.results.walk_summary import summarize

Line = Mapping[str, Any]
Columns = Mapping[str, Callable[[Line], str | Text]]


def print_run(
    rows: pd.DataFrame,
    config: RunConfig,
    console: Console,
    certificates: pd.DataFrame,
    models: pd.DataFrame | None,
    *,
    location: str,
    words: Words = in_shell_words,
) -> None:
    """Print the summary that fits what the run at `location` does, and how near its trajectories are to equilibrium.

    `models` bound its F; `words` says options as they are written where this is read.
    """
    tolerance, floor = config.asked.tolerance, config.asked.tolerance_floor
    if config.method is not None or config.moves_data:
        print_transfers(summarize_transfers(rows, tolerance, floor), console, words)
    else:
        print_walks(summarize(rows, tolerance, floor, models), console, words)
    if config.method is None and len(rows):
        for line in equilibrium_lines(rows, certificates, step_epochs=config.equilibration.epochs, location=location):
            console.print(Text(line))


def print_walks(summary: pd.DataFrame, console: Console, words: Words = in_shell_words) -> None:
    """Print a verdict and the warnings of each line of `summarize`, and a table of them."""
    columns, note = (BOX, "") if is_boxed(summary) else (WALK, f"; {DRIFT_NOTE}; {EXCESS_NOTE}")
    if len(summary) and (summary["unit"] != "%").any():
        columns = {DRIFT_OF_A_NAT.get(name, name): cell for name, cell in columns.items()}
        note = note.replace("C/C0-1", "C-C0")
    if len(summary) and (summary["F_unit"] == "nats").any():
        columns = {EXCESS_NATS if name == EXCESS else name: cell for name, cell in columns.items()}
    if scored_only(summary):
        columns = {SCORED.get(name, name): SCORE.get(name, cell) for name, cell in columns.items()}
    _print_table(_said(summary, walk_summary, console, words), columns, f"{place_of(summary)}{note}", console)


def is_boxed(summary: pd.DataFrame) -> bool:
    """Whether a table of `summarize` is of conditioned models."""
    return len(summary) > 0 and bool((summary["process"] == CONDITIONED).all())


def scored_only(summary: pd.DataFrame) -> bool:
    """Whether a table of `summarize` has scores and no accuracy: of a task that is no classification."""
    return len(summary) > 0 and bool(summary["val_accuracy_end"].isna().all() and summary["val_score_end"].notna().any())


def place_of(summary: pd.DataFrame) -> str:
    """Where on their way the numbers of a table of `summarize` are read."""
    return "over all models" if is_boxed(summary) else "at the last accepted step, or where the walk turned"


def print_transfers(summary: pd.DataFrame, console: Console, words: Words = in_shell_words) -> None:
    """Print a verdict and the warnings of each line of `summarize_transfers`, a table of transfers and one of baselines."""
    lines = _said(summary, transfer_summary, console, words)
    _print_table([line for line in lines if line["process"] not in BASELINES], TRANSFER, TRANSFER_NOTE, console)
    _print_table([line for line in lines if line["process"] in BASELINES], BASELINE, BASELINE_NOTE, console)


def _said(summary: pd.DataFrame, kind: ModuleType, console: Console, words: Words) -> list[dict[str, Any]]:
    """The lines of a summary, after a verdict and the warnings of each, by the summary's own module, are printed."""
    if summary.empty:
        console.print("no steps yet")
    lines = [{str(name): value for name, value in line.items()} for line in summary.to_dict("records")]
    for line in lines:
        _say(line, kind.verdict(line), kind.warnings(line), console, words)
    return lines


def _say(line: Line, sentence: str, warnings: Sequence[str], console: Console, words: Words) -> None:
    console.print(Text.assemble((f"{line['trajectory']}: ", "bold"), words(sentence)))
    for warning in warnings:
        console.print(Text(f"  warning: {words(warning)}", style="yellow"))


def _print_table(lines: Sequence[Line], columns: Columns, note: str, console: Console) -> None:
    """Nothing without lines."""
    if not lines:
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0), pad_edge=False)
    table.add_column("trajectory", overflow="fold", min_width=10)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(Text(str(line["trajectory"])), *(cell(line) for cell in columns.values()))
    console.print(table)
    console.print(Text(note, style="dim"))


def _steps(line: Line) -> str:
    return f"{line['accepted_steps']}" + (f" (-{line['rejected_attempts']})" if line["rejected_attempts"] else "")


def _of(name: str, form: str, unit: float = 1.0) -> Callable[[Line], str]:
    return lambda line: "-" if pd.isna(line[name]) else format(line[name] / unit, form)


def _span(name: str) -> Callable[[Line], str]:
    """The ends of a range on two lines."""
    return lambda line: spanned(line, name).replace(" to ", "\nto ")


def spanned(line: Line, name: str) -> str:
    """The range of a column over the models of a conditioned one; a dash where there is none yet."""
    return line["spans"][name] if isinstance(line.get("spans"), Mapping) else "-"


def _drift(line: Line) -> Text:
    """Green where the equivalence test passed, red where it failed."""
    if pd.isna(line["drift_percent"]):
        return Text("-")
    error = "" if pd.isna(line["drift_se_percent"]) else f"±{line['drift_se_percent']:.2f}"
    form = "+z.2f" if abs(line["drift_percent"]) < 100.0 else "+.0f"
    return Text(f"{line['drift_percent']:{form}}{error}", style={True: "green", False: "red"}.get(line["drift_ok"], ""))


def _both(*cells: Callable[[Line], str | Text]) -> Callable[[Line], Text]:
    """Two cells, one below the other, as their names are in the head of the table."""
    return lambda line: Text("\n").join([Text.assemble(cell(line)) for cell in cells])


MULTIPLIERS = _both(_of("lam_end", ".3g"), _of("gamma_end", ".3g"))
PLACE = _both(_of("R_end", ".1f"), _of("D_end", ".1f"))
LOSS = _both(_of("C_end", ".4f"), _drift)
EXCESS, EXCESS_NATS = "F above\nothers, %", "F above\nothers, nats"


def _excess(line: Line) -> str:
    """In the unit that suits it, and a dash where no other model is lower."""
    return _of("excess_percent", ".1f")(line) if line["F_unit"] == "%" else _of("excess_nats", ".2g")(line)


DRIFT_OF_A_NAT = {"C\nC/C0-1, %": "C\nC-C0, % nat"}
"""How it is called of a loss that may be negative."""
MINUTES = _of("seconds", ".1f", 60.0)
COST: Columns = {"minutes\nM examples": _both(MINUTES, _of("examples", ".1f", 1e6))}
WALK: Columns = MappingProxyType(
    {
        "steps\nminutes": _both(_steps, MINUTES),
        "lam\ngamma": MULTIPLIERS,
        "R\nD": PLACE,
        "C\nC/C0-1, %": LOSS,
        "validation C\naccuracy": _both(_of("val_C_end", ".4f"), _of("val_accuracy_end", ".1%")),
        EXCESS: _excess,
    }
)
SCORED = {"validation C\naccuracy": "validation C\nscore", "accuracy": "score"}
"""How columns are called where the task has a score and no accuracy."""
SCORE: Columns = MappingProxyType(
    {"validation C\naccuracy": _both(_of("val_C_end", ".4f"), _of("val_score_end", ".4g")), "accuracy": _span("val_score")}
)
"""And what is in them."""
DRIFT_NOTE = "C/C0-1: largest on the way ± error of the draws"
EXCESS_NOTE = "F above others: at least, at the worst step; -: none here is lower, which proves nothing"
BOX: Columns = MappingProxyType(
    {
        "models\nminutes": _both(lambda line: f"{line['accepted_steps'] + 1}", MINUTES),
        **{name: _span(name) for name in ("R", "D", "C")},  # lam and gamma are in the sentence above
        "validation\nC": _span("val_C"),
        "accuracy": _span("val_accuracy"),
    }
)
TRANSFER: Columns = MappingProxyType(
    {
        "steps\nt": _both(_steps, _of("t_end", ".3g")),
        "lam\ngamma": MULTIPLIERS,
        "R\nD": PLACE,
        "C/C0-1,\n%": _drift,
        "accuracy\non target": _both(_of("val_accuracy_end", ".1%"), _of("target_accuracy_end", ".1%")),
        **COST,
    }
)
TRANSFER_NOTE = (
    "at the last accepted step; C/C0-1: largest on the way ± error of the draws; accuracy: of validation images, on p(x, t)"
)
BASELINE: Columns = MappingProxyType(
    {
        "method\nsteps": _both(lambda line: str(line["process"]), _steps),
        "R\nD": PLACE,
        "C\nC/C0-1, %": LOSS,
        "accuracy\nafter": _both(_of("target_accuracy_start", ".1%"), _of("target_accuracy_end", ".1%")),
        "target C\nafter": _both(_of("target_C_start", ".4f"), _of("target_C_end", ".4f")),
        **COST,
    }
)
BASELINE_NOTE = (
    "at the last step; accuracy, target C: on the target's validation split, before and after training on the target; "
    "C/C0-1: largest distance from the source's C"
)
