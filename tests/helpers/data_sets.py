"""IDX files to load, and the one line with which a data set is refused."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from rayfe.config import DataConfig
from rayfe.data.datasets import load
from rayfe.data.idx import TRAIN, VALIDATION
from rayfe.exceptions import UsageError, dashed, in_shell_words


def refusal(config: DataConfig, field: str) -> str:
    """The one line with which `load` refuses `config` because of `field`."""
    with pytest.raises(UsageError) as caught:
        load(config)
    message = in_shell_words(caught.value)
    assert caught.value.name == field
    assert message.startswith(f"--{dashed(field)}") and "\n" not in message
    return message


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_idx_folder(folder: Path, *, zipped: bool) -> np.ndarray:
    """Four IDX files of 20 training and 10 test images; returns the training examples."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    train = rng.integers(0, 256, (20, 28, 28), np.uint8)
    splits = ((TRAIN, train), (VALIDATION, train[:10]))
    for (images_name, labels_name), images in splits:
        for name, array in ((images_name, images), (labels_name, np.arange(len(images)) % 10)):
            content = idx(array)
            (folder / f"{name}{'.gz' if zipped else ''}").write_bytes(gzip.compress(content) if zipped else content)
    return train
