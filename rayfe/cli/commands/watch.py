"""python -m rayfe watch RUN: the report of a run while it goes on, served locally, and its table on the terminal."""

from __future__ import annotations

import threading
import time

from rayfe.cli.commands.parser import Parser, Refused
from rayfe.report.live_server import LOOPBACK, LivePage, Server
from rayfe.run.progress import Progress
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
    parser.add_argument("--host", default=LOOPBACK, help=f"address to listen on ({LOOPBACK}: this machine only)")
    parser.add_argument("--data.root", dest="root", metavar="FOLDER", help="folder of the run's data, for its reconstructions")
    chosen = parser.parse_args(arguments)
    store = Store(chosen.run)
    stored_config(store)  # there is a run
    try:
        server = Server((chosen.host, chosen.port), LivePage(store, root=chosen.root))
    except (OSError, OverflowError) as error:
        raise Refused(f"--port {chosen.port}: cannot listen on {chosen.host} ({error}); --port 0 takes any free one") from error
    thread = threading.Thread(target=server.serve_forever, name="watch", daemon=True)
    thread.start()
    print(f"watching {store.url()} at {server.url}; Ctrl-C ends watching, the run goes on", flush=True)
    if not server.is_local:
        print(f"note: everybody who reaches {chosen.host} can read this page", flush=True)
    try:
        follow(store)
    except KeyboardInterrupt:
        print("stopped watching", flush=True)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    return 0


def follow(store: Store) -> None:
    """Show rows on the terminal as they arrive, until interrupted."""
    rows = {name: store.rows(name) for name in store.trajectories()}
    seen = {name: len(found) for name, found in rows.items()}
    stamp = store.stamp()
    with Progress(stored_config(store)[1], rows) as progress:
        while True:
            time.sleep(PAUSE)
            if (now := store.stamp()) == stamp:
                continue
            stamp = now
            for name in store.trajectories():
                found = store.rows(name)
                for record in found[seen.get(name, 0) :]:
                    progress.row(record)
                seen[name] = len(found)
