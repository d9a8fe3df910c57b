"""python -m rayfe verify RUN [RUN ...]: whether everything that is stored of runs is as it was written. Nothing is changed."""

from __future__ import annotations

from rayfe.cli.commands.parser import Parser
from rayfe.exceptions import visible
from rayfe.storage.files import Files
from rayfe.storage.store import existing
from rayfe.storage.verification import faults, trajectories

DAMAGED = 1


def main(arguments: list[str]) -> int:
    """Print a line for each file that is missing or damaged. Exit code 0: none is; 1: some are; 2: there is no run."""
    parser = Parser(
        "python -m rayfe verify",
        "Whether all that is stored of runs is as it was written: reads every file, changes none. Exits with 1 if not.",
    )
    parser.runs()
    chosen = parser.parse_args(arguments)
    return max(verify(location) for location in chosen.runs)


def verify(location: str) -> int:
    """Print what is wrong with a run, and whether it is."""
    store, files = existing(location), Files(location)
    found = list(faults(files))
    for fault in found:
        what = "the same command mends it" if fault.heals else "there is no whole copy of it"
        print(visible(f"{files.url(fault.path)}: {fault.text}; {what}"))
    lost = sum(not fault.heals for fault in found)
    summary = f"{len(found)} files are missing or damaged, {lost} of them without a whole copy" if found else "whole"
    print(f"{visible(store.url())}: {len(trajectories(files))} trajectories, {summary}")
    return DAMAGED if found else 0
