"""Data sets load as documented, and what cannot be loaded is refused in one line."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayfe.config import DataConfig, UsageError
from rayfe.data import datasets
from rayfe.data.datasets import Dataset, Examples, load
from rayfe.data.examples import with_train_size
from rayfe.data.idx import TRAIN, VALIDATION, parse_idx

CIFAR10_SMALL = Path(__file__).parents[2] / ".." / "shared" / "data" / "cifar10_small.npz"


def refusal(config: DataConfig, field: str) -> str:
    """The one line with which `load` refuses `config` because of `field`."""
    with pytest.raises(UsageError) as caught:
        load(config)
    message = str(caught.value)
    assert caught.value.name == field
    assert message.startswith(f"--{field} ") and "\n" not in message
    return message


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_idx_folder(folder: Path, *, zipped: bool) -> np.ndarray:
    """Four IDX files of 20 training and 10 test images; returns the training images."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    train = rng.integers(0, 256, (20, 28, 28), np.uint8)
    splits = ((TRAIN, train), (VALIDATION, train[:10]))
    for (images_name, labels_name), images in splits:
        for name, array in ((images_name, images), (labels_name, np.arange(len(images)) % 10)):
            content = idx(array)
            (folder / f"{name}{'.gz' if zipped else ''}").write_bytes(gzip.compress(content) if zipped else content)
    return train


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with an empty cache and neither Debian's package nor a network; returns its cache folder."""
    import torchvision.datasets

    def fail(**_: object) -> None:
        raise RuntimeError("Error downloading a file:\nTried a mirror, got:\n<urlopen error unreachable>\n")

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", fail)
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", fail)
    monkeypatch.setattr(datasets, "FASHION_DEBIAN", tmp_path / "no-debian")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rayfe"


# --- mnist and digits


def test_mnist_is_the_published_data_set() -> None:
    mnist = load(DataConfig(name="mnist"))
    assert mnist.train.x.shape == (60000, 1, 28, 28) and mnist.validation.x.shape == (10000, 1, 28, 28)
    assert mnist.train.x.dtype == np.uint8 and mnist.train.y.dtype == np.int64
    assert mnist.train.y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(mnist.train.y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist.validation.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert mnist.train.x.mean() / 255 == pytest.approx(0.1307, abs=1e-4)
    assert (mnist.classes, mnist.input_shape, mnist.class_names[3]) == (10, (1, 28, 28), "3")
    assert mnist.train.x.flags.writeable and mnist.train.x.flags.c_contiguous


@pytest.mark.parametrize("file", sorted(datasets.MNIST_SHA256))
def test_damaged_or_missing_mnist_is_detected(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "mnist"
    shutil.copytree(datasets.MNIST, copy)
    monkeypatch.setattr(datasets, "MNIST", copy)
    content = bytearray((copy / file).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / file).write_bytes(content)
    assert f"{file} is damaged (its SHA-256 differs)" in refusal(DataConfig(name="mnist"), "data.name")
    (copy / file).unlink()
    assert f"cannot read {file}" in refusal(DataConfig(name="mnist"), "data.name")


def test_digits_hold_out_every_fifth_image_of_each_class() -> None:
    digits = load(DataConfig(name="digits"))
    assert digits.input_shape == (1, 8, 8) and len(digits.train.y) + len(digits.validation.y) == 1797
    assert digits.train.x.dtype == np.float32 and digits.train.x.min() == 0 and digits.train.x.max() == 1
    total = np.bincount(digits.train.y) + np.bincount(digits.validation.y)
    assert np.bincount(digits.validation.y).tolist() == (total // 5).tolist()
    assert np.array_equal(load(DataConfig(name="digits")).train.x, digits.train.x)


# --- classes and sizes


@pytest.mark.parametrize(
    ("chosen", "labels"),
    [("0-4", [0, 1, 2, 3, 4]), ("1,3,5-7", [1, 3, 5, 6, 7]), ("9,0", [9, 0]), ("5-5, 2", [5, 2])],
)
def test_chosen_classes_are_renumbered_in_the_order_given(chosen: str, labels: list[int]) -> None:
    whole, part = load(DataConfig(name="digits")), load(DataConfig(name=f"digits:{chosen}"))
    assert part.class_names == tuple(str(label) for label in labels) and part.classes == len(labels)
    for before, after in ((whole.train, part.train), (whole.validation, part.validation)):
        kept = np.isin(before.y, labels)
        assert np.array_equal(after.x, before.x[kept])
        assert np.array_equal(np.array(labels)[after.y], before.y[kept])


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ("", "a class is missing"),
        ("1,,2", "a class is missing"),
        ("1,10", "unknown class '10'"),
        ("8-12", "unknown class '10'"),
        ("0-999999999", "unknown class '10'"),
        ("cat,dog", "unknown class 'cat'"),
        ("-1,2", "unknown class '-1'"),
        ("1,2,1", "give class 1 once"),
        ("1-3,2", "give class 2 once"),
        ("4", "at least two classes"),
        ("4-2", "the range 4-2 is reversed, write 2-4"),
    ],
)
def test_impossible_classes_are_refused_with_the_known_ones(chosen: str, says: str) -> None:
    message = refusal(DataConfig(name=f"digits:{chosen}"), "data.name")
    assert says in message and "the classes are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in message


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.data())
def test_train_size_takes_the_first_of_each_class_as_evenly_as_possible(labels: list[int], data: st.DataObject) -> None:
    y = np.array(labels)
    size = data.draw(st.integers(len(set(labels)), len(labels)))
    split = Examples(x=np.arange(len(y))[:, None], y=y)
    part = with_train_size(Dataset(name="any", train=split, validation=split, class_names=tuple("abcde")), size).train
    rows = part.x[:, 0]
    assert len(rows) == size and np.all(np.diff(rows) > 0) and np.array_equal(part.y, y[rows])
    counts, available = np.bincount(part.y, minlength=5), np.bincount(y, minlength=5)
    for label in range(5):
        assert np.array_equal(rows[part.y == label], np.flatnonzero(y == label)[: counts[label]])
        assert counts[label] == available[label] or counts[label] >= counts.max() - 1


