"""RAY_ADDRESS, looked at before Ray is."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayfe.cli.job_command import main
from rayfe.exceptions import UsageError
from rayfe.on_ray import address as addresses
from rayfe.on_ray.address import SETTINGS, check_address, cluster_address

pytestmark = pytest.mark.usefixtures("cwd")


@contextlib.contextmanager
def listening(answer: bytes | None) -> Iterator[str]:
    """A service that answers every connection so; None: with nothing, but stays. Yields its address."""
    with socket.create_server(("", 0)) as server, contextlib.ExitStack() as kept:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection = kept.enter_context(server.accept()[0])
                    if answer is not None:
                        connection.recv(100)
                        connection.sendall(answer)
                        connection.shutdown(socket.SHUT_WR)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def closed() -> str:
    with socket.create_server(("", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8265", "ray://127.0.0.1:10001", "mycluster", " ", "h:x", "127.0.0.1:80", "h:99999"]
)
def test_what_is_no_address_of_a_head_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="10.0.0.5:6379") as refused:
        check_address(address)
    assert (refused.value.name, refused.value.value) == ("RAY_ADDRESS", address)


def test_a_dead_address_is_refused() -> None:
    with pytest.raises(UsageError, match="no Ray answers at"):
        check_address(closed())


@pytest.mark.parametrize("answer", [b"HTTP/1.0 400 Bad Request\r\n\r\n", b"", b"SSH"], ids=["web", "hangs up", "short"])
def test_a_port_without_ray_is_refused(answer: bytes) -> None:
    with listening(answer) as address, pytest.raises(UsageError, match="no Ray answers at"):
        check_address(address)


def test_a_port_that_says_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "WAIT", 0.2)
    with listening(None) as address, pytest.raises(UsageError, match="timed out"):
        check_address(address)


def test_a_server_of_grpc_is_taken() -> None:
    with listening(bytes([0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])) as address:
        check_address(address)


@pytest.mark.ray
def test_ray_itself_is_taken(ray_session: None) -> None:
    import ray

    check_address(ray.get_runtime_context().gcs_address)


@pytest.mark.parametrize("value", [None, "", "local"])
def test_without_a_cluster_ray_is_our_own(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if value is not None:
        monkeypatch.setenv("RAY_ADDRESS", value)
    assert cluster_address() is None


def test_a_job_says_it_in_one_line_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    for more in ([], ["--replicas-per-evaluator", "all"]):  # Ray is asked for the number of GPUs, or not before the run
        assert main("isoc", ["digits-smoke", *more]) == 2
        said = capsys.readouterr()
        assert said.err.startswith("RAY_ADDRESS http://127.0.0.1:8265: ")
        assert said.err.count("\n") == 1
    assert not Path("runs").exists()
