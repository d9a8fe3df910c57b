"""A local HTTP server of one page: the page, its version, and its newest content."""

from __future__ import annotations

import http.server
import ipaddress
import json
import logging
import threading
from http import HTTPStatus

from rayfe.exceptions import CorruptFile
from rayfe.report.images import Album
from rayfe.report.page import Page, embedded, html_of, page_of
from rayfe.report.view import view_of
from rayfe.storage.store import Store

log = logging.getLogger(__name__)
LOOPBACK = "127.0.0.1"


class LivePage:
    """The page of a run as it is now; made anew only when rows have come."""

    def __init__(self, store: Store, *, root: str | None = None) -> None:
        self._store = store
        self._album = Album(root=root)
        self._lock = threading.Lock()
        self._made: tuple[str, Page] | None = None

    def version(self) -> str:
        """Changes when the run's rows do."""
        return self._store.stamp()

    def html(self) -> str:
        """The whole page, which asks for newer content by itself."""
        version, page = self._page()
        return html_of(page, live=version)

    def content(self) -> str:
        """JSON: version, main (HTML) and content (what the page's script draws)."""
        version, page = self._page()
        return embedded({"version": version, "main": page.main, "content": page.content})

    def _page(self) -> tuple[str, Page]:
        with self._lock:
            version = self.version()
            if self._made is None or self._made[0] != version:
                view = view_of(self._store)
                self._made = version, page_of(view, self._album.gallery(view))
            return self._made


class Server(http.server.ThreadingHTTPServer):
    """Serves one page at `address`."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], page: LivePage) -> None:
        self.page = page
        super().__init__(address, _Handler)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        host = str(self.server_address[0])
        return ipaddress.ip_address(host).is_loopback

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}/"

    def allows(self, host: str | None) -> bool:
        """Whether a request names this server: other names come from pages that point theirs at this machine."""
        name = (host or "").rpartition(":")[0] or host
        return not self.is_local or name in (str(self.server_address[0]), "localhost", LOOPBACK)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:  # the name is the standard library's
        page = self.server.page
        parts = {
            "/": (page.html, "text/html"),
            "/version": (page.version, "text/plain"),
            "/content": (page.content, "application/json"),
        }
        path = self.path.partition("?")[0]
        if not self.server.allows(self.headers.get("Host")):
            self.send_error(HTTPStatus.FORBIDDEN, "this page is for the machine it runs on")
        elif path not in parts:
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            make, kind = parts[path]
            self._send(make, kind)

    def _send(self, make: object, kind: str) -> None:
        assert callable(make)
        try:
            body = make().encode()
        except (CorruptFile, FileNotFoundError) as error:  # e.g. a run that is being removed
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, json.dumps(str(error)))
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        log.debug(format, *arguments)  # the terminal shows the run
