"""Progress of a run: a live table on a terminal, a plain line per attempted step elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import NoReturn, Self

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rayfe.config import TRANSFERS, RunConfig
from rayfe.exceptions import Words, in_shell_words
from rayfe.records import InTraining, Kind, StepRecord
from rayfe.signals import released
from rayfe.trajectory.standing import seconds_left, standing

COLUMNS = ("step", "t", "lam", "gamma", "R", "D", "C drift %", "val acc %", "elapsed", "left", "now")
SOON = 10.0
"""Seconds of a training before the first line about it."""
PAUSE = 30.0
"""Seconds between two lines about one training."""


def drift_percent(record: StepRecord) -> float | None:
    """C / C_target - 1 of a row, in per cent, or the drift of what is held instead; None where not measured."""
    drift = record.held_drift if record.drift is None else record.drift
    return None if drift is None else 100 * drift


def line(record: StepRecord) -> str:
    """One attempted step on one line."""
    numbers = [f"t {record.t:.3g}"] if record.process in TRANSFERS else []
    numbers += [f"lam {record.lam:.4g} gamma {record.gamma:.4g}"]
    numbers += [f"{name} {value:.4g}" for name, value in (("R", record.R), ("D", record.D)) if value is not None]
    drift = drift_percent(record)
    name = "C drift" if record.C_target else "miss" if record.process == "seek" else "drift"
    numbers += [] if drift is None else [f"{name} {drift:+z.2f} %{'' if record.C_scale is None else ' of a nat'}"]
    numbers += [] if record.val_accuracy is None else [f"val acc {100 * record.val_accuracy:.1f} %"]
    numbers += [] if record.val_score is None else [f"val score {record.val_score:.4g}"]
    numbers += [f"after {duration(record.seconds)}"]
    return f"{record.trajectory} step {record.step}{_verdict(record)}: {' '.join(numbers)}"


def training_line(now: InTraining) -> str:
    """How far a training is, on one line."""
    C = "" if now.C is None else f", C {now.C:.3g}"
    left = "" if now.seconds_left is None else f", about {duration(now.seconds_left)} left"
    return f"{100 * now.share:.0f} % of {now.epochs:.3g} epochs trained{C}{left}"


class Pacer:
    """Lets a word about a trajectory's training through once in a `PAUSE`, the first one after `SOON`."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, int], float] = {}

    def is_due(self, now: InTraining) -> bool:
        """Whether to say it; if so it counts as said."""
        key = now.trajectory, now.step
        said = self._said.get(key, 0.0)
        said = 0.0 if now.seconds < said else said  # another training
        due = now.seconds - said >= (PAUSE if said else SOON)
        self._said[key] = now.seconds if due else said
        return due


def _verdict(record: StepRecord) -> str:
    if record.accepted:
        return ""
    if record.kind == Kind.STOP:
        return f" stopped ({record.reason})"
    return f" attempt {record.attempt} rejected ({record.reason or record.outcome})"


def duration(seconds: float) -> str:
    """Seconds for people: `41 s`, `12 min`, `3.4 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def in_units(size: float) -> str:
    """Bytes for people."""
    return f"{size / 2**30:.1f} GiB" if size > 2**30 else f"{size / 2**20:.0f} MiB"


class Output(Console):
    """A terminal, a notebook or a pipe; where its reader has left, printing raises BrokenPipeError and ends no caller's program."""

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError("nobody reads the output any more; the same command goes on")


class Progress:
    """What the runner tells about a run, as shown to people. A context manager; rows may come from another thread.

    `rows` are those stored before, by trajectory.
    """

    def __init__(
        self,
        config: RunConfig,
        rows: Mapping[str, Sequence[StepRecord]] | None = None,
        *,
        console: Console | None = None,
        words: Words = in_shell_words,
    ) -> None:
        self._config, self._words = config, words
        self._rows = {name: list((rows or {}).get(name, ())) for name in config.trajectories()}
        self._console = console or Output()
        self._training: dict[str, InTraining] = {}
        self._pacer = Pacer()
        self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=1)
        self._shown = ExitStack()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._shown.enter_context(released(self._live.stop))
            self._live.start()
            return self
        for name, rows in self._rows.items():
            if rows:
                self._print(f"{name}: {standing(rows, self._config).where}, {duration(rows[-1].seconds)} so far")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._shown.close()

    def row(self, record: StepRecord) -> None:
        """A row was committed."""
        self._rows.setdefault(record.trajectory, []).append(record)
        self._training.pop(record.trajectory, None)
        if not self._console.is_terminal:
            self._print(line(record))
        else:
            if not record.accepted:
                self._print(line(record))
            self._live.refresh()

    def event(self, text: str) -> None:
        """Something happened that leaves no row, such as a lost worker."""
        self._print(self._words(text))

    def training(self, now: InTraining) -> None:
        """A training goes on."""
        self._training[now.trajectory] = now
        if not self._console.is_terminal and self._pacer.is_due(now):
            self._print(f"{now.trajectory} step {now.step}: {training_line(now)}")

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)
        self._console.file.flush()

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("trajectory", overflow="fold")
        scored = self._config.model.task != "classification"
        for name in self._columns():
            name = "val score" if scored and name == "val acc %" else name
            table.add_column(name, justify="left" if name == "now" else "right", no_wrap=True)
        for name, rows in list(self._rows.items()):
            cells = dict(zip(COLUMNS, _cells(list(rows), self._config), strict=True))
            if name in self._training:
                cells["now"] = training_line(self._training[name])
            table.add_row(Text(name), *(cells[column] for column in self._columns()))
        return table

    def _columns(self) -> list[str]:
        return [name for name in COLUMNS if name != "t" or self._config.moves_data]


def _cells(rows: list[StepRecord], config: RunConfig) -> list[str]:
    accepted = [row for row in rows if row.accepted]
    now = standing(rows, config)
    if not accepted:
        return ["-"] * (len(COLUMNS) - 1) + [now.where]
    last, left = accepted[-1], seconds_left(rows, config)
    good = (last.val_score, ".4g") if last.val_accuracy is None else (100 * last.val_accuracy, ".1f")
    values = [
        (last.t, ".3g"),
        (last.lam, ".4g"),
        (last.gamma, ".4g"),
        (last.R, ".2f"),
        (last.D, ".2f"),
        (drift_percent(last), "+z.2f"),
    ]
    numbers = ["-" if value is None else format(value, form) for value, form in [*values, good]]
    left_text = "-" if now.is_over or left is None else duration(left)
    state = now.where if now.is_over else "walking" if rows[-1].accepted else f"retry {rows[-1].attempt + 1}"
    return [f"{last.step}/{config.steps}", *numbers, duration(rows[-1].seconds), left_text, state]
