"""python -m rayfe status RUN [RUN...] [--with OTHER ...]: how far runs are, from what they stored; needs no cluster."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from rayfe.cli.commands.parser import Parser
from rayfe.results.pooling import models_of
from rayfe.results.transfer_summary import print_run
from rayfe.run.progress import line
from rayfe.storage.manifest import stored_config
from rayfe.storage.store import Store, load_certificates, load_rows
from rayfe.trajectory.standing import standing


def main(arguments: list[str]) -> int:
    """Print the standing of every run named."""
    parser = Parser("status", "How far runs are, from what they stored; works while they go on.")
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folder or URI of a run")
    parser.others()
    chosen = parser.parse_args(arguments)
    for location in chosen.runs:
        status(location, chosen.others)
    return 0


def status(location: str, others: Sequence[str] = ()) -> None:
    """Print the summary of a run, and of every trajectory its last attempted step and where it stands.

    Models of the runs `others` bound its F, too.
    """
    store = Store(location)
    run, config = stored_config(store)
    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    print(f"{store.url()}: {run.get('job')} {run.get('preset')}, rayfe {run.get('rayfe')}")
    print_run(load_rows(location), config, console, load_certificates(location), models_of(store, others))
    for name in dict.fromkeys([*store.trajectories(), *config.trajectories()]):
        rows = store.rows(name)
        print(f"{name}: {standing(rows, config)}")
        if rows:
            print(f"  last: {line(rows[-1])}")
