"""What one encoder for all points of a stored walk would lose: new decoders and classifiers for the encoders of its models."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd

from rayfe.config import FreeWalk, RunConfig, Walk, configure, require
from rayfe.config.arguments import checked
from rayfe.config.checks import SOME_EPOCHS, Checked, at_least, check
from rayfe.data.paths import epoch_of
from rayfe.exceptions import RunBroken, StorageError
from rayfe.figures.drawing import captioned, png
from rayfe.figures.frames import subject_of
from rayfe.figures.universal import universal_figure
from rayfe.records import Point, StepRecord
from rayfe.records.universal import ANY
from rayfe.results.frames import counted_steps
from rayfe.results.universal import Matrix, Walks, frame_of, matrix_of, sentence, spread
from rayfe.results.universal import table_of as text_of
from rayfe.run.stored_data import stored_data
from rayfe.storage.manifest import stored_config
from rayfe.storage.parquet import table_of
from rayfe.storage.store import Store
from rayfe.trajectory.driver import answered
from rayfe.trajectory.universal import with_new_decoders

DECODERS = 3
"""New decoders of each encoder of one walk, unless others are asked for."""
LONGER = 3.0
"""Epochs of a training, in those of the walk's start, unless others are asked for: a walk's models were trained at the start and at
every step (digits, to lam = 7.3: F of a model's own encoder with as many as the start's ends 8.6 % above the model, with thrice 1.2 %)."""
FIGURE = "universal.png"
Say = Callable[[str], None]
Training = tuple[StepRecord, int, Sequence[Point]]
"""An encoder's row, the number of the new decoder, and where it is trained."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effort(Checked):
    """What is trained for the comparison."""

    models: Annotated[int, at_least(2, 1000)] = 8
    """Encoders of each walk."""
    seeds: Annotated[int | None, at_least(1, 1000)] = None
    """New decoders and classifiers of each; None: DECODERS of one walk, 1 of several."""
    epochs: Annotated[float | None, SOME_EPOCHS] = None
    """Of each training; None: LONGER times those of the run's starts."""
    trajectory: str | None = None
    """The walk to take; None: all."""


@checked
def universal(
    location: str | Path,
    *,
    models: int = 8,
    seeds: int | None = None,
    epochs: float | None = None,
    trajectory: str | None = None,
    root: str | Path | None = None,
    quiet: bool = False,
) -> pd.DataFrame:
    """What one encoder for all points of a stored walk would lose: what `python jobs/universal.py RUN` does, in this process. `location`
    is the run's folder or its URI.

    The encoders of `models` stored models, spread over the walk's lam, stay as they are, and each gets a new decoder and a new
    classifier. Returned is a line for each encoder and point: `encoder_lam` and `encoder_R` (nats); `lam` and `gamma` of the point;
    `F`, by which part F of the encoder is above that of the point's own; `D` (in its unit) and `C` (nats), the same as differences;
    and their standard errors, `F_se` and so on. All are of the training split, and of new decoders and classifiers on both sides.

    - `seeds`: new decoders and classifiers of each encoder; without it 3 of one walk, and 1 of each of several (seeds of the run).
    - `epochs`: of each training; without it three times those of the run's starts.
    - `trajectory`: the walk to take; without it all, which must begin at the same lam and gamma.
    - `root`: the folder of the run's data.
    - `quiet`: print nothing.

    What is trained is stored in the run (universal.parquet), and not trained again.

    Raises:
        FileNotFoundError: there is no run.
        UsageError: a ValueError; the run is no walk, or has too few models with weights.
        CorruptFile: what is stored cannot be read.
    """
    effort = Effort(models=models, seeds=seeds, epochs=epochs, trajectory=trajectory)
    folder, say = None if root is None else str(root), (lambda text: None) if quiet else print
    return frame_of(compare(Store(location), effort, root=folder, say=say))


