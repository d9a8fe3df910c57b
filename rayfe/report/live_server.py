"""A local HTTP server of one page: the page, its newest content, and an event for each new version."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import secrets
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

LOOPBACK = "127.0.0.1"
MOST = 200
"""Open connections; beyond them the oldest that has not asked yet is closed."""
TO_ASK, TO_TAKE = 10.0, 20.0
"""Seconds in which a client must have sent its request, and have taken a part of the answer."""
ALIVE = 15.0
"""Seconds between events when nothing is new: a client that is gone is found out by them."""
CHUNK = 1 << 16
"""Bytes of such a part."""
HEADERS: Mapping[str, str] = MappingProxyType(
    {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """What clients get: `html` is the whole page, `content` is JSON with its newest content."""

    html: bytes
    content: bytes


class Server:
    """Serves from a thread of its own what its owner publishes. A context manager.

    The owner waits for `asked` and then answers by `publish`; `announce` tells clients that there is a new version. Where others
    than this machine can reach it, the page has a token in its address.
    """

    def __init__(self, host: str, port: int) -> None:
        """Raises OSError, OverflowError: it cannot listen there."""
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        self._socket = socket.create_server((host, port), family=family)
        self.address, self.port = self._socket.getsockname()[:2]
        self.token = None if self.is_local else secrets.token_urlsafe(16)
        self.asked = threading.Event()
        """Somebody waits for what `publish` gives."""
        mine = [] if self.is_local else [socket.gethostname(), socket.getfqdn(), *_addresses()]
        self._names = {name.lower() for name in (host, self.address, "localhost", LOOPBACK, *mine)}
        self._version, self._changed = "", asyncio.Event()
        self._waiting: set[asyncio.Future[Served | str]] = set()
        self._loop, self._ended = asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.address.partition("%")[0]).is_loopback

    @property
    def url(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        query = "" if self.token is None else f"?token={self.token}"
        return f"http://{host}:{self.port}/{query}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._socket.close()

    def publish(self, page: Served | str) -> None:
        """Answer all who wait: with the page, or with one line that says why there is none."""
        self._loop.call_soon_threadsafe(self._answer, page)

    def announce(self, version: str) -> None:
        """Tell clients that this version can be had."""
        self._loop.call_soon_threadsafe(self._tell, version)

    def _answer(self, page: Served | str) -> None:
        for waiting in self._waiting:
            if not waiting.done():  # its client may have left
                waiting.set_result(page)
        self._waiting.clear()

    def _tell(self, version: str) -> None:
        if version != self._version:
            self._version, changed, self._changed = version, self._changed, asyncio.Event()
            changed.set()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        runner = web.ServerRunner(_Limited(self._handle))
        await runner.setup()
        await web.SockSite(runner, self._socket).start()
        await self._ended.wait()  # tasks of connections are cancelled then

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if (refused := self._refused(request)) is not None:
            return refused
        if request.path == "/events":
            return await self._events(request)
        waiting: asyncio.Future[Served | str] = self._loop.create_future()
        self._waiting.add(waiting)
        self.asked.set()
        page = await waiting
        if isinstance(page, str):
            return _text(503, page)
        if request.path == "/":
            return await _sent(request, page.html, "text/html; charset=utf-8")
        return await _sent(request, page.content, "application/json")

    def _refused(self, request: web.BaseRequest) -> web.StreamResponse | None:
        if not self.allows(request.headers.get("Host", "")):
            return _text(403, "this page is for the machine it runs on")
        given = parse_qs(request.query_string).get("token", [""])[0]
        if self.token is not None and not hmac.compare_digest(given.encode(), self.token.encode()):
            return _text(403, "this page needs its whole address, with the token that python -m rayfe watch shows")
        if request.path not in ("/", "/content", "/events"):
            return _text(404, "nothing here")
        return None if request.method == "GET" else _text(405, "this page can only be read")

    def allows(self, host: str) -> bool:
        """Whether a request names this server: other names come from pages that point theirs at this machine."""
        try:
            return urlsplit(f"//{host}").hostname in self._names
        except ValueError:
            return False

    async def _events(self, request: web.BaseRequest) -> web.StreamResponse:
        response = _response("text/event-stream")
        await response.prepare(request)
        while True:
            changed = self._changed
            await _taken(response, f"data: {self._version}\n\n".encode())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ALIVE):
                    await changed.wait()


class _Limited(web.Server):
    """A server of so many connections, each of which asks once, and in time."""

    def __init__(self, handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(self._once, access_log=None, lingering_time=0.0)
        self._handle = handle
        self._silent: dict[object, Callable[[], None]] = {}
        """How connections are ended that have not asked so far, the oldest first."""

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._silent[handler] = transport.abort
        loop = asyncio.get_running_loop()
        if len(self.connections) > MOST:  # taken out at once: others come before it is closed
            loop.call_soon(self._silent.pop(next(iter(self._silent))))
        loop.call_later(TO_ASK, self._end, handler)

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        self._silent.pop(handler, None)
        super().connection_lost(handler, exc)

    def _end(self, handler: object) -> None:
        if handler in self._silent:
            self._silent.pop(handler)()

    async def _once(self, request: web.BaseRequest) -> web.StreamResponse:
        self._silent.pop(request.protocol, None)
        try:
            return await self._handle(request)
        except ConnectionError:  # the client has left, or took nothing in time; nobody gets this answer
            if request.transport is not None:
                request.transport.abort()
            return _text(408, "gone")


def _response(kind: str, status: int = 200) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers=dict(HEADERS) | {"Content-Type": kind})
    response.force_close()
    return response


def _text(status: int, text: str) -> web.StreamResponse:
    response = web.Response(status=status, text=text, headers=HEADERS)
    response.force_close()
    return response


async def _sent(request: web.BaseRequest, body: bytes, kind: str) -> web.StreamResponse:
    response = _response(kind)
    response.content_length = len(body)
    await response.prepare(request)
    for start in range(0, len(body), CHUNK):  # a client that does not read holds one part, not the page
        await _taken(response, body[start : start + CHUNK])
    await response.write_eof()
    return response


async def _taken(response: web.StreamResponse, part: bytes) -> None:
    """Send a part.

    Raises:
        ConnectionError: the client has left, or did not take it in time.
    """
    try:
        async with asyncio.timeout(TO_TAKE):
            await response.write(part)
    except TimeoutError as error:
        raise ConnectionResetError("the client took nothing") from error


def _addresses() -> list[str]:
    """Addresses of this machine, as far as its name is known to have them."""
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(socket.gethostname(), None)]
    except OSError:
        return []
