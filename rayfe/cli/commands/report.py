"""python -m rayfe report RUN [RUN ...] [--to FILE] [--with OTHER ...]: write a run's page again, or one page of several runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rayfe.cli.commands.parser import Parser, Refused, trusted
from rayfe.exceptions import StorageError, StorageFull, visible
from rayfe.report.at_hand import AtHand
from rayfe.report.images import Album
from rayfe.report.page import REPORT, html_of, page_of
from rayfe.report.predicted import Predictor
from rayfe.report.several import page_of_several
from rayfe.report.view import view_of, views_of
from rayfe.storage.errors import as_bad_input
from rayfe.storage.local import replace_together
from rayfe.storage.manifest import stored_config
from rayfe.storage.store import Store


def main(arguments: list[str]) -> int:
    """Write the page and print where it is."""
    parser = Parser(
        "python -m rayfe report",
        "Write a run's page, or one of several runs: a file that opens without a network. Works while runs go on.",
    )
    parser.runs()
    parser.add_argument("--to", metavar="FILE", help="write it to this file; RUN/report.html without it, of one run")
    parser.add_argument("--data.root", dest="root", metavar="FOLDER", help="folder of the run's data, for its reconstructions")
    parser.others()
    parser.trust()
    chosen = parser.parse_args(arguments)
    if len(chosen.runs) > 1:
        return _of_several(chosen.runs, chosen.to, chosen.others)
    store = Store(chosen.runs[0])
    if chosen.trust:
        trusted(stored_config(store)[0], trust=True)
    view, here = view_of(store, chosen.others), AtHand(root=chosen.root)
    found = Predictor(here).predictions(view)
    text = html_of(page_of(view, Album(here).gallery(view), found))
    for sentence in found.sentences if found else ():
        print(visible(sentence))
    return _said(_kept(store, text) if chosen.to is None else _written(text, chosen.to), text)


def _of_several(runs: Sequence[str], to: str | None, others: Sequence[str]) -> int:
    if to is None:
        raise Refused("--to: the page of several runs has no run to lie in; give a file, e.g. --to page.html")
    text = html_of(page_of_several(views_of(runs, others)))
    return _said(_written(text, to), text)


def _kept(store: Store, text: str) -> str:
    try:
        return store.url(store.write_text(REPORT, text))
    except StorageFull:
        raise
    except StorageError as error:
        raise Refused(f"{error}, or give --to FILE") from error


def _written(text: str, place: str) -> str:
    with as_bad_input("to", place):
        replace_together({Path(place): text.encode()})
    return place


def _said(place: str, text: str) -> int:
    print(f"report: {visible(place)} ({len(text.encode()) / 1e6:.1f} MB)")
    return 0
