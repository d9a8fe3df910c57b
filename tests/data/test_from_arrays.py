"""The validation split of a data set from arrays, and the copy that a run keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rayfe
from rayfe.data.npz import load_npz, npz_bytes

X = np.linspace(0.0, 1.0, 60).reshape(20, 3)
Y = np.arange(20) % 2


def test_validation_is_a_share_of_each_class_drawn_once_and_for_all() -> None:
    """Not every fifth one: what lies in a file by turns would all be on one side."""
    made, again = (
        rayfe.dataset(np.arange(400, dtype=float)[:, None] / 400, np.repeat([0, 1], [300, 100]), validation=0.2) for _ in "ab"
    )
    assert np.bincount(made.validation.y).tolist() == [60, 20]
    assert len(made.train.y) == 320
    np.testing.assert_array_equal(made.validation.x, again.validation.x)
    rows = np.round(made.validation.x[:60, 0] * 400).astype(int)
    assert len(set(rows % 5)) == 5
    assert rows.min() < 60 and rows.max() > 240


@pytest.mark.parametrize("shape", [(20, 3), (20, 4, 5), (20, 3, 4, 5), (20, 4, 5, 3), (20, 1, 5, 3)])
def test_the_runs_copy_is_the_same_data_set(tmp_path: Any, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    made = rayfe.dataset(x, Y, class_names=["no", "yes"], name="own")
    (tmp_path / "own.npz").write_bytes(npz_bytes(made))
    again = load_npz(str(tmp_path / "own.npz"), name="own")
    assert again.class_names == made.class_names
    for split in ("train", "validation"):
        assert np.array_equal(getattr(again, split).x, getattr(made, split).x)
        assert np.array_equal(getattr(again, split).y, getattr(made, split).y)