def test_train_size_beyond_the_data_or_below_the_classes_is_refused() -> None:
    assert "digits:0,1 has" in refusal(DataConfig(name="digits:0,1", train_size=1000), "data.train_size")
    assert "at least 10" in refusal(DataConfig(name="digits", train_size=9), "data.train_size")
    assert len(load(DataConfig(name="digits", train_size=10)).train.y) == 10


# --- names and folders


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mnst", "did you mean mnist?"),
        ("MNIST:0-4", "did you mean mnist?"),
        ("fashion", "did you mean fashion-mnist?"),
        ("imagenet", "Known: mnist, fashion-mnist, cifar10, digits, npz:PATH"),
        ("faces.npz", "write npz:faces.npz"),
        ("npz", "give a file"),
        ("npz:", "give a file"),
        ("npz:absent.npz", "no such file"),
        ("npz:absent.npz:0-4", "no such file"),
        pytest.param("npz:" + 5000 * "x", "no such file", id="long-name"),
        ("npz:.", "cannot be read"),
    ],
)
def test_unknown_data_sets_are_refused(name: str, says: str) -> None:
    assert says in refusal(DataConfig(name=name), "data.name")


@pytest.mark.parametrize("name", ["mnist", "digits:0-4", "npz:any.npz"])
def test_a_root_that_would_be_ignored_is_refused(name: str, tmp_path: Path) -> None:
    assert "leave it out" in refusal(DataConfig(name=name, root=str(tmp_path)), "data.root")


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10"])
def test_a_root_without_the_files_is_refused(name: str, tmp_path: Path) -> None:
    assert "no such folder" in refusal(DataConfig(name=name, root=str(tmp_path / "absent")), "data.root")
    assert "no such folder" in refusal(DataConfig(name=name, root=""), "data.root")
    assert "give " in refusal(DataConfig(name=name, root=str(tmp_path)), "data.root")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("below", ["", "FashionMNIST/raw"])
def test_fashion_mnist_is_read_from_a_folder(zipped: bool, below: str, tmp_path: Path) -> None:
    images = write_idx_folder(tmp_path / below, zipped=zipped)
    fashion = load(DataConfig(name="fashion-mnist:Sandal,T-shirt/top", root=str(tmp_path)))
    assert fashion.class_names == ("Sandal", "T-shirt/top")
    assert np.array_equal(fashion.train.x, images[[0, 5, 10, 15], None]) and fashion.train.y.tolist() == [1, 0, 1, 0]


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


@given(st.lists(st.integers(0, 5), min_size=1, max_size=3))
def test_idx_round_trips(shape: list[int]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    assert np.array_equal(parse_idx(idx(array)), array)


def test_fashion_mnist_without_root_comes_from_debian_or_the_cache(nowhere: Path) -> None:
    images = write_idx_folder(datasets.FASHION_DEBIAN, zipped=True)
    assert np.array_equal(load(DataConfig(name="fashion-mnist")).train.x, images[:, None])
    shutil.rmtree(datasets.FASHION_DEBIAN)
    write_idx_folder(nowhere / "FashionMNIST" / "raw", zipped=False)
    assert np.array_equal(load(DataConfig(name="fashion-mnist")).train.x, images[:, None])


def test_fashion_mnist_is_downloaded_into_the_cache(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.datasets

    def download(*, root: Path, train: bool, download: bool) -> None:
        assert download and Path(root) == nowhere
        write_idx_folder(root / "FashionMNIST" / "raw", zipped=False)

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", download)
    assert load(DataConfig(name="fashion-mnist")).train.x.shape == (20, 1, 28, 28)


@pytest.mark.parametrize(("name", "ways"), [("fashion-mnist", ["dataset-fashion-mnist"]), ("cifar10:ship,cat", [])])
def test_a_failed_download_names_the_other_ways(name: str, ways: list[str], nowhere: Path) -> None:
    message = refusal(DataConfig(name=name), "data.name")
    for words in ["download failed (<urlopen error unreachable>)", "network", "--data.root FOLDER", *ways]:
        assert words in message


@pytest.mark.parametrize("inside", [False, True])
def test_cifar10_is_read_from_a_folder(inside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR10

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def write(name: str, content: dict[str, object]) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    images = np.random.default_rng(0).integers(0, 256, (4, 3 * 32 * 32), np.uint8)
    monkeypatch.setattr(CIFAR10, "train_list", [write("data_batch_1", {"data": images, "labels": [0, 1, 1, 0]})])
    monkeypatch.setattr(CIFAR10, "test_list", [write("test_batch", {"data": images[:2], "labels": [1, 0]})])
    name, md5 = write("batches.meta", {"label_names": ["airplane", "ship"]})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": md5})

    cifar10 = load(DataConfig(name="cifar10:ship,airplane", root=str(folder if inside else tmp_path)))
    assert np.array_equal(cifar10.train.x, images.reshape(4, 3, 32, 32)) and cifar10.train.x.flags.c_contiguous
    assert cifar10.train.y.tolist() == [1, 0, 0, 1] and cifar10.class_names == ("ship", "airplane")

    (folder / "test_batch").write_bytes(b"damaged")
    assert "intact" in refusal(DataConfig(name="cifar10", root=str(tmp_path)), "data.root")


# --- npz


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
