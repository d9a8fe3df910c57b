"""python -m rayfe watch RUN [RUN ...]: the page of runs while they go on, served locally, and their rows on the terminal."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, NoReturn, Self

from rayfe.cli.commands.parser import Parser, Refused, trusted, typed
from rayfe.config.checks import at_least
from rayfe.exceptions import shown
from rayfe.records import StepRecord
from rayfe.report.live_server import LOOPBACK, Server
from rayfe.report.view import RunView
from rayfe.report.watched import Watched, answer
from rayfe.run.progress import Progress, line
from rayfe.storage.manifest import stored_config
from rayfe.storage.store import Store

PORT = 8765
PAUSE = 2.0
"""Seconds between looks at the store."""


def main(arguments: list[str]) -> NoReturn:
    """Serve until a signal comes."""
    parser = Parser(
        "python -m rayfe watch",
        "Serve the page of a run, or one of several, refreshed as rows arrive; Ctrl-C ends it, not the runs.",
    )
    parser.runs()
    parser.add_argument(
        "--port",
        type=typed(Annotated[int, at_least(0, 65535)]),
        default=PORT,
        help=f"port of the page ({PORT}); 0: any free one",
    )
    text = f"address to listen on ({LOOPBACK}: this machine only); elsewhere the page's address has a token"
    parser.add_argument("--host", default=LOOPBACK, help=text)
    parser.add_argument("--data.root", dest="root", metavar="FOLDER", help="folder of the run's data, for its reconstructions")
    parser.trust()
    chosen = parser.parse_args(arguments)
    for place in chosen.runs if chosen.trust else ():
        trusted(stored_config(Store(place))[0], trust=True)
    watched = Watched(chosen.runs, root=chosen.root)
    try:
        server = Server(chosen.host, chosen.port)
    except (OSError, UnicodeError) as error:
        taken = getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES)
        what = f"--port {chosen.port}" if taken else f"--host {shown(chosen.host)}"
        fix = "--port 0 takes any free one" if taken else f"leave it away for {LOOPBACK}"
        raise Refused(f"{what}: cannot listen on {shown(chosen.host)} ({error}); {fix}") from error
    with server:
        what = ", ".join(Store(place).url() for place in chosen.runs)
        go = "the run goes on" if len(chosen.runs) == 1 else "the runs go on"
        print(f"watching {what}; Ctrl-C ends watching, {go}: {server.url}", flush=True)
        follow(watched, server)


def follow(watched: Watched, server: Server) -> NoReturn:
    """Show rows on the terminal as they arrive, and give the page to whoever asks, until interrupted."""
    seen = {label: _counted(view) for label, view in watched.views.items()}
    said = None
    (first, *others) = watched.views.values()
    with _Lines(watched.views) if others else Progress(first.config, first.records) as progress:
        while True:
            answer(watched, server, pause=PAUSE)
            for label, view in watched.views.items():
                for name, rows in view.records.items():
                    for record in rows[seen[label].get(name, 0) :]:
                        progress.row(replace(record, trajectory=f"{label}: {name}") if others else record)
                seen[label] = _counted(view)
            if watched.trouble not in (None, said):
                progress.event(f"cannot be shown: {watched.trouble}")
            said = watched.trouble


class _Lines:
    """What `Progress` is for one run, of several: a line a row. A context manager."""

    def __init__(self, views: Mapping[str, RunView]) -> None:
        self._views = views

    def __enter__(self) -> Self:
        for label, view in self._views.items():
            for name, now in view.standing.items():
                self.event(f"{label}: {name}: {now}")
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def row(self, record: StepRecord) -> None:
        self.event(line(record))

    def event(self, text: str) -> None:
        print(text, flush=True)


def _counted(view: RunView) -> dict[str, int]:
    return {name: len(rows) for name, rows in view.records.items()}
