"""What people hand over as data, and that each is taken for what it is."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from PIL import Image
from scipy import sparse
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset, random_split
from torchvision.datasets import FakeData

import rayfe

RNG = np.random.default_rng(0)
N = 20
TABLE = RNG.random((N, 3))
BYTES = RNG.integers(0, 256, (N, 8, 6), np.uint8)
RGB = RNG.integers(0, 256, (N, 8, 6, 3), np.uint8)
Y = np.arange(N) % 2
WORDS = np.array(["pear", "apple"])[Y]
FLOATS = TABLE.astype(np.float32)
FRAME = pd.DataFrame(TABLE, columns=list("abc"))


def pictures(mode: str) -> list[Image.Image]:
    return [Image.fromarray(image).convert(mode) for image in RGB]


class Pairs(Dataset):
    """A data set of torch, with class names as those of torchvision have them."""

    classes = ("no", "yes")

    def __len__(self) -> int:
        return N

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(FLOATS)[place % N], int(Y[place % N])


class Columns:
    """What Hugging Face's Dataset offers."""

    def __init__(self, columns: Mapping[str, list[Any]], names: list[str] | None = None) -> None:
        self.columns_, self.column_names = columns, list(columns)
        self.features = {name: SimpleNamespace(names=names) if name == "label" else SimpleNamespace() for name in columns}

    def __len__(self) -> int:
        return len(self.columns_[self.column_names[0]])

    def __getitem__(self, which: Any) -> Any:
        return dict(self.columns_) if isinstance(which, slice) else self.columns_[which]

    def __iter__(self) -> Iterator[Any]:
        return iter(dict(zip(self.columns_, row, strict=True)) for row in zip(*self.columns_.values(), strict=True))


def records() -> list[dict[str, Any]]:
    return [{"image": image, "label": word} for image, word in zip(BYTES, WORDS.tolist(), strict=True)]


def channels_first(mode: str) -> np.ndarray:
    return np.stack([np.asarray(one) for one in pictures(mode)]).transpose(0, 3, 1, 2)


def palette() -> np.ndarray:
    return np.stack([np.asarray(one.convert("RGB")) for one in pictures("P")]).transpose(0, 3, 1, 2)


def memory_mapped(folder: Path) -> np.ndarray:
    np.save(folder / "x.npy", BYTES)
    return np.load(folder / "x.npy", mmap_mode="r")


def masked(values: np.ndarray) -> np.ma.MaskedArray:
    return np.ma.MaskedArray(values, mask=np.zeros(values.shape, bool))


