"""The server of `watch`: who is answered, who is not, and that slow clients cost little."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rayfe.report import live_server
from rayfe.report.live_server import Served, Server

PAGE = Served(html=b"<p>page</p>", content=b"{}")


@pytest.fixture
def serving() -> Iterator[Callable[..., Server]]:
    """Starts servers of one page (or of what is given)."""
    ended, started = threading.Event(), []

    def answer(server: Server, page: Served | str) -> None:
        while not ended.is_set():
            if server.asked.wait(0.05):
                server.asked.clear()
                server.publish(page)

    def start(host: str = "127.0.0.1", page: Served | str = PAGE) -> Server:
        server = Server(host, 0).__enter__()
        thread = threading.Thread(target=answer, args=(server, page))
        thread.start()
        started.append((server, thread))
        return server

    yield start
    ended.set()
    for server, thread in started:
        thread.join()
        server.__exit__(None, None, None)


def get(server: Server, path: str = "/", host: str | None = None, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(server.address, server.port, timeout=120)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    return answer.status, answer.read()


def silent(server: Server, sent: bytes = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n") -> socket.socket:
    """A connection that does not end its request."""
    client = socket.create_connection((server.address, server.port), timeout=120)
    client.sendall(sent)
    return client


def is_closed(client: socket.socket) -> bool:
    """Whether the server has closed the connection, waiting for that."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_page_and_content_are_served_and_nothing_else(serving: Callable[..., Server]) -> None:
    server = serving()
    assert get(server) == (200, PAGE.html)
    assert get(server, "/content") == (200, PAGE.content)
    assert get(server, "/run.json")[0] == 404
    assert get(server, method="POST")[0] == 405
    assert get(serving(page="no run at /x"))[:2] == (503, b"no run at /x")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost:9", "LOCALHOST"])
def test_this_machine_is_answered(serving: Callable[..., Server], name: str) -> None:
    assert get(serving(), host=name)[0] == 200


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", "[", "", "user@evil.example:80"])
def test_other_names_are_refused(serving: Callable[..., Server], name: str) -> None:
    assert get(serving(), host=name)[0] == 403
    assert not serving("0.0.0.0").allows(name)


def test_ipv6_is_served(serving: Callable[..., Server]) -> None:
    server = serving("::1")
    assert server.url.startswith("http://[::1]:")
    assert get(server, host="[::1]:80")[0] == 200


def test_where_others_can_reach_it_the_address_has_a_token(serving: Callable[..., Server]) -> None:
    server = serving("0.0.0.0")
    assert server.token is not None and server.url.endswith(f"/?token={server.token}")
    assert serving("0.0.0.0").token != server.token
    for path in ("/", "/content", "/events", "/?token=", f"/?token={server.token}x", "/?token=%ff"):
        assert get(server, path, host="localhost")[0] == 403
    assert get(server, f"/?token={server.token}", host="localhost")[0] == 200
    assert get(server, f"/?token={server.token}", host=socket.gethostname())[0] == 200
    assert get(server, f"/?token={server.token}", host="evil.example")[0] == 403


def test_an_event_tells_of_each_version(serving: Callable[..., Server]) -> None:
    server = serving()
    server.announce("first")
    client = silent(server, b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with client.makefile("rb") as events:
        lines = (line for line in events if line.startswith(b"data: "))
        assert next(lines) == b"data: first\n"
        server.announce("second")
        assert next(lines) == b"data: second\n"


def test_a_client_that_does_not_ask_is_cut_off(serving: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_server, "TO_ASK", 0.2)
    assert is_closed(silent(serving()))


def test_a_client_that_does_not_read_is_cut_off(serving: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_server, "TO_TAKE", 0.2)
    given_up, taken_by = threading.Event(), live_server._taken

    async def taken_or_not(*arguments: Any) -> None:
        try:
            await taken_by(*arguments)
        except ConnectionError:
            given_up.set()
            raise

    monkeypatch.setattr(live_server, "_taken", taken_or_not)
    server = serving(page=Served(html=b"x" * (64 << 20), content=b""))  # more than the system's buffers hold
    client = silent(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    given_up.wait()
    taken = 0
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(1 << 20):
            taken += len(part)
    assert taken < 64 << 20


def test_clients_that_come_at_once_are_held_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_server, "MOST", 5)
    monkeypatch.setattr(live_server, "TO_ASK", 100.0)
    server = Server("127.0.0.1", 0)
    clients = [silent(server) for _ in range(20)]  # all wait to be accepted when it starts
    with server:
        assert all(is_closed(client) for client in clients[:15])


def test_clients_that_do_not_ask_make_room_for_those_that_do(
    serving: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_server, "MOST", 5)
    server, threads = serving(), threading.active_count()
    clients = [silent(server) for _ in range(20)]
    assert get(server) == (200, PAGE.html)
    assert all(is_closed(client) for client in clients[:10])
    assert threading.active_count() == threads
