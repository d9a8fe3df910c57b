"""A data set in an .npz file: it round-trips, and an unsound one is refused in one line."""

from __future__ import annotations

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
        ((7, 5, 4), (7, 5, 4), None),
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
        ({"x_train": np.zeros(6, np.uint8)}, "x_train has shape (6,)"),
        ({"x_test": np.zeros((4, 1, 1, 1, 1), np.uint8)}, "x_test has shape (4, 1, 1, 1, 1)"),
        ({"x_train": np.zeros((6, 0), np.uint8)}, "x_train of shape (6, 0) is empty"),
        ({"x_train": np.zeros((6, 3), np.int64)}, "x_train is int64"),
        ({"x_train": np.zeros((6, 3), bool)}, "x_train is bool"),
        ({"x_train": np.full((6, 3), "a")}, "x_train is <U1"),
        ({"x_train": np.full((6, 3), np.nan)}, "x_train has NaN"),
        ({"x_train": np.full((6, 3), np.inf)}, "x_train has NaN or infinite"),
        ({"x_train": np.full((6, 3), 255.0)}, "x_train ranges from 255 to 255"),
        ({"x_train": np.full((6, 3), -0.5)}, "x_train ranges from -0.5"),
        ({"x_train": np.zeros((6, 3))}, "they are float32 and uint8"),
        ({"x_train": np.zeros((6, 4), np.uint8)}, "shaped (4,) and (3,)"),
        ({"x_train": np.zeros((5, 3), np.uint8)}, "x_train has 5 examples and y_train 6"),
        ({"x_test": np.zeros((5, 3), np.uint8)}, "x_test has 5 examples and y_test 4"),
        ({"x_train": np.full((6, 3), None)}, "x_train is damaged or holds Python objects"),
        ({"y_train": np.zeros(6)}, "y_train is float64"),
        ({"y_train": np.zeros((6, 1), int)}, "of shape (6, 1)"),
        ({"y_test": np.zeros(0, int)}, "y_test is empty"),
        ({"y_train": np.array([0, 1, 2, 0, 1, -1])}, "y_train has the label -1"),
        ({"y_train": np.array([0, 1, 2, 0, 1, 2**63], np.uint64)}, "y_train has the label 9223372036854775808"),
        ({"y_train": np.array([1, 2, 3, 1, 2, 3])}, "from 0 without gaps"),
        ({"y_train": np.zeros(6, int)}, "one class only"),
        ({"y_test": np.array([0, 1, 2, 3])}, "y_test has the label 3"),
        ({"class_names": np.array(["cat", "dog"])}, "class_names has 2 names"),
        ({"class_names": np.array(["cat", "dog", "cat"])}, "different names"),
        ({"class_names": np.array(["cat", "dog", "c\now"])}, "different names"),
        ({"class_names": np.arange(3)}, "vector of strings"),
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
