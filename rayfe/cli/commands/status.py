"""python -m rayfe status RUN [RUN...] [--with OTHER ...]: how far runs are, from what they stored; needs no cluster."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from rayfe.cli.commands.parser import Parser
from rayfe.report.view import view_of
from rayfe.results.transfer_summary import print_run
from rayfe.run.progress import line
from rayfe.storage.again import again
from rayfe.storage.store import Store


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
    view = view_of(Store(location), others, readings=False)
    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    print(f"{view.store.url()}: {view.title}, rayfe {view.manifest.get('rayfe')}")
    print_run(view.rows, view.config, console, view.certificates, view.models)
    for name, now in view.standing.items():
        print(f"{name}: {now}")
        if rows := view.records.get(name):
            print(f"  last: {line(rows[-1])}")
    if not all(now.is_over for now in view.standing.values()):
        found = again(view.store, view.manifest, view.config, view.store.url())
        print(f"to go on: {found.command}{' with ' if found.needs else ''}{'; '.join(found.needs)}")
