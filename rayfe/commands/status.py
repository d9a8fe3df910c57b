"""python -m rayfe status RUN [RUN...]: how far runs are, from what they stored; needs no cluster."""

from __future__ import annotations

from rich.console import Console

from rayfe.commands.parser import Parser
from rayfe.manifest import stored_config
from rayfe.progress import line, standing
from rayfe.store import Store, load_rows
from rayfe.summary_transfer import print_run


def main(arguments: list[str]) -> int:
    """Print the standing of every run named."""
    parser = Parser("status", "How far runs are, from what they stored; works while they go on.")
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folder or URI of a run")
    for location in parser.parse_args(arguments).runs:
        status(location)
    return 0


def status(location: str) -> None:
    """Print the summary of a run, and of every trajectory its last attempted step and where it stands."""
    store = Store(location)
    run, config = stored_config(store)
    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    print(f"{store.url()}: {run.get('job')} {run.get('preset')}, rayfe {run.get('rayfe')}")
    print_run(load_rows(location), config, console)
    for name in dict.fromkeys([*store.trajectories(), *config.trajectories()]):
        rows = store.rows(name)
        print(f"{name}: {standing(rows, config)}")
        if rows:
            print(f"  last: {line(rows[-1])}")
