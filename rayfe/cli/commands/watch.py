"""python -m rayfe watch RUN: the report of a run while it goes on, served locally, and its table on the terminal."""

from __future__ import annotations

import contextlib
import signal
from types import FrameType

from rayfe.cli.commands.parser import Parser, Refused, trusted
from rayfe.report.live_server import LOOPBACK, Server
from rayfe.report.watched import Watched, answer
from rayfe.run.progress import Progress
from rayfe.signals import TERMINATED, Terminated
from rayfe.storage.manifest import stored_config
from rayfe.storage.store import Store

PORT = 8765
PAUSE = 2.0
"""Seconds between looks at the store."""


def main(arguments: list[str]) -> int:
    """Serve until Ctrl-C."""
    parser = Parser("watch", "Serve a run's page on this machine, refreshed as rows arrive; Ctrl-C ends it, not the run.")
    parser.run()
    parser.add_argument("--port", type=int, default=PORT, help=f"port of the page ({PORT}); 0: any free one")
    text = f"address to listen on ({LOOPBACK}: this machine only); elsewhere the page's address has a token"
    parser.add_argument("--host", default=LOOPBACK, help=text)
    parser.add_argument("--data.root", dest="root", metavar="FOLDER", help="folder of the run's data, for its reconstructions")
    parser.trust()
    chosen = parser.parse_args(arguments)
    store = Store(chosen.run)
    run, _ = stored_config(store)
    if chosen.trust:
        trusted(run, trust=True)
    try:
        server = Server(chosen.host, chosen.port)
    except (OSError, OverflowError) as error:
        raise Refused(f"--port {chosen.port}: cannot listen on {chosen.host} ({error}); --port 0 takes any free one") from error
    # also where a shell started this in the background, which ignores SIGINT
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminate)
    ended = 0
    try:
        with contextlib.suppress(KeyboardInterrupt), server:
            print(f"watching {store.url()} at {server.url}; Ctrl-C ends watching, the run goes on", flush=True)
            follow(Watched(store, root=chosen.root), server)
    except Terminated:
        ended = TERMINATED
    print("stopped watching", flush=True)
    return ended


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def follow(run: Watched, server: Server) -> None:
    """Show rows on the terminal as they arrive, and give the page to whoever asks, until interrupted."""
    seen = {name: len(rows) for name, rows in run.view.records.items()}
    said = None
    with Progress(run.view.config, run.view.records) as progress:
        while True:
            answer(run, server, pause=PAUSE)
            for name, rows in run.view.records.items():
                for record in rows[seen.get(name, 0) :]:
                    progress.row(record)
                seen[name] = len(rows)
            if run.trouble not in (None, said):
                progress.event(f"cannot be shown: {run.trouble}")
            said = run.trouble
