"""What cannot be data, and the one line that names the argument, its value and the fix."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_iris
from torch.utils.data import ChainDataset, DataLoader, Dataset, IterableDataset, TensorDataset

import rayfe
from rayfe.exceptions import UsageError

N = 20
X = np.linspace(0.0, 1.0, 3 * N).reshape(N, 3)
Y = np.arange(N) % 2
BYTES = np.linspace(0, 255, N * 8 * 6).reshape(N, 8, 6).astype(np.uint8)
FRAME = pd.DataFrame(X, columns=list("abc"))
PAIRS = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        return iter(PAIRS)


class Augmented(Dataset):
    def __len__(self) -> int:
        return N

    def __getitem__(self, place: int) -> Any:
        return X[place] * float(torch.rand(())), Y[place]


class Broken(Dataset):
    def __len__(self) -> int:
        return N

    def __getitem__(self, place: int) -> Any:
        if place == 7:
            raise FileNotFoundError("seven.png")
        return X[place], Y[place]


def changed(values: np.ndarray, place: Any, value: Any) -> np.ndarray:
    made = values.copy()
    made[place] = value
    return made


def images(*sizes: tuple[int, int]) -> list[Image.Image]:
    return [Image.new("L", size) for size in sizes]


EXAMPLES: dict[str, tuple[Any, Any, str, str]] = {
    "none": (None, Y, "x", "is missing"),
    "nothing at all": (None, None, "x", "is missing"),
    "a number": (3.0, Y, "x", "give an array, a tensor, a frame or a list"),
    "a set": ({1.0, 2.0}, Y, "x", "give an array"),
    "a function": (len, Y, "x", "give an array"),
    "generator": ((row for row in X), Y, "x", r"can be read only once, give list\(...\)"),
    "generator of pairs": (zip(X, Y, strict=True), None, "x", r"can be read only once, give list\(...\)"),
    "stream of torch": (Stream(), None, "x", "can be read only once"),
    "DataLoader": (DataLoader(PAIRS), None, "x", "x='DataLoader': serves batches, give its data set"),
    "an empty list": ([], Y, "x", "is empty"),
    "an empty array": (X[:0], Y[:0], "y", "is empty"),
    "no features": (X[:, :0], Y, "x", "is empty"),
    "one dimension": (X[:, 0], Y, "x", r"for one feature give x\[:, None\]"),
    "five dimensions": (np.zeros((N, 2, 2, 2, 2)), Y, "x", "must be shaped"),
    "ragged lists": ([[0.0, 1.0], [0.0]] * 10, Y, "x", r"shapes \(2,\) and \(1,\) \(number 1\)"),
    "ragged pictures": (images((8, 6), (6, 8)) * 10, Y, "x", "bring them to one size"),
    "pictures of two modes": ([Image.new(mode, (4, 4)) for mode in ("L", "RGB")] * 10, Y, "x", "number of channels"),
    "paths of pictures": (["a.png"] * N, Y, "x", "holds words"),
    "words": (np.full((N, 3), "a"), Y, "x", "holds words"),
    "objects": (np.full((N, 3), None), Y, "x", "holds words or Python objects"),
    "complex": (X * 1j, Y, "x", "complex numbers, give their real parts"),
    "times": (np.zeros((N, 3), "M8[s]"), Y, "x", "holds times"),
    "named fields": (np.zeros(N, [("a", float), ("b", float)]), Y, "x", "structured_to_unstructured"),
    "NaN": (changed(X, (4, 1), np.nan), Y, "x", "NaN or infinite values in 1 examples, the first is number 4"),
    "infinite": (changed(X, 2, -np.inf), Y, "x", "the first is number 2"),
    "missing in a frame": (FRAME.where(FRAME > 0.1).astype("Float64"), Y, "x", "NaN or infinite values"),
    "masked": (np.ma.masked_greater(X, 0.9), Y, "x", "masked values, fill or remove them"),
    "words in a frame": (FRAME.assign(city="Ulm"), Y, "x", r"no numbers \(city\)"),
    "times in a frame": (FRAME.assign(day=pd.Timestamp(0)), Y, "x", r"no numbers \(day\)"),
    "too large": (X * 9, Y, "x", r"ranges from 0 to 9, outside of \[0, 1\]; rescale it, by rayfe.dataset\(..., rescale=True"),
    "-1 to 1": (X * 2 - 1, Y, "x", r"ranges from -1 to 1, .*rescale=\(-1, 1\)"),
    "bytes as floats": (BYTES.astype(float), Y, "x", r"give x.astype\('uint8'\) if 255 is white"),
    "bytes as int64": (BYTES.astype(int), Y, "x", r"int64 .* give x.astype\('uint8'\)"),
    "uint16": (BYTES.astype(np.uint16) * 257, Y, "x", "rescale=True"),
    "0 and 1 in bytes": ((BYTES > 9).astype(np.uint8), Y, "x", r"bytes up to 1 only, .*x.astype\(bool\)"),
    "0 to 16 in bytes": (BYTES // 16, Y, "x", r"bytes up to 15 only, .*floats \(x / 15.0\)"),
    "four channels": (np.zeros((N, 8, 8, 4)), Y, "x", "has 8 or 4 channels.*channels='last'"),
    "two channels": (np.zeros((N, 28, 28, 2)), Y, "x", "channels"),
    "cubes": (np.zeros((N, 4, 4, 4)), Y, "x", "channels"),
    "a tensor without values": (torch.zeros(N, 3, device="meta"), Y, "x", "is no array"),
    "a tuple of both": ((X, Y), None, "x", "give them apart"),
    "a file that is none": ("faces.npz", None, "x", "is no folder of images and no .npz file"),
    "a table in a file": ("table.csv", None, "x", "pandas.read_csv"),
    "one tensor of three": (TensorDataset(*[torch.zeros(N, 3)] * 3), None, "x", "has 3 tensors"),
    "triples": ([(1.0, 2, 3)] * N, None, "x", "no pairs of an example and its label"),
    "a data set that breaks": (Broken(), None, "x", "cannot be read at number 7 .*seven.png"),
    "a mapping of half a file": ({"x_train": X, "y_train": Y}, None, "x", "lacks the array x_test"),
    "batches with labels": (DataLoader(TensorDataset(torch.from_numpy(X))), Y, "x", "serves batches"),
    "a data set without a length": (ChainDataset([PAIRS]), None, "x", "cannot be read .*; give numpy arrays"),
    "random transforms": (Augmented(), None, "x", "another example when number 0 is read again; leave out random transforms"),
    "decoded by nobody": ([{"bytes": b"", "path": None}] * N, Y, "x", "Python objects such as dict"),
    "labels among the features": (FRAME.assign(label=Y), Y, "x", "has the column label, which holds the labels; drop it"),
    "columns of other lengths": ({"a": X[:, 0], "b": X[:5, 0], "label": Y}, None, "x", "a column b without one entry for each of 20"),
    "scikit-learn's bunch": (load_iris(), None, "x", "a column frame without one entry for each of 150 labels"),
    "divided twice": (BYTES / 255 / 255, Y, "x", "up to 0.00392 only, as if divided by 255 twice"),
    "a file with labels beside it": ("faces.npz", Y, "y", "is one too many"),
    "lengths": (X, Y[:9], "x", "has 20 examples, but y has 9 labels; give equally many"),
    "two columns of images": ({"left": list(BYTES), "right": list(BYTES), "label": Y}, None, "x", "several columns of arrays"),
}  # fmt: skip

LABELS: dict[str, tuple[Any, Any, str, str]] = {
    "none": (X, None, "y", "is no list of labels; give one label for each example"),
    "none, with tensors": (torch.from_numpy(X), None, "y", "is no list of labels"),
    "none, with a list": (X.tolist(), None, "y", "is no list of labels"),
    "none, with a frame": (FRAME, None, "y", r"the columns are a, b, c; name the labels"),
    "no such column": (FRAME, "kind", "y", "y='kind': is not clear; the columns are a, b, c"),
    "two that may be": (FRAME.assign(label=Y, target=Y), None, "y", "is not clear"),
    "labels twice": (PAIRS, Y, "y", "x has labels of its own; leave it out"),
    "one-hot": (X, np.eye(2)[Y], "y", r"is one-hot, y.argmax\(1\) are its labels"),
    "several words": (X, np.full((N, 2), "a"), "y", r"has shape \(20, 2\); give one label .* or numbers shaped \(N, targets\)"),
    "a target that is lacking": (X, changed(np.ones((N, 2)) / 3, 4, np.inf), "y", "lacks the labels of 1 examples"),
    "lists of several": (X, [["a", "b"], ["c"]] * 10, "y", "has list entries"),
    "probabilities": (X, np.full((N, 2), 0.5), "y", "holds probabilities of classes"),
    "masks": (X, np.zeros((N, 8, 6), int), "y", r"has shape \(20, 8, 6\); give one label for each example"),
    "missing": (X, changed(Y.astype(float), 3, np.nan), "y", "lacks the labels of 1 examples, the first is number 3"),
    "missing words": (X, changed(Y.astype(str), 3, "").tolist(), "y", "lacks the labels of 1 examples"),
    "None among words": (X, ["a", None] * 10, "y", "lacks the labels of 10 examples, the first is number 1"),
    "NaN among words": (X, np.array(["a", np.nan] * 10), "y", "lacks the labels of 10"),
    "nullable and missing": (X, pd.Series(Y, dtype="Int64").where(Y > 0), "y", "lacks the labels of 10"),
    "rows in another order": (FRAME, pd.Series(Y, index=range(N)[::-1]), "y", r"another order, by its index; give y.loc\[x.index\]"),
    "a row": (X, Y[None], "x", "has 20 examples, but y has 1 labels"),
    "one of each": (X, range(N), "validation", "the largest class has 1; give labels that are classes"),
    "missing, as pandas writes it": (X, ["a", "<NA>"] * 10, "y", "lacks the labels of 10"),
    "missing, as numpy writes it": (X, np.array(["a", None] * 10).astype(str), "y", r"the first is number 1 \(.*'None'"),
    "blanks": (X, ["a", " "] * 10, "y", "lacks the labels of 10"),
    "words that differ in blanks": (X, ["a", "a "] * 10, "y", "differ in more than blanks"),
    "words on two lines": (X, ["a\nb", "c"] * 10, "y", "on one line each"),
    "missing categories": (X, pd.Categorical(["a", None] * 10), "y", "lacks the labels of 10"),
    "words and numbers": (X, ["a", 1] * 10, "y", "mixes 10 words with 10 numbers"),
    "dictionaries": (X, [{"box": 1}] * N, "y", "has dict entries"),
    "times": (X, np.zeros(N, "M8[s]"), "y", "holds no labels"),
    "complex": (X, Y * 1j, "y", "holds no labels"),
    "one class": (X, np.zeros(N, int), "y", "one class only"),
    "beyond 2^63": (X, Y.astype(np.uint64) * 2**63, "y", "beyond 2"),
    "a column of an array": (X, "kind", "y", "y='kind': is no list of labels"),
}  # fmt: skip

OPTIONS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no validation": ({"validation": None}, "validation", "give a share such as 0.2, or a pair"),
    "validation True": ({"validation": True}, "validation", "give a share"),
    "all for validation": ({"validation": 1.0}, "validation", "1.0: give a share between 0 and 1"),
    "a negative share": ({"validation": -0.2}, "validation", "give a share between"),
    "a share as a word": ({"validation": "0.2"}, "validation", "no folder"),
    "a share too small": ({"validation": 0.05}, "validation", "the largest class has 10; give at least 0.1"),
    "validation without labels": ({"validation": (X, None)}, "y of validation", "is no list of labels"),
    "validation in one array": ({"validation": X}, "y of validation", "is no list of labels"),
    "lengths of validation": ({"validation": (X, Y[:3])}, "x of validation", "has 20 examples, but y of validation has 3"),
    "other features": ({"validation": (X[:, :2], Y)}, "x of validation", r"shape \(2,\), but those of x are \(3,\)"),
    "bytes in validation": ({"validation": ((X * 255).astype(np.uint8), Y)}, "x of validation", "give both on one scale"),
    "NaN in validation": ({"validation": (X * np.nan, Y)}, "x of validation", "NaN"),
    "other labels": ({"validation": (X, Y + 1)}, "y of validation", "has the label 2, which y has not"),
    "other words": ({"validation": (X, ["a"] * N)}, "y of validation", "has the label 'a', which y has not"),
    "a name with a blank": ({"name": "my data"}, "name", "name='my data': name it with letters"),
    "too few names": ({"class_names": ["one"]}, "class_names", "no name for the label 1, only for 0; give a mapping"),
    "names that are one word": ({"class_names": "ab"}, "class_names", "give a list"),
    "names without an order": ({"class_names": {"no", "yes"}}, "class_names", "give a list"),
    "names that are none": ({"class_names": [None, "yes"]}, "class_names", "a text or a whole number each"),
    "names in digits for numbers": ({"class_names": {"0": "no", "1": "yes"}}, "class_names", "the label 0, only for '0', '1'"),
    "a name that is none": ({"name": None}, "name", "name=None: give a text"),
    "a name of a page": ({"name": "a" * 300}, "name", "at most 100"),
    "a range wider than numbers": ({"rescale": (-1e308, 1e308)}, "rescale", "wider than numbers go"),
    "a place for validation": ({"validation": "nowhere"}, "validation", "is no folder of images"),
    "equal names": ({"class_names": ["a", "a"]}, "class_names", "different names"),
    "an empty name": ({"class_names": ["a", ""]}, "class_names", "different names"),
    "a mapping the wrong way": ({"class_names": {"no": 0, "yes": 1}}, "class_names", "no name for the label 0, only for 'no', 'yes'"),
    "a wrong order": ({"channels": "middle"}, "channels", "channels='middle': give first or last or None"),
    "a scale without width": ({"rescale": (1, 1)}, "rescale", r"give True, or the numbers \(low, high\)"),
    "a scale of one number": ({"rescale": 255}, "rescale", "rescale=255: give True or False, 2 values or None"),
    "a scale of words": ({"rescale": ("a", "b")}, "rescale", "give True, or the numbers"),
    "a scale of other features": ({"rescale": ([0, 0], [1, 1])}, "rescale", "one of each for every feature"),
}  # fmt: skip


def refused(x: Any, y: Any, **options: Any) -> UsageError:
    with pytest.raises(UsageError) as caught:
        rayfe.dataset(x, y, **options)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    return caught.value


@pytest.mark.parametrize("case", EXAMPLES)
def test_examples_that_are_none_are_refused(case: str) -> None:
    x, y, name, said = EXAMPLES[case]
    error = refused(x, y)
    assert error.name == name
    assert re.search(said, str(error)), str(error)


@pytest.mark.parametrize("case", LABELS)
def test_labels_that_are_none_are_refused(case: str) -> None:
    x, y, name, said = LABELS[case]
    error = refused(x, y)
    assert error.name == name
    assert re.search(said, str(error)), str(error)


@pytest.mark.parametrize("case", OPTIONS)
def test_options_that_cannot_be_are_refused(case: str) -> None:
    options, name, said = OPTIONS[case]
    error = refused(X, Y, **options)
    assert error.name == name
    assert re.search(said, str(error)), str(error)


def test_names_that_are_not_the_labels_are_refused() -> None:
    """They would go to other classes than meant: which of two orders counts cannot be seen."""
    words = np.array(["pear", "apple"])[Y]
    error = refused(X, words, class_names=["Birne", "Apfel"])
    assert "has no name for the label 'apple'" in str(error) and "{'apple': 'cat', ...}" in str(error)
    assert "no name for the label 2, only for 0, 1" in str(refused(X, Y + 1, class_names=["no", "yes"]))


def test_grey_validation_of_images_in_colour_is_refused() -> None:
    colour = np.repeat(BYTES[..., None], 3, 3)
    assert "has examples of shape (1, 8, 6), but those of x are (3, 8, 6)" in str(refused(colour, Y, validation=(BYTES, Y)))


def test_a_scale_is_of_numbers_of_one_kind() -> None:
    error = refused(BYTES, Y, validation=(BYTES / 255, Y), rescale=True)
    assert "is float64, but x is uint8; give both on one scale" in str(error)


def test_few_images_are_refused_in_the_right_words() -> None:
    assert "the largest class has 4; give at least 0.25, or a pair" in str(refused(X[:8], Y[:8]))


def test_doubtful_data_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="12 of 20 validation examples are training examples"):
        rayfe.dataset(X[:12], Y[:12], validation=(X, Y))
    with pytest.warns(UserWarning, match="training examples go up to 255, validation up to 15; bring both to one scale"):
        rayfe.dataset(BYTES, Y, validation=(BYTES // 16, Y))
    rare = np.arange(N) // 18
    with pytest.warns(UserWarning, match=r"validation has no example of 1 \(2 for training\)"):
        rayfe.dataset(X, rare)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "one folder of images for each class"),
        ({"a.png": (8, 8)}, "one folder of images for each class"),
        ({"cat/a.png": (8, 8), "dog/b.txt": None}, "class.* dog"),
        ({"cat/a.png": (8, 8), "dog/b.png": (9, 8)}, r"shapes \(8, 8\) and \(8, 9\) \(.*dog/b.png\)"),
        ({"cat/a.png": (8, 8), "dog/b.png": None}, "b.png': is no image that can be read"),
    ],
    ids=["empty", "no classes", "a class without images", "sizes", "damaged"],
)
def test_folders_that_hold_no_data_set_are_refused(files: dict[str, Any], said: str, tmp_path: Path) -> None:
    for name, size in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("text") if size is None else Image.new("L", size).save(tmp_path / name)
    error = refused(tmp_path, None)
    assert error.name == "x"
    assert re.search(said, str(error)), str(error)


def test_a_data_set_that_is_streamed_is_refused() -> None:
    """Hugging Face's IterableDataset has columns, but no length."""
    streamed = SimpleNamespace(column_names=["image", "label"], features={}, take=len)
    assert "can be read only once" in str(refused(streamed, None))