def compare(store: Store, effort: Effort, *, root: str | None, say: Say) -> Matrix:
    """Train what is missing, draw the figure, and return the matrix. Raises as `universal` does."""
    run, config = stored_config(store)
    found = _walks(store, config, effort.trajectory)
    walks = spread(found, effort.models)
    seeds = effort.seeds or (1 if len(walks) > 1 else DECODERS)
    epochs = LONGER * config.equilibration.first_epochs if effort.epochs is None else effort.epochs
    check("epochs", epochs, Annotated[float, SOME_EPOCHS])  # those of a start may be none
    shared = _is_shared(run, config)
    known = {record.trained for record in store.universal.rows()}
    left = [
        training for training in _trainings(walks, seeds, shared) if not all(key in known for key in _keys(training, epochs))
    ]
    if left:
        _train(store, run, config, left, epochs, root, say)
    matrix = matrix_of(walks, store.universal.rows(), seeds=seeds, epochs=epochs, shared=shared)
    figure = captioned(universal_figure(matrix), subject_of(config), pd.DataFrame())  # a walk may hold something else than C
    drawn = store.write_figure(FIGURE, png(figure))
    for text in (text_of(matrix), sentence(matrix), f"figure: {store.url(drawn)}"):
        say(text)
    return matrix


def _walks(store: Store, config: RunConfig, trajectory: str | None) -> Walks:
    """The rows that count, of different lam, whose weights are stored or have been trained with."""
    names = store.trajectories()
    walk = isinstance(config.asked, Walk | FreeWalk)
    require(walk, "RUN", store.url(), "is no walk, whose models differ in lam alone; give a run of jobs/isoc.py")
    require(bool(names), "RUN", store.url(), "has no steps so far; let it make some")
    there = f"the run has {', '.join(names[:5])}"
    require(trajectory is None or trajectory in names, "trajectory", trajectory, there)
    names = names if trajectory is None else [trajectory]
    starts = {name.rpartition("-seed")[0] for name in names}
    require(len(starts) == 1, "trajectory", trajectory, f"walks from several starts are no repeats; name one: {there}")
    known = {(record.trajectory, record.state_sha256) for record in store.universal.rows()}

    def of(name: str) -> list[StepRecord]:
        rows = store.rows(name)
        counted = {(row.step, row.attempt) for row in counted_steps(table_of(rows, StepRecord).to_pandas()).itertuples()}
        return [
            row
            for row in rows
            if (row.step, row.attempt) in counted and ((name, str(row.state_sha256)) in known or store.has_state(row))
        ]

    return {name: of(name) for name in names}


def _is_shared(run: Mapping[str, Any], config: RunConfig) -> bool:
    """Whether decoder and classifier share something, so that each point needs a training of its own."""
    from rayfe.model.fixed_encoder import after_encoder  # imports torch
    from rayfe.model.protocol import build, input_shape

    shape = input_shape(config.model, tuple(run["input_shape"]))
    decoder, classifier = after_encoder(build(config.model, input_shape=shape, classes=run["classes"]))
    return bool(decoder & classifier)


def _trainings(walks: Walks, seeds: int, shared: bool) -> list[Training]:
    """All that the matrix needs."""
    points = {name: [Point(lam=row.lam, gamma=row.gamma) for row in rows] if shared else [ANY] for name, rows in walks.items()}
    return [(row, seed, points[name]) for seed in range(1, seeds + 1) for name, rows in walks.items() for row in rows]


def _keys(training: Training, epochs: float) -> list[tuple[str, str, int, float, float, float]]:
    row, seed, points = training
    return [(row.trajectory, str(row.state_sha256), seed, epochs, point.lam, point.gamma) for point in points]


def _train(
    store: Store, run: dict[str, Any], config: RunConfig, left: Sequence[Training], epochs: float, root: str | None, say: Say
) -> None:
    """Train what is missing; each encoder is stored as soon as it is done."""
    from rayfe.backend.inline import InlineBackend  # imports torch

    store.writable()
    data = stored_data(store, run, config, root)
    backend = InlineBackend(configure(config, trajectories_per_evaluator=1), data)
    say(f"{len(left)} trainings of {epochs:g} epochs of {epoch_of(data, config):,} examples each")
    with store.lock(say=say) as held:
        try:
            for number, (row, seed, points) in enumerate(left, 1):
                began = time.monotonic()
                asking = with_new_decoders(config, row, held.state(row), points, seed=seed, epochs=epochs)
                records = answered(asking, backend, held.check_owner)
                seconds = (time.monotonic() - began) / len(records)
                held.check_owner()
                held.universal.keep([dataclasses.replace(record, seconds=seconds) for record in records])
                one = records[0]
                found = f"R {one.R:.3f} D {one.D:.3f} C {one.C:.4f}" if one.R is not None else one.outcome
                say(f"{number}/{len(left)}: {row.trajectory}, encoder of step {row.step}, decoder {seed}: {found}")
        except StorageError as error:
            raise RunBroken(f"{error}; the same command goes on") from error
