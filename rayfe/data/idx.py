"""IDX files: the format of MNIST and of the data sets made in its image."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rayfe.data.examples import Examples

TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
VALIDATION = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def parse_idx(content: bytes) -> np.ndarray:
    """The uint8 array in `content`.

    Raises:
        ValueError: not an IDX file of unsigned bytes, or one of the wrong length.
    """
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ValueError("is not an IDX file of unsigned bytes")
    start = 4 + 4 * content[3]
    shape = tuple(int.from_bytes(content[place : place + 4], "big") for place in range(4, start, 4))
    if len(content) != start + math.prod(shape):
        raise ValueError("is an IDX file of the wrong length")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()  # the copy is writable, as torch wants it


def read_idx_split(folder: Path, names: tuple[str, str], *, classes: int, sha256: Mapping[str, str] | None = None) -> Examples:
    """Images (N, 1, H, W) and labels from two IDX files in `folder`, each gzipped (`NAME.gz`) or not (`NAME`).

    With `sha256` (by file name) only the files that it names are read, and only if they have that digest.

    Raises:
        OSError: a file is absent or cannot be read.
        ValueError: a file is damaged, or the two do not belong together; the message begins with a file name.
    """
    images, labels = (_read(folder, name, sha256) for name in names)
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or images.size == 0:
        raise ValueError(f"{names[0]} of shape {images.shape} does not belong to {names[1]} of shape {labels.shape}")
    if labels.max() >= classes:
        raise ValueError(f"{names[1]} has a label above {classes - 1}")
    return Examples(x=images[:, None], y=labels.astype(np.int64))


def digest(examples: Examples) -> str:
    """SHA-256 of the images and labels themselves, however their files are packed."""
    found = hashlib.sha256(examples.x.tobytes())
    found.update(examples.y.tobytes())
    return found.hexdigest()


def _read(folder: Path, name: str, sha256: Mapping[str, str] | None) -> np.ndarray:
    zipped = folder / f"{name}.gz"
    path = zipped if sha256 is not None or zipped.is_file() else folder / name
    content = path.read_bytes()
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256[path.name]:
        raise ValueError(f"{path.name} is damaged (its SHA-256 differs)")
    try:
        return parse_idx(gzip.decompress(content) if path == zipped else content)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise ValueError(f"{path.name} is damaged (not a whole gzip file)") from None
    except ValueError as error:
        raise ValueError(f"{path.name} {error}") from None
