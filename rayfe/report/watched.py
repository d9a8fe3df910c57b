"""A run that is looked at again and again: read anew only when it has changed, and not lost when it is damaged or removed."""

from __future__ import annotations

import logging

from rayfe.exceptions import CorruptFile, visible
from rayfe.report.images import Album
from rayfe.report.live_server import Served, Server
from rayfe.report.page import embedded, html_of, page_of
from rayfe.report.view import view_of
from rayfe.storage.store import Store

log = logging.getLogger(__name__)


class Watched:
    """A run as it was at the last `look`."""

    def __init__(self, store: Store, *, root: str | None = None) -> None:
        """Raises as `view_of` does."""
        self._store, self._album = store, Album(root=root)
        self._served: Served | None = None
        self.version = store.stamp()
        """Changes when the run does."""
        self.view = view_of(store)
        """The run; what was last read of it, where there is `trouble`."""
        self.trouble: str | None = None
        """Why it cannot be shown, on one line."""

    def look(self) -> None:
        """Read the run if it has changed."""
        try:
            version = self._store.stamp()
            if version != self.version or self.trouble is not None:
                self.version, self._served = version, None
                self.view, self.trouble = view_of(self._store), None
        except Exception as error:  # damage takes any form
            self._note(error)

    def page(self) -> Served | str:
        """The page of the run, made once; the trouble, where there is some."""
        try:
            if self.trouble is None and self._served is None:
                page = page_of(self.view, self._album.gallery(self.view))
                content = {"version": self.version, "main": page.main, "content": page.content}
                self._served = Served(html=html_of(page, live=self.version).encode(), content=embedded(content).encode())
        except Exception as error:  # as above
            self._note(error)
        return self._served or str(self.trouble)

    def _note(self, error: Exception) -> None:
        log.info("the run cannot be shown", exc_info=error)
        what = "" if isinstance(error, FileNotFoundError | CorruptFile) else f"{type(error).__name__}: "
        self.trouble, self._served = visible(f"{what}{error}"), None


def answer(run: Watched, server: Server, *, pause: float) -> None:
    """Wait for `pause` seconds, or until somebody asks; then look at the run, and tell of it."""
    asked = server.asked.wait(pause)
    server.asked.clear()
    run.look()
    if asked:
        server.publish(run.page())
    server.announce(run.version)
