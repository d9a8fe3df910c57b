"""python -m rayfe status RUN [RUN...] [--with OTHER ...]: how far runs are, from what they stored; needs no cluster."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rayfe.cli.commands.parser import Parser
from rayfe.exceptions import in_shell_words, visible
from rayfe.report.overview import COLUMNS, as_json, overview
from rayfe.report.view import RunView, view_of
from rayfe.results.frames import bits_line
from rayfe.results.guaranteed import guarantee_line
from rayfe.results.printed import print_run
from rayfe.results.recommended import choice, recommended
from rayfe.run.progress import Output, line
from rayfe.storage.again import again
from rayfe.storage.store import Store
from rayfe.trajectory.standing import State

JSON = "\n".join(
    [
        "--json prints a list with an object a run: run, rayfe, title, recommended ({trajectory, step} or null) and",
        "trajectories, a list of",
        *(f"  {name:17} {meaning}" for name, meaning in COLUMNS.items()),
    ]
)


def main(arguments: list[str]) -> int:
    """Print the standing of every run named."""
    chosen = parser().parse_args(arguments)
    if chosen.json:
        views = [view_of(Store(location), chosen.others, readings=False) for location in chosen.runs]
        print(json.dumps([_told(view) for view in views], indent=2))
        return 0
    for location in chosen.runs:
        status(location, chosen.others)
    return 0


def parser() -> Parser:
    """Its arguments."""
    made = Parser("python -m rayfe status", "How far runs are, from what they stored; works while they go on.", after=JSON)
    made.runs()
    made.others()
    made.add_argument("--json", action="store_true", help="the same for programs, as JSON")
    return made


def status(location: str, others: Sequence[str] = ()) -> None:
    """Print the summary of a run, and of every trajectory its last attempted step and where it stands.

    Models of the runs `others` bound its F, too.
    """
    view = view_of(Store(location), others, readings=False)
    console = Output()
    if not console.is_terminal:
        console = Output(width=100)
    trained = "".join(f", {name}" for name in view.manifest.get("devices", []))
    print(visible(f"{view.store.url()}: {view.title}, rayfe {view.manifest.get('rayfe')}{trained}"))
    print_run(view.rows, view.config, console, view.certificates, view.models, location=location)
    for name, now in view.standing.items():
        print(f"{name}: {in_shell_words(now.dated)}")
        if rows := view.records.get(name):
            print(f"  last: {line(rows[-1])}")
    for text in filter(None, (bits_line(view.rows, view.manifest), guarantee_line(view.rows))):
        print(text)
    found = recommended(view.rows)
    if found is not None:
        print(f"recommended: {choice(found)}")
    states = {now.state for now in view.standing.values()}
    if State.RUNNING not in states and states & {State.STOPPED, State.FAILED}:
        on = again(view.store, view.manifest, view.config, view.store.url())
        print(visible(f"to go on: {on.command}{' with ' if on.needs else ''}{'; '.join(on.needs)}"))


def _told(view: RunView) -> dict[str, Any]:
    """A run as `JSON` describes it."""
    lines, found = overview(view, in_shell_words), recommended(view.rows)
    chosen = None if found is None else {"trajectory": str(found["trajectory"]), "step": int(found["step"])}
    told = {"run": view.store.url(), "rayfe": view.manifest.get("rayfe"), "title": view.title}
    return told | {"recommended": chosen, "trajectories": as_json(lines)}
