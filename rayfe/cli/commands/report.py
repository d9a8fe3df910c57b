"""python -m rayfe report RUN [--to FILE] [--with OTHER ...]: write the run's page again."""

from __future__ import annotations

from pathlib import Path

from rayfe.cli.commands.parser import Parser, Refused, trusted
from rayfe.report.page import REPORT, report_of
from rayfe.report.view import view_of
from rayfe.storage.local import replace_together
from rayfe.storage.store import Store


def main(arguments: list[str]) -> int:
    """Write the page and print where it is."""
    parser = Parser("report", "Write a run's page: one file that opens without a network. Works while the run goes on.")
    parser.run()
    parser.add_argument("--to", metavar="FILE", help="write it to this file; RUN/report.html without it")
    parser.add_argument("--data.root", dest="root", metavar="FOLDER", help="folder of the run's data, for its reconstructions")
    parser.others()
    parser.trust()
    chosen = parser.parse_args(arguments)
    store = Store(chosen.run)
    if chosen.trust:
        trusted(store.read_config(), trust=True)
    text = report_of(view_of(store, chosen.others), root=chosen.root)
    if chosen.to is None:
        place = store.url(store.write_text(REPORT, text))
    else:
        place = chosen.to
        try:
            replace_together({Path(place): text.encode()})
        except OSError as error:
            raise Refused(f"--to {place}: cannot be written ({error.strerror}); give a file in a folder that exists") from error
    print(f"report: {place} ({len(text.encode()) / 1e6:.1f} MB)")
    return 0
