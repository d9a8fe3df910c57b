"""rayfe.dataset: arrays, tensors and frames become a data set, or one line says why not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import rayfe
from rayfe.data.npz import load_npz, npz_bytes
from rayfe.exceptions import UsageError

X = np.linspace(0.0, 1.0, 60).reshape(20, 3)
Y = np.arange(20) % 2


def test_frames_tensors_and_lists_give_the_same_data_set() -> None:
    made = [
        rayfe.dataset(x, y)
        for x, y in [
            (X, Y),
            (pd.DataFrame(X, columns=list("abc")), pd.Series(Y)),
            (torch.from_numpy(X), torch.from_numpy(Y)),
            (X.tolist(), Y.tolist()),
        ]
    ]
    for one in made:
        assert one.train.x.dtype == np.float32
        assert one.class_names == ("0", "1")
        for split in ("train", "validation"):
            for axis in ("x", "y"):
                expected = getattr(getattr(made[0], split), axis)
                assert np.array_equal(getattr(getattr(one, split), axis), expected)


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


def test_labels_that_are_words_name_the_classes() -> None:
    made = rayfe.dataset(X, pd.Series(["pear", "apple"] * 10, dtype="category"), validation=(X[:4], ["pear"] * 4))
    assert made.class_names == ("apple", "pear")
    assert made.train.y[:2].tolist() == [1, 0]
    assert made.validation.y.tolist() == [1] * 4
    assert rayfe.dataset(X, Y.astype(bool)).class_names == ("False", "True")
    assert rayfe.dataset(X, Y, class_names=["no", "yes"]).class_names == ("no", "yes")


@pytest.mark.parametrize("shape", [(20, 3), (20, 4, 5), (20, 3, 4, 5), (20, 4, 5, 3)])
def test_the_runs_copy_is_the_same_data_set(tmp_path: Any, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    made = rayfe.dataset(x, Y, class_names=["no", "yes"], name="own")
    (tmp_path / "own.npz").write_bytes(npz_bytes(made))
    again = load_npz(str(tmp_path / "own.npz"), name="own")
    assert again.class_names == made.class_names
    for split in ("train", "validation"):
        assert np.array_equal(getattr(again, split).x, getattr(made, split).x)
        assert np.array_equal(getattr(again, split).y, getattr(made, split).y)


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ((X * 9, Y), {}, r"x_train ranges from .* to 9, rescale it to \[0, 1\]"),
        ((X.astype(int), Y), {}, "x_train is int64, but must be uint8, or floating-point"),
        ((pd.DataFrame({"a": ["x"] * 20}), Y), {}, "x_train is object"),
        ((X[:, 0], Y), {}, r"x_train has shape \(16,\)"),
        ((X, Y[:9]), {}, "x has 20 examples and y 9, give equally many"),
        ((X, Y * 0.5), {}, "y_train is float64.*vector of integers"),
        ((X, Y * 2), {}, "only 2 of these classes; number them from 0"),
        ((X, Y), {"validation": 1.0}, "validation 1.0: give a share between 0 and 1"),
        ((X, Y), {"validation": (X, Y[:3])}, "x_test has 20 examples and y_test 3"),
        ((X, Y), {"name": "my data"}, "data='my data': name it with letters"),
        ((X, Y), {"class_names": ["one"]}, "class_names has 1 names, but the labels go up to 1"),
        ((X, ["a", "b"] * 10), {"validation": (X[:1], ["c"])}, "validation has the label 'c', which training has not"),
        ((torch.ones(20, 3, requires_grad=True), Y), {}, r"is no array .*give x.detach\(\).cpu\(\).numpy\(\)"),
    ],
    ids=lambda value: "",
)
def test_what_cannot_be_used_is_refused_by_name(arguments: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        rayfe.dataset(*arguments, **options)
    assert caught.value.name == "data"
