"""jobs/universal.py RUN: what one encoder for all points of a stored walk would lose."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from rayfe.cli.command import exit_code
from rayfe.cli.commands.parser import Parser, trusted, typed
from rayfe.storage.manifest import stored_config
from rayfe.storage.store import Store

WHAT = """Keep the encoders of stored models of a walk, train a new decoder and a new classifier for each, and compare every encoder at
the multipliers of every other with the one that was trained there: penalties in F, D and C. With a fixed encoder R is a constant, and
lam D + gamma C is left to minimise. Where decoder and classifier share no parameter (that is looked at) these are two problems, D alone
and C alone, which no lam and no gamma changes: k trainings make the matrix of k x k, and otherwise each point has one of its own. The
encoder is not rescaled. The diagonal is trained anew, too: so the length of trainings is no penalty. What is trained is stored in RUN
(universal.parquet), and the same command goes on."""


def main(argv: Sequence[str]) -> int:
    """Exit code: 0 done, 1 storage failed, 2 bad input."""
    return exit_code(functools.partial(_compare, list(argv)))


def _compare(argv: list[str]) -> int:
    chosen = parser().parse_args(argv)
    from rayfe.run.universal import Effort, compare  # imports matplotlib: not for --help

    store = Store(chosen.run)
    trusted(stored_config(store)[0], trust=chosen.trust)
    effort = Effort(models=chosen.models, seeds=chosen.seeds, epochs=chosen.epochs, trajectory=chosen.trajectory)
    compare(store, effort, root=chosen.root, say=functools.partial(print, flush=True))
    return 0


def parser() -> Parser:
    """Its arguments."""
    made = Parser("python jobs/universal.py", WHAT)
    made.run()
    made.add_argument(
        "--models", type=typed(int), default=8, metavar="K", help="encoders of each walk, spread over lam; 8 without it"
    )
    text = "new decoders and classifiers of each encoder; without it 3, or 1 where the run has several walks, its seeds"
    made.add_argument("--seeds", type=typed(int), metavar="N", help=text)
    text = "of each training; without it three times those of the run's starts"
    made.add_argument("--epochs", type=typed(float), help=text)
    text = "the walk to take; without it all, which must begin at the same lam and gamma"
    made.add_argument("--trajectory", metavar="NAME", help=text)
    made.trust()
    made.add_argument("--data.root", dest="root", metavar="FOLDER", help="folder of the run's data")
    return made
