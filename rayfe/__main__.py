"""python -m rayfe status RUN [RUN...]: how far runs are, from what they stored; needs no cluster."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console

from rayfe.config import RunConfig, UsageError, from_flat
from rayfe.files import CorruptFile
from rayfe.progress import line, standing
from rayfe.store import Store, load_rows
from rayfe.summary_transfer import print_run

USAGE = "usage: python -m rayfe status RUN [RUN...]   how far runs are (folders or URIs); works while they go on"
SETS = ("lam", "gamma", "seed")


def main(argv: list[str]) -> int:
    """Exit code of `python -m rayfe ARGV`: 0, or 2 with one line on stderr."""
    if argv[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    if argv[:1] != ["status"]:
        what = f"{argv[0]}: unknown command; " if argv else ""
        print(f"{what}{USAGE}", file=sys.stderr)
        return 2
    if not argv[1:] or argv[1].startswith("-"):
        print(USAGE, file=sys.stdout if argv[1:2] in (["-h"], ["--help"]) else sys.stderr)
        return 0 if argv[1:2] in (["-h"], ["--help"]) else 2
    try:
        for location in argv[1:]:
            status(location)
    except (FileNotFoundError, CorruptFile, UsageError) as error:
        print(str(error).replace("\n", " "), file=sys.stderr)
        return 2
    return 0


def status(location: str) -> None:
    """Print the summary of a run, and of every trajectory its last attempted step and where it stands."""
    store = Store(location)
    run = store.read_config()
    config = _config(run, store)
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


def _config(run: dict[str, Any], store: Store) -> RunConfig:
    """The stored configuration as far as it says where a trajectory stands."""
    try:
        return from_flat({name: run["config"][name] for name in (*SETS, "steps", "tolerance")} | run["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFile(store.url("run.json"), f"is not the configuration of a run ({error})") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
