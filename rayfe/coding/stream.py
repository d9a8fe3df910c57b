"""What a coded stream is: a kind, numbers that both sides need, words of an entropy coder, and a checksum of all."""

from __future__ import annotations

import struct
import zlib
from types import ModuleType

import numpy as np

from rayfe.exceptions import NotDecoded

MISSING = "needs the package constriction: pip install 'rayfe[codec]'"


def coder() -> ModuleType:
    """Entropy coders (constriction, Bamler 2022).

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    try:
        import constriction
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(MISSING) from error

    return constriction.stream


def sealed(kind: bytes, head: bytes, words: np.ndarray) -> bytes:
    """A stream of a kind (4 bytes): its head, words (n,) uint32, and a checksum."""
    body = kind + struct.pack("<H", len(head)) + head + words.astype("<u4").tobytes()
    return body + struct.pack("<I", zlib.crc32(body))


def opened(kind: bytes, data: bytes) -> tuple[bytes, np.ndarray]:
    """Head and words of a stream.

    Raises:
        NotDecoded: it is of another kind, is cut short, or was changed.
    """
    if data[:4] != kind:
        raise NotDecoded(f"is no stream of kind {kind.decode()}")
    body, checksum = data[:-4], data[-4:]
    if len(data) < 10 or struct.pack("<I", zlib.crc32(body)) != checksum:
        raise NotDecoded("is not as it was written: its checksum is another")
    size = struct.unpack("<H", body[4:6])[0]
    rest = body[6 + size :]
    if len(body) < 6 + size or len(rest) % 4:
        raise NotDecoded("is not as it was written: its length is wrong")
    return body[6 : 6 + size], np.frombuffer(rest, "<u4").astype(np.uint32)


def check(values: np.ndarray) -> int:
    """A checksum of numbers, bit by bit."""
    return zlib.crc32(np.ascontiguousarray(values).tobytes())
