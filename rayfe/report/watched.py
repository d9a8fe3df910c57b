"""Runs that are looked at again and again: read anew only when they have changed, and not lost when one is damaged or removed."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from rayfe.exceptions import CorruptFile, StorageError, visible
from rayfe.figures.frames import labels_of
from rayfe.report.at_hand import AtHand
from rayfe.report.images import Album
from rayfe.report.live_server import Served, Server
from rayfe.report.page import Page, embedded, html_of, page_of
from rayfe.report.predicted import Predictor
from rayfe.report.several import page_of_several
from rayfe.report.view import RunView, view_of
from rayfe.storage.store import Store

log = logging.getLogger(__name__)


class Watched:
    """Runs as they were at the last `look`."""

    def __init__(self, places: Sequence[str], *, root: str | None = None) -> None:
        """Raises as `view_of` does; ValueError: a run is named twice."""
        self._stores = dict(zip(labels_of(places), map(Store, places), strict=True))
        here = AtHand(root=root)
        self._album, self._predictor = Album(here), Predictor(here)
        self._served: Served | None = None
        self._stamps = self._stamped()
        self.views: dict[str, RunView] = {}
        """The runs by their labels; what was last read of them, where there is `trouble`."""
        self.trouble: str | None = None
        """Why they cannot be shown, on one line."""
        for label in self._stores:
            self.views[label] = self._read(label)

    @property
    def version(self) -> str:
        """Changes when a run does."""
        return " ".join(self._stamps.values())

    def look(self) -> None:
        """Read the runs that have changed."""
        try:
            stamps = self._stamped()
            if stamps != self._stamps or self.trouble is not None:
                before, self._stamps, self._served = self._stamps, stamps, None
                for label in [one for one in stamps if self.trouble is not None or stamps[one] != before[one]]:
                    self.views[label] = self._read(label)
                self.trouble = None
        except Exception as error:  # damage takes any form
            self._note(error)

    def page(self) -> Served | str:
        """The page of the runs, made once; the trouble, where there is some."""
        try:
            if self.trouble is None and self._served is None:
                (first, *others) = self.views.values()
                page = page_of_several(self.views) if others else self._page_of(first)
                content = {"version": self.version, "main": page.main, "content": page.content}
                self._served = Served(html=html_of(page, live=self.version).encode(), content=embedded(content).encode())
        except Exception as error:  # as above
            self._note(error)
        return self._served or str(self.trouble)

    def _page_of(self, view: RunView) -> Page:
        return page_of(view, self._album.gallery(view), self._predictor.predictions(view))

    def _stamped(self) -> dict[str, str]:
        return {label: store.stamp() for label, store in self._stores.items()}

    def _read(self, label: str) -> RunView:
        return view_of(self._stores[label], readings=len(self._stores) == 1, before=self.views.get(label))

    def _note(self, error: Exception) -> None:
        log.info("a run cannot be shown", exc_info=error)
        what = "" if isinstance(error, FileNotFoundError | StorageError | CorruptFile) else f"{type(error).__name__}: "
        self.trouble, self._served = visible(f"{what}{error}"), None


def answer(watched: Watched, server: Server, *, pause: float) -> None:
    """Wait for `pause` seconds, or until somebody asks; then look at the runs, and tell of them."""
    asked = server.asked.wait(pause)
    server.asked.clear()
    watched.look()
    if asked:
        server.publish(watched.page())
    server.announce(watched.version)
