"""A data set in an .npz file: it round-trips, and an unsound one is refused in one line."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from data_sets import refusal
from rayfe.config import DataConfig
from rayfe.data.datasets import load

CIFAR10_SMALL = Path(__file__).parents[2] / ".." / "shared" / "data" / "cifar10_small.npz"


def arrays(shape: tuple[int, ...] = (3,), **changed: object) -> dict[str, np.ndarray]:
    """A sound data set of 6 + 4 examples, with some arrays changed, or left out where they are None."""
    rng = np.random.default_rng(0)
    sound: dict[str, object] = {
        "x_train": rng.integers(0, 256, (6, *shape), np.uint8),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_test": rng.integers(0, 256, (4, *shape), np.uint8),
        "y_test": np.array([2, 1, 0, 1]),
    }
    return {name: np.asarray(array) for name, array in (sound | changed).items() if array is not None}


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64, ">f8"])
@pytest.mark.parametrize(
    ("stored", "loaded", "order"),
    [
        ((5,), (5,), None),
        ((5, 4), (1, 5, 4), None),
        ((3, 5, 4), (3, 5, 4), None),
        ((1, 5, 3), (1, 5, 3), None),
        ((3, 5, 3), (3, 5, 3), None),
        ((5, 4, 3), (3, 5, 4), (0, 3, 1, 2)),
        ((5, 4, 1), (1, 5, 4), (0, 3, 1, 2)),
        ((7, 4, 4), (7, 4, 4), None),
    ],
)
def test_npz_round_trips(
    dtype: np.typing.DTypeLike,
    stored: tuple[int, ...],
    loaded: tuple[int, ...],
    order: tuple[int, ...] | None,
    tmp_path: Path,
) -> None:
    content = arrays(stored)
    if dtype is not np.uint8:
        content |= {name: (content[name] / 255).astype(dtype) for name in ("x_train", "x_test")}
    np.savez_compressed(tmp_path / "own.npz", **content)
    own = load(DataConfig(name=f"npz:{tmp_path / 'own.npz'}"))
    expected = content["x_train"].transpose(order) if order else content["x_train"].reshape(6, *loaded)
    assert own.input_shape == loaded and own.class_names == ("0", "1", "2")
    assert own.train.x.dtype == (np.uint8 if dtype is np.uint8 else np.float32) and own.train.y.dtype == np.int64
    assert np.array_equal(own.train.x, expected.astype(own.train.x.dtype)) and own.train.x.flags.c_contiguous
    assert own.validation.y.tolist() == [2, 1, 0, 1]


def test_the_arrays_of_medmnist_are_known(tmp_path: Path) -> None:
    """Labels (N, 1), and three splits, of which the test split is left alone."""
    sound = arrays((28, 28, 3))
    content = {"train_images": sound["x_train"], "train_labels": sound["y_train"][:, None]}
    content |= {"val_images": sound["x_test"], "val_labels": sound["y_test"][:, None]}
    np.savez(tmp_path / "own.npz", **content, test_images=sound["x_test"][:1], test_labels=np.zeros((1, 1), int))
    own = load(DataConfig(name=f"npz:{tmp_path / 'own.npz'}"))
    assert own.input_shape == (3, 28, 28) and own.train.y.tolist() == [0, 1, 2, 0, 1, 2]
    assert own.validation.y.tolist() == [2, 1, 0, 1]


def test_labels_in_a_file_may_be_any_numbers_or_words(tmp_path: Path) -> None:
    for labels, names in ((np.array([2, 7, 9]), ("2", "7", "9")), (np.array(["b", "a", "c"]), ("a", "b", "c"))):
        np.savez(tmp_path / "own.npz", **arrays(y_train=np.tile(labels, 2), y_test=labels[[0, 1, 1, 2]]))
        own = load(DataConfig(name=f"npz:{tmp_path / 'own.npz'}"))
        assert own.class_names == names
        assert np.array_equal(np.array(names)[own.validation.y], labels[[0, 1, 1, 2]].astype(str))


@pytest.mark.parametrize(("order", "shape"), [("first", (7, 5, 4)), ("last", (4, 7, 5))])
def test_a_file_may_say_which_axis_holds_the_channels(order: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", **arrays((7, 5, 4), channels=order))
    assert load(DataConfig(name=f"npz:{tmp_path / 'own.npz'}")).input_shape == shape


@pytest.mark.parametrize("key", ["class_names", "classes"])
def test_npz_classes_have_names(key: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", **arrays(**{key: np.array(["cat", "dog", "10-20"])}))
    own = load(DataConfig(name=f"npz:{tmp_path / 'own.npz'}:10-20,0"))
    assert own.class_names == ("10-20", "cat") and own.train.y.tolist() == [1, 0, 1, 0]
    assert "the classes are cat, dog, 10-20" in refusal(DataConfig(name=f"npz:{tmp_path / 'own.npz'}:cat,cow"), "data.name")


def test_npz_file_name_may_hold_a_colon(tmp_path: Path) -> None:
    np.savez(tmp_path / "own:0-1.npz", **arrays())
    assert load(DataConfig(name=f"npz:{tmp_path / 'own:0-1.npz'}")).classes == 3
    assert load(DataConfig(name=f"npz:{tmp_path / 'own:0-1.npz'}:0-1")).classes == 2


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        *(({name: None}, f"lacks the array {name}") for name in ("x_train", "y_train", "x_test", "y_test")),
        ({"x_train": np.zeros(6, np.uint8)}, "x_train must be shaped (N, features)"),
        ({"x_test": np.zeros((4, 1, 1, 1, 1), np.uint8)}, "x_test must be shaped"),
        ({"x_train": np.zeros((6, 0), np.uint8)}, "x_train is empty"),
        ({"x_train": np.full((6, 3), 7)}, "x_train ranges from 7 to 7, outside of [0, 1]; give x.astype('uint8')"),
        ({"x_train": np.full((6, 3), 1, np.uint8)}, "x_train has bytes up to 1 only"),
        ({"x_train": np.zeros((6, 7, 5, 4), np.uint8)}, "x_train has 7 or 4 channels?"),
        ({"x_train": np.full((6, 3), "a")}, "x_train holds words"),
        ({"x_train": np.full((6, 3), np.nan)}, "x_train has NaN"),
        ({"x_train": np.full((6, 3), np.inf)}, "x_train has NaN or infinite"),
        ({"x_train": np.full((6, 3), 255.0)}, "x_train ranges from 255 to 255"),
        ({"x_train": np.full((6, 3), -0.5)}, "x_train ranges from -0.5"),
        ({"x_train": np.zeros((6, 3))}, "x_test is uint8, but x_train is float32"),
        ({"x_train": np.full((6, 4), 99, np.uint8)}, "x_test has examples of shape (3,), but those of x_train are (4,)"),
        ({"x_train": np.zeros((5, 3), np.uint8)}, "x_train has 5 examples and y_train 6"),
        ({"x_test": np.zeros((5, 3), np.uint8)}, "x_test has 5 examples and y_test 4"),
        ({"x_train": np.full((6, 3), None)}, "x_train is damaged or holds Python objects"),
        ({"y_test": np.arange(4) / 2}, "y_test holds numbers such as 0, where y_train has classes"),
        ({"y_train": np.zeros((6, 2)), "y_test": np.zeros((4, 3))}, "y_test must hold 2 numbers for each example"),
        ({"y_train": np.zeros((6, 2)), "class_names": np.array(["a"])}, "class_names must name 2 targets"),
        ({"y_train": np.eye(6)}, "y_train is one-hot"),
        ({"y_test": np.zeros(0, int)}, "y_test is empty"),
        ({"y_train": np.array([0, 1, 2, 0, 1, 2**63], np.uint64)}, "y_train has a label beyond 2^63"),
        ({"y_train": np.array([1, 2, 3, 1, 2, 3])}, "y_test has the label 0, which y_train has not"),
        ({"channels": np.array("middle")}, "channels must be first or last"),
        ({"y_train": np.zeros(6, int)}, "one class only"),
        ({"y_test": np.array([0, 1, 2, 3])}, "y_test has the label 3"),
        ({"class_names": np.array(["cat", "dog"])}, "class_names has no name for the label 2, only for 0, 1"),
        ({"class_names": np.array(["cat", "dog", "cat"])}, "different names"),
        ({"class_names": np.array(["cat", "dog", "c\now"])}, "different names"),
        ({"class_names": np.arange(3)}, "vector of strings"),
        *(
            (
                {"scale_low": low, "scale_high": high},
                "scale_low and scale_high must be finite numbers, the first not above the second",
            )
            for low, high in (
                (np.nan, 1),
                (0, np.inf),
                ("x", "y"),
                (np.zeros(7), np.ones(7)),
                (1, 0),
                ([0, 0, 1], [1, 1, 0]),
                (0, None),
            )
        ),
        ({"scale_low": -1e308, "scale_high": 1e308}, "is wider than numbers go"),
    ],
)
def test_unsound_npz_arrays_are_refused(changed: dict[str, object], says: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", **arrays(**changed))
    assert says in refusal(DataConfig(name=f"npz:{tmp_path / 'own.npz'}"), "data.name")


def test_damaged_npz_files_are_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "own.npz", **arrays((40, 40)))
    whole = (tmp_path / "own.npz").read_bytes()
    config = DataConfig(name=f"npz:{tmp_path / 'own.npz'}")
    for content in (b"", b"text", whole[: len(whole) // 2]):
        (tmp_path / "own.npz").write_bytes(content)
        assert "not an .npz file" in refusal(config, "data.name")
    (tmp_path / "own.npz").write_bytes(whole[:2000] + bytes(200) + whole[2200:])
    assert "x_train is damaged" in refusal(config, "data.name")
    np.save(tmp_path / "own.npy", np.zeros(3))
    assert "not an .npz file" in refusal(DataConfig(name=f"npz:{tmp_path / 'own.npy'}"), "data.name")


def headers() -> dict[str, str]:
    """Headers of an array that lie, or that no parser likes."""
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': %s}"
    return {
        "more than memory": header % "(1000000000000, 4)",
        "more than numbers": header % "(9223372036854775807, 4)",
        "less than nothing": header % "(-1, 4)",
        "open": "(" * 5000,
        "deep": "-" * 9000 + "1",
        "names of two kinds": "{1: 2, 'a': 3}",
        "a name without a hash": "{[]: 1}",
        "indented": "if 1:\n    x\n  y",
    }


@pytest.mark.parametrize("header", headers().values(), ids=headers())
def test_a_header_that_lies_is_damage(header: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", **arrays(x_train=None))
    with zipfile.ZipFile(tmp_path / "own.npz", "a") as archive:
        archive.writestr("x_train.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(64))
    assert "x_train is damaged" in refusal(DataConfig(name=f"npz:{tmp_path / 'own.npz'}"), "data.name")


def test_classes_without_examples_are_refused_where_chosen(tmp_path: Path) -> None:
    names = np.array(["cat", "dog", "cow", "emu"])
    np.savez(tmp_path / "own.npz", **arrays(y_test=np.zeros(4, int), class_names=names))
    assert load(DataConfig(name=f"npz:{tmp_path / 'own.npz'}")).classes == 4
    assert "validation split has no example" in refusal(DataConfig(name=f"npz:{tmp_path / 'own.npz'}:dog,cow"), "data.name")


@pytest.mark.skipif(not CIFAR10_SMALL.is_file(), reason="../shared/data/cifar10_small.npz is absent")
def test_the_small_cifar10_file_loads() -> None:
    small = load(DataConfig(name=f"npz:{CIFAR10_SMALL}:cat,ship", train_size=100))
    assert small.input_shape == (3, 32, 32) and small.class_names == ("cat", "ship") and small.train.x.dtype == np.uint8
    assert np.bincount(small.train.y).tolist() == [50, 50] and len(small.validation.y) > 300
