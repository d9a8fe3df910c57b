"""The cluster that RAY_ADDRESS names, looked at before Ray is: Ray itself would try a dead address for two minutes."""

from __future__ import annotations

import os
import socket
from typing import Any

import ray

from rayfe.exceptions import UsageError

NAME = "RAY_ADDRESS"
FIX = "give host:port of the cluster's head, such as 10.0.0.5:6379, on a machine of that cluster; or unset it to use this machine alone"
WAIT = 10.0
"""Seconds for a machine to answer."""
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How a connection of gRPC, in which Ray speaks, begins: the preface of HTTP/2 and empty settings."""
SETTINGS = 4
"""The kind of the frame that is answered, in its fourth byte."""


def cluster_address() -> str | None:
    """RAY_ADDRESS where it names a cluster; None: a Ray of our own is to be started on this machine."""
    address = os.environ.get(NAME)
    return None if address in (None, "", "local") else address


def check_address(address: str) -> None:
    """Whether something that may be Ray listens at this `RAY_ADDRESS`.

    Raises:
        UsageError: it does not.
    """
    if "://" in address:
        kind = "Ray Client" if address.startswith("ray://") else "another service of Ray's"
        raise UsageError(NAME, address, f"is the address of {kind}; {FIX}, or send the job there by `ray job submit`")
    services: Any = ray._private.services
    try:
        host, port = services.extract_ip_port(services.canonicalize_bootstrap_address(address))
    except Exception as error:  # Ray has many words for it
        raise UsageError(NAME, address, f"{_line(error)}; {FIX}") from error
    try:
        with socket.create_connection((host, port), timeout=WAIT) as connection:
            if os.environ.get("RAY_USE_TLS", "0") == "0":
                _greet(connection)
    except OSError as error:
        raise UsageError(NAME, address, f"no Ray answers at {host}:{port} ({_line(error)}); {FIX}") from error


def refused(address: str, error: Exception) -> UsageError:
    """Ray's own error on the way to this address, as one line."""
    return UsageError(NAME, address, f"Ray there cannot be joined ({_line(error)}); {FIX}")


def _greet(connection: socket.socket) -> None:
    connection.settimeout(WAIT)
    connection.sendall(HELLO)
    answer = b""
    while len(answer) < 4:
        more = connection.recv(4 - len(answer))
        if not more:
            raise ConnectionError("it hung up")
        answer += more
    if answer[3] != SETTINGS:
        raise ConnectionError("another service listens there")


def _line(error: Exception) -> str:
    """The first line of an error's text, or its kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
