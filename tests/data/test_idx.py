"""IDX files: they round-trip, and damaged ones are refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_sets import idx, refusal, write_idx_folder
from rayfe.config import DataConfig
from rayfe.data.idx import TRAIN, parse_idx


@given(st.lists(st.integers(0, 5), min_size=1, max_size=3))
def test_idx_round_trips(shape: list[int]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    assert np.array_equal(parse_idx(idx(array)), array)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not an IDX file"),  # to the gzip module, no bytes are an empty stream
        (b"plain", "not a whole gzip file"),
        (gzip.compress(bytes(1000))[:-9], "not a whole gzip file"),
        (gzip.compress(b"plain"), "not an IDX file"),
        (gzip.compress(idx(np.zeros((20, 28, 28)))[:-1]), "wrong length"),
        (gzip.compress(b"\0\0\x08\x03\0\0"), "wrong length"),
        (gzip.compress(idx(np.zeros(20))), "does not belong"),
        (gzip.compress(idx(np.zeros((19, 28, 28)))), "does not belong"),
    ],
    ids=["empty", "not-gzip", "cut-gzip", "not-idx", "cut-idx", "cut-header", "not-images", "too-few-images"],
)
def test_damaged_idx_files_are_refused(content: bytes, says: str, tmp_path: Path) -> None:
    write_idx_folder(tmp_path, zipped=True)
    (tmp_path / f"{TRAIN[0]}.gz").write_bytes(content)
    message = refusal(DataConfig(name="fashion-mnist", root=str(tmp_path)), "data.root")
    assert says in message and TRAIN[0] in message


def test_idx_labels_beyond_the_classes_are_refused(tmp_path: Path) -> None:
    write_idx_folder(tmp_path, zipped=True)
    (tmp_path / f"{TRAIN[1]}.gz").write_bytes(gzip.compress(idx(np.arange(20))))
    assert "label above 9" in refusal(DataConfig(name="fashion-mnist", root=str(tmp_path)), "data.root")
