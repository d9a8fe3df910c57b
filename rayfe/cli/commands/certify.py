"""python -m rayfe certify RUN: how far stored models are from models that are trained at the same multipliers in another way."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Annotated

from rayfe.cli.commands.parser import Parser, Refused, trusted, typed
from rayfe.config import LOSSES, RunConfig
from rayfe.config.checks import SOME_EPOCHS, at_least, check
from rayfe.data.paths import PathData, epoch_of
from rayfe.exceptions import RunBroken, StorageError
from rayfe.records import ANEW, ON, CertificateRecord, StepRecord
from rayfe.results.certified import certificate_line, sentence
from rayfe.run.job import with_couplings
from rayfe.run.stored_data import stored_data
from rayfe.storage.manifest import stored_config
from rayfe.storage.store import Store
from rayfe.trajectory.certification import SEEDS, CertificateEffort

USUAL_SEEDS = 3
"""Seeds unless others are asked for: a 95 % interval over three is about a third as wide as over two."""
WHAT = """Train models at the multipliers of stored ones, on from their weights and with --anew from scratch, and store how far the
stored ones are from them in F, R, D, C and gamma (certificates/). What is there already, as long and by as many seeds, is not
trained again."""


def main(arguments: list[str]) -> int:
    """Certify the chosen models one after the other."""
    chosen = parser().parse_args(arguments)
    store = Store(chosen.run)
    run, config = stored_config(store)
    if config.process == LOSSES:
        raise Refused(f"{chosen.run}: process iso-losses has no certificates: they compare one loss, at one multiplier")
    trusted(run, trust=chosen.trust)
    efforts = _efforts(config, chosen)
    rows = _rows(store, chosen)
    store.writable()
    data = stored_data(store, run, config, chosen.root)
    with store.lock(say=print) as held:
        left = []
        for row, effort in ((row, effort) for row in rows for effort in efforts):
            there = _found(held, row, effort)
            if there is None:
                left.append((row, effort))
            else:
                print(f"{row.trajectory}: there already, {_told(there, row)}", flush=True)
        try:
            if left:
                _train(held, config, data, left)
        except StorageError as error:
            raise RunBroken(f"{error}; the same command goes on") from error
    print(f"to write its page with them: python -m rayfe report {chosen.run}")
    return 0


def _train(store: Store, config: RunConfig, data: PathData, left: list[tuple[StepRecord, CertificateEffort]]) -> None:
    """Make the certificates that are missing, each stored as soon as it is there."""
    from rayfe.backend.inline import InlineBackend  # imports torch
    from rayfe.trajectory import driver

    backend = InlineBackend(config, with_couplings(data, config, store, print))
    epoch = epoch_of(data, config)
    for row, effort in left:
        what = f"step {row.step}, {effort.method}: {effort.seeds} seeds of {effort.epochs:g} epochs of {epoch:,} examples each"
        print(f"{row.trajectory}: {what}, at lam {row.lam:.4g}, gamma {row.gamma:.4g} and its neighbours", flush=True)
        record = driver.certify(config, row, backend, store, effort)
        print(f"{row.trajectory}: {_told(record, row)}", flush=True)


def _told(record: CertificateRecord, row: StepRecord) -> str:
    return f"{certificate_line(record, row.examples)}; {sentence(dataclasses.asdict(record))}"


def parser() -> Parser:
    """Its arguments."""
    made = Parser("python -m rayfe certify", WHAT)
    made.run()
    made.add_argument("--trajectory", metavar="NAME", help="which; all without it")
    made.steps("accepted steps; the last one without it", several=True)
    text = "of each training; as many as the start was trained without it"
    made.add_argument("--epochs", type=typed(Annotated[float, SOME_EPOCHS]), help=text)
    made.add_argument(
        "--seeds",
        type=typed(Annotated[int, at_least(SEEDS, 1000)]),
        default=USUAL_SEEDS,
        help=f"trainings that differ by chance, {SEEDS} or more; {USUAL_SEEDS} without it",
    )
    made.add_argument("--anew", action="store_true", help="train from new weights, too")
    made.trust()
    made.add_argument("--data.root", dest="root", metavar="FOLDER", help="folder of the run's data")
    return made


def _rows(store: Store, chosen: argparse.Namespace) -> list[StepRecord]:
    """The rows whose models are to be certified.

    Raises:
        Refused: there are none such.
        FileNotFoundError: weights of one of them are not stored any more.
    """
    names = store.trajectories() if chosen.trajectory is None else [chosen.trajectory]
    if not names:
        raise Refused(f"{chosen.run}: has no steps so far")

    from rayfe.results.stored_model import find_row  # imports torch

    found = []
    for name in names:
        steps: Sequence[int | None] = [None] if chosen.at is not None else chosen.step or _last(store, name)
        found += [find_row(store, name, step, chosen.at) for step in dict.fromkeys(steps)]
    for row in found:
        if not store.has_state(row):
            raise FileNotFoundError(f"{store.url(str(row.state))}: these weights are not stored any more (--keep-states)")
    if not found:
        raise Refused(f"{chosen.run}: has no accepted step so far")
    return found


def _last(store: Store, name: str) -> list[int]:
    return [row.step for row in store.rows(name) if row.accepted][-1:] or ([] if name in store.trajectories() else [0])


def _efforts(config: RunConfig, chosen: argparse.Namespace) -> list[CertificateEffort]:
    """What is trained for each of them."""
    epochs = config.equilibration.first_epochs if chosen.epochs is None else chosen.epochs
    check("epochs", epochs, Annotated[float, SOME_EPOCHS])  # the start's own may be none
    return [
        CertificateEffort(method=method, seeds=chosen.seeds, epochs=epochs) for method in ((ON, ANEW) if chosen.anew else (ON,))
    ]


def _found(store: Store, row: StepRecord, effort: CertificateEffort) -> CertificateRecord | None:
    """The model's certificate of this method by at least as many seeds and epochs; None: there is none."""
    for one in store.certificates(row.trajectory):
        same = one.state_sha256 == row.state_sha256 and one.method == effort.method and one.outcome == "OK"
        if same and one.seeds >= effort.seeds and one.epochs >= (effort.epochs or 0.0):
            return one
    return None