SAME_TABLE: dict[str, tuple[Any, Any]] = {
    "float64": (TABLE, Y),
    "float32": (FLOATS, Y),
    "big-endian": (TABLE.astype(">f8"), Y.astype(">i2")),
    "Fortran order": (np.asfortranarray(TABLE), Y),
    "lists": (TABLE.tolist(), Y.tolist()),
    "list of arrays": (list(TABLE), list(Y)),
    "list of tuples": ([tuple(row) for row in TABLE.tolist()], Y),
    "tensors": (torch.from_numpy(TABLE), torch.from_numpy(Y)),
    "tensors that need gradients": (torch.from_numpy(TABLE).requires_grad_(), torch.from_numpy(Y)),
    "list of tensors": (list(torch.from_numpy(TABLE)), list(torch.from_numpy(Y))),
    "frame and series": (FRAME, pd.Series(Y)),
    "frame and frame of one column": (FRAME, pd.DataFrame({"kind": Y})),
    "nullable types": (FRAME.astype("Float64"), pd.Series(Y, dtype="Int64")),
    "Arrow types": (FRAME.astype("double[pyarrow]"), pd.Series(Y, dtype="int64[pyarrow]")),
    "Arrow table": (pa.Table.from_pandas(FRAME), pa.array(Y)),
    "labels by column": (FRAME.assign(kind=Y), "kind"),
    "a column called label": (FRAME.assign(label=Y), None),
    "mapping of columns": ({**FRAME.to_dict("list"), "target": Y.tolist()}, None),
    "records of numbers": (FRAME.assign(label=Y).to_dict("records"), None),
    "records with another name": (FRAME.assign(kind=Y).to_dict("records"), "kind"),
    "sparse matrix": (sparse.csr_matrix(TABLE), Y),
    "sparse array": (sparse.coo_array(TABLE), Y),
    "sparse tensor": (torch.from_numpy(TABLE).to_sparse(), Y),
    "masked arrays without masks": (masked(TABLE), masked(Y)),
    "labels (N, 1)": (TABLE, Y[:, None]),
    "labels as whole floats": (TABLE, Y.astype(float)),
    "labels in a tensor (N, 1)": (TABLE, torch.from_numpy(Y)[:, None]),
    "labels in bytes": (TABLE, Y.astype(np.uint8)),
    "labels of Python objects": (TABLE, np.array(Y.tolist(), object)),
    "labels that are digits": (TABLE, Y.astype(str)),
    "pairs": (list(zip(TABLE, Y, strict=True)), None),
    "pairs with labels (1,)": (list(zip(TABLE, Y[:, None], strict=True)), None),
    "TensorDataset": (TensorDataset(torch.from_numpy(TABLE), torch.from_numpy(Y)), None),
    "Python's numbers in an array": (TABLE.astype(object), Y),
    "decimals": ([[Decimal(number) for number in row] for row in TABLE.tolist()], Y),
    "one tensor, labels beside it": (TensorDataset(torch.from_numpy(TABLE)), Y),
    "array in a column of objects": (pd.DataFrame({"a": list(TABLE), "label": Y}), None),
    "matrix object": (np.asmatrix(TABLE), Y),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", SAME_TABLE)
def test_a_table_is_the_same_in_whatever_holds_it(case: str) -> None:
    made, usual = rayfe.dataset(*SAME_TABLE[case]), rayfe.dataset(TABLE, Y)
    assert made.class_names == usual.class_names
    for split in ("train", "validation"):
        np.testing.assert_array_equal(getattr(made, split).x, getattr(usual, split).x)
        np.testing.assert_array_equal(getattr(made, split).y, getattr(usual, split).y)
        assert getattr(made, split).x.dtype == np.float32


LABELS: dict[str, tuple[Any, Any, tuple[str, ...]]] = {
    "words": (WORDS, None, ("apple", "pear")),
    "bytes": (WORDS.astype("S"), None, ("apple", "pear")),
    "categories": (pd.Series(WORDS, dtype="category"), None, ("apple", "pear")),
    "strings of pandas": (pd.Series(WORDS, dtype="string"), None, ("apple", "pear")),
    "strings of Arrow": (pa.array(WORDS), None, ("apple", "pear")),
    "strings of numpy": (WORDS.astype(np.dtypes.StringDType()), None, ("apple", "pear")),
    "words in the order given": (WORDS, ["pear", "apple", "plum"], ("pear", "apple", "plum")),
    "words by a mapping": (WORDS, {"pear": "Birne", "apple": "Apfel"}, ("Birne", "Apfel")),
    "truth values": (Y.astype(bool), None, ("False", "True")),
    "truth values with names": (Y.astype(bool), ["no", "yes"], ("no", "yes")),
    "numbers with names": (Y, ["no", "yes"], ("no", "yes")),
    "one class without examples": (2 * Y, ["no", "perhaps", "yes"], ("no", "perhaps", "yes")),
    "1 to K": (Y + 1, None, ("1", "2")),
    "1 to K by a mapping": (Y + 1, {1: "no", 2: "yes"}, ("no", "yes")),
    "with gaps": (np.array([2, 7])[Y], None, ("2", "7")),
    "-1 and 1": (2 * Y - 1, None, ("-1", "1")),
    "very large": (Y * 10**12, None, ("0", "1000000000000")),
    "digits as words": (np.array(["2", "11"])[Y], None, ("2", "11")),
    "intervals": (pd.cut(np.array([1.0, 9.0])[Y], [0, 5, 10]), None, ("(0, 5]", "(5, 10]")),
    "nullable truth": (pd.Series(Y, dtype="boolean"), None, ("False", "True")),
}


@pytest.mark.parametrize("case", LABELS)
def test_each_label_keeps_its_name(case: str) -> None:
    y, names, expected = LABELS[case]
    made = rayfe.dataset(TABLE, y, class_names=names)
    assert made.class_names == expected
    known = names if isinstance(names, Mapping) else {}
    listed = list(names) if isinstance(names, list) and not isinstance(list(y)[0], str) else []
    shown = {float(x): k for x, k in zip(made.train.x[:, 0], made.train.y, strict=True)}
    for x, label in zip(FLOATS[:, 0], list(y), strict=True):
        word = label.decode() if isinstance(label, bytes) else label.as_py() if isinstance(label, pa.Scalar) else label
        name = str(known.get(word, listed[int(word)] if listed else word))
        if float(x) in shown:
            assert made.class_names[shown[float(x)]] == name


IMAGES: dict[str, tuple[Any, dict[str, Any], np.ndarray]] = {
    "grey bytes": (BYTES, {}, BYTES[:, None]),
    "channels first": (RGB.transpose(0, 3, 1, 2), {}, RGB.transpose(0, 3, 1, 2)),
    "channels last": (RGB, {}, RGB.transpose(0, 3, 1, 2)),
    "one channel last": (BYTES[..., None], {}, BYTES[:, None]),
    "four channels last": (np.repeat(BYTES[..., None], 4, 3), {"channels": "last"}, np.repeat(BYTES[:, None], 4, 1)),
    "two channels first": (np.repeat(BYTES[:, None], 2, 1), {"channels": "first"}, np.repeat(BYTES[:, None], 2, 1)),
    "square images of five channels": (np.repeat(BYTES[:, None, :6], 5, 1), {}, np.repeat(BYTES[:, None, :6], 5, 1)),
    "truth values": (BYTES > 127, {}, (BYTES > 127)[:, None].astype(np.float32)),
    "whole numbers 0 and 1": ((BYTES > 127).astype(int), {}, (BYTES > 127)[:, None].astype(np.float32)),
    "float16": ((BYTES / 255).astype(np.float16), {}, (BYTES / 255).astype(np.float16)[:, None].astype(np.float32)),
    "bfloat16": (torch.from_numpy(BYTES > 127).bfloat16(), {}, (BYTES > 127)[:, None].astype(np.float32)),
    "rounding above 1": (np.where(BYTES > 127, 1.0000001, -1e-9), {}, (BYTES > 127)[:, None].astype(np.float32)),
    "pictures in grey": (pictures("L"), {}, np.stack([np.asarray(one) for one in pictures("L")])[:, None]),
    "pictures in colour": (pictures("RGB"), {}, RGB.transpose(0, 3, 1, 2)),
    "pictures with opacity": (pictures("RGBA"), {}, channels_first("RGBA")),
    "pictures, whatever order is given": (pictures("RGB"), {"channels": "first"}, RGB.transpose(0, 3, 1, 2)),
    "pictures with a palette": (pictures("P"), {}, palette()),
    "series of arrays": (pd.Series(list(BYTES)), {}, BYTES[:, None]),
    "lists of lists": (BYTES[:, :2, :2].astype(int).tolist(), {"rescale": (0, 255)}, BYTES[:, None, :2, :2] / np.float32(255)),
    "uint16": (BYTES.astype(np.uint16) * 257, {"rescale": (0, 65535)}, BYTES[:, None] / np.float32(255)),
    "-1 to 1": (BYTES / 127.5 - 1, {"rescale": (-1, 1)}, BYTES[:, None] / np.float32(255)),
    "any range": (BYTES * 3.0 + 7, {"rescale": (7, 772)}, BYTES[:, None] / np.float32(255)),
}  # fmt: skip


@pytest.mark.parametrize("case", IMAGES)
def test_images_come_into_one_layout(case: str, tmp_path: Path) -> None:
    x, options, expected = IMAGES[case]
    made = rayfe.dataset(x, Y, validation=(x, Y), **options)
    np.testing.assert_allclose(made.train.x, expected, rtol=0, atol=1e-6)
    assert made.train.x.dtype == (np.uint8 if expected.dtype == np.uint8 else np.float32)
    assert made.train.x.flags.c_contiguous
    mapped = rayfe.dataset(memory_mapped(tmp_path), Y, validation=(BYTES, Y))
    np.testing.assert_array_equal(mapped.train.x, BYTES[:, None])


WHOLE: dict[str, tuple[Any, tuple[int, ...], tuple[str, ...]]] = {
    "data set of torch": (Pairs(), (3,), ("no", "yes")),
    "part of it": (Subset(Pairs(), range(1, 19)), (3,), ("no", "yes")),
    "random part of it": (random_split(Pairs(), [16, 4], torch.Generator().manual_seed(0))[0], (3,), ("no", "yes")),
    "several of it": (ConcatDataset([Pairs(), Pairs()]), (3,), ("0", "1")),
    "torchvision": (FakeData(N, (3, 8, 6), 2), (3, 8, 6), ("0", "1")),
    "records": (records(), (1, 8, 6), ("apple", "pear")),
    "Hugging Face": (Columns({"image": pictures("L"), "label": Y.tolist()}, ["no", "yes"]), (1, 8, 6), ("no", "yes")),
    "Hugging Face, of numbers": (Columns({"a": list(TABLE[:, 0]), "b": list(Y), "label": Y.tolist()}), (2,), ("0", "1")),
    "mapping of arrays": ({"x": BYTES, "y": Y}, (1, 8, 6), ("0", "1")),
    "arrays of two splits": ({"x_train": RGB, "y_train": Y, "x_test": RGB[:5], "y_test": Y[:5]}, (3, 8, 6), ("0", "1")),
    "capital letters": ({"X_train": RGB, "y_train": Y, "X_val": RGB[:5], "y_val": Y[:5]}, (3, 8, 6), ("0", "1")),
    "pairs of two splits": ({"train": (BYTES, WORDS), "test": (BYTES[:5], WORDS[:5])}, (1, 8, 6), ("apple", "pear")),
    "data sets of two splits": ({"train": Pairs(), "validation": Pairs()}, (3,), ("no", "yes")),
}


@pytest.mark.parametrize("case", WHOLE)
def test_what_holds_its_labels_needs_no_others(case: str) -> None:
    x, shape, names = WHOLE[case]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some validation examples are training examples, too
        made = rayfe.dataset(x)
    assert (made.input_shape, made.class_names) == (shape, names)
    assert len(made.train.y) > len(made.validation.y) >= 2 or len(made.validation.y) == N
    assert set(made.train.y.tolist()) == {0, 1}


@pytest.mark.parametrize("held", [(FRAME, Y), [FRAME, Y], (TABLE.tolist(), Y.tolist()), Pairs(), 0.25, np.float64(0.25)])
def test_validation_may_be_held_by_anything(held: Any) -> None:
    made = rayfe.dataset(1 - TABLE, Y, validation=held)
    assert len(made.validation.y) == (4 if isinstance(held, float) else N)


@pytest.mark.parametrize("split", [(), ("train", "val"), ("Training", "Testing")])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_folder_of_images_is_a_data_set(split: tuple[str, ...], mode: str, tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "hidden.png").write_text("no image")
    shown = pictures(mode)
    for place, (image, word) in enumerate(zip(shown, WORDS, strict=True)):
        folder = tmp_path / ("." if not split else split[place >= 12]) / word
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{place}.png")
    made = rayfe.dataset(tmp_path if split else str(tmp_path))
    assert made.class_names == ("apple", "pear")
    assert made.input_shape == ((1, 8, 6) if mode == "L" else (3, 8, 6))
    assert (len(made.train.y), len(made.validation.y)) == ((12, 8) if split else (16, 4))
    found = {image.tobytes(): WORDS[place] for place, image in enumerate(np.asarray(one) for one in shown)}
    for x, y in zip(made.train.x, made.train.y, strict=True):
        pixels = np.ascontiguousarray(x[0] if mode == "L" else x.transpose(1, 2, 0))
        assert found[pixels.tobytes()] == made.class_names[y]
