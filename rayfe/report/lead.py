"""What stands at the head of a page: its title, in one sentence what the run gives, where it stands, and the model to take."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rayfe.config import flat
from rayfe.config.user_code import own_names
from rayfe.exceptions import in_shell_words
from rayfe.figures.frames import subject_of
from rayfe.records import Split
from rayfe.records.run_json import distortion_of
from rayfe.report.view import RunView
from rayfe.results.frames import counted_steps, holds_nothing, level_of, numbers, span_of
from rayfe.trajectory.standing import State

METHODS = {"finetune": "fine-tuning", "scratch": "training from scratch", "joint": "joint training"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Take:
    """The recommended model of a run."""

    trajectory: str
    step: int
    numbers: tuple[tuple[str, str], ...]
    """Names with values, as people read them."""
    python: str
    """The line that gets it in Python; NAME in it stands for the run."""
    shell: str
    is_stored: bool
    """Whether its weights are kept in the run."""


def title_of(view: RunView) -> str:
    """The data and the model."""
    return subject_of(view.config)


def gives(view: RunView) -> str:
    """What a run gives, as one sentence."""
    steps = counted_steps(view.rows) if len(view.rows) else view.rows
    if steps.empty:
        return "No step is stored yet."
    if view.config.box is not None:
        return _conditioned(view, steps)
    sentence = {"walk": _walk, "transfer": _transfer, "baseline": _baseline}[view.kind]
    return sentence(view, steps)


def _walk(view: RunView, steps: pd.DataFrame) -> str:
    held = _level(view)
    what = f", with {held}" if held else ", with nothing held" if holds_nothing(view.rows).all() else ""
    if len(steps) == 1:
        return f"One model so far: R {steps['R'].iloc[0]:.3g} nats, D {steps['D'].iloc[0]:.3g}{what}."
    if view.config.asked.seek:
        last = steps.groupby("trajectory").tail(1).iloc[0]
        there = f"R {last['R']:.3g} nats, D {last['D']:.3g}, C {last['C']:.3g} nats"
        return f"{len(steps)} models on the way to {', '.join(view.config.asked.seek)}; the last has {there}."
    curves = steps["trajectory"].nunique()
    coarse, fine = (steps.iloc[find(numbers(steps, "R"))] for find in (np.argmin, np.argmax))
    return (
        f"{len(steps)} models on {_count(curves, 'curve')} from coarse (R {coarse['R']:.3g} nats, D {coarse['D']:.3g}) to fine "
        f"(R {fine['R']:.3g} nats, D {fine['D']:.3g}){what}."
    )


def _conditioned(view: RunView, steps: pd.DataFrame) -> str:
    lam, gamma, R, D = (span_of(numbers(steps, name)) for name in ("lam", "gamma", "R", "D"))
    models, trainings = _count(len(steps), "model"), _count(steps["trajectory"].nunique(), "training")
    return f"{_capital(models)} of {trainings}, lam {lam}, gamma {gamma}: R {R} nats, D {D}."


def _transfer(view: RunView, steps: pd.DataFrame) -> str:
    ends = steps.groupby("trajectory").tail(1)
    arrived = ends[ends["t"] == 1.0]
    held = _level(view)
    models = "A model" if len(ends) == 1 else f"{len(ends)} models"
    text = f"{models} taken from {view.config.data.name} to {view.config.path.target}"
    text += f" ({held})" if held else ""
    if arrived.empty:
        return (
            f"{text}; the furthest is at t = {ends['t'].max():.3g}."
            if len(ends) > 1
            else f"{text}; it is at t = {ends['t'].max():.3g}."
        )
    text += "; it has arrived" if len(ends) == 1 else f"; {len(arrived)} of them have arrived"
    return f"{text}{_on_target(arrived)}."


def _baseline(view: RunView, steps: pd.DataFrame) -> str:
    ends = steps.groupby("trajectory").tail(1)
    models = "A model" if len(ends) == 1 else f"{len(ends)} models"
    how = METHODS.get(str(view.config.method), str(view.config.method))
    return f"{models} by {how}, to compare a transfer with; no loss is held{_on_target(ends)}."


def _level(view: RunView) -> str:
    """At which C, and of which images; empty where nothing holds it."""
    held = level_of(view.rows)
    return f"{held} on {'control' if view.config.held_on is Split.CONTROL else 'training'} images" if held else ""


def _on_target(ends: pd.DataFrame) -> str:
    right = 100.0 * numbers(ends, "target_accuracy")
    right = right[np.isfinite(right)]
    if not len(right):
        return ""
    shares = dict.fromkeys(f"{share:.1f}" for share in (right.min(), right.max()))
    return f", with {' to '.join(shares)} % of the target's validation examples right"


def stands(view: RunView) -> str:
    """Where the run stands, as a sentence."""
    now = list(view.standing.values())
    if len(now) == 1:
        return _capital(in_shell_words(now[0].dated)) + "."
    counts = Counter(one.state for one in now)
    return f"{len(now)} trajectories: {', '.join(f'{counts[state]} {state}' for state in State if counts[state])}."


def take_of(view: RunView, name: str) -> Take | None:
    """The recommended model of a run that commands call `name`; None where there is none yet."""
    row = view.recommended
    if row is None:
        return None
    trajectory, step = str(row["trajectory"]), int(row["step"])
    one = len(view.standing) == 1
    names = own_names(flat(view.config))
    own, code = names.get("model.name"), {"model.name", "model.marginal"} & names.keys()
    run = repr(name) if own is None else f"{name!r}, model_class={own.rpartition(':')[2]}"
    record = next((row for row in view.records.get(trajectory, ()) if row.accepted and row.step == step), None)
    return Take(
        trajectory=trajectory,
        step=step,
        numbers=_numbers(row, distortion_of(view.manifest)["unit"]),
        python=f"rayfe.Run({run}).model({step}{'' if one else f', trajectory={trajectory!r}'})",
        shell=shlex.join(
            ["python", "-m", "rayfe", "export", name, *([] if one else ["--trajectory", trajectory])]
            + ["--step", str(step), "--to", "model.pt2", *(["--trust"] if code else [])]
        ),
        is_stored=record is not None and view.store.has_state(record),
    )


CHOSEN_BY = "C, validation"
"""By what a model is recommended: it is shown with its error."""
SHOWN: Sequence[tuple[str, str, str, float]] = (
    ("R", "R (nats)", ".2f", 1.0),
    ("D", "D ({unit})", ".2f", 1.0),
    ("C", "C, training", ".4f", 1.0),
    ("val_C", CHOSEN_BY, ".4f", 1.0),
    ("val_accuracy", "accuracy, validation (%)", ".1f", 100.0),
    ("val_score", "score, validation", ".4g", 1.0),
    ("target_C", "C, target's validation", ".4f", 1.0),
    ("target_accuracy", "accuracy, target's validation (%)", ".1f", 100.0),
    ("lam", "lam", ".3g", 1.0),
    ("gamma", "gamma", ".3g", 1.0),
    ("t", "t", ".3g", 1.0),
)


def _numbers(row: pd.Series, unit_of_D: str) -> tuple[tuple[str, str], ...]:
    """The recommended row's numbers; validation C, by which it was chosen, with its standard error."""
    known = [
        (title.format(unit=unit_of_D), format(unit * row[name], form))
        for name, title, form, unit in SHOWN
        if pd.notna(row[name])
    ]
    if pd.notna(row["val_C_se"]):
        known = [(title, f"{text} ± {row['val_C_se']:.2g}" if title == CHOSEN_BY else text) for title, text in known]
    return tuple((title, text) for title, text in known if title != "t" or row["t"] > 0.0)


def _count(number: int, word: str) -> str:
    return f"{'one' if number == 1 else number} {word}{'' if number == 1 else 's'}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
