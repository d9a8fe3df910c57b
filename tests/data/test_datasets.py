"""Data sets load as documented, and what cannot be loaded is refused in one line."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_sets import refusal, write_idx_folder
from rayfe.config import DataConfig
from rayfe.data import datasets
from rayfe.data.datasets import Dataset, Examples, load
from rayfe.data.examples import with_train_size
from rayfe.data.idx import TRAIN, VALIDATION, digest, read_idx_split


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


def let_pass(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the files in `folder` for the published ones of Fashion-MNIST."""
    splits = (read_idx_split(folder, names, classes=10) for names in (TRAIN, VALIDATION))
    monkeypatch.setattr(datasets, "FASHION_DIGESTS", tuple(digest(split) for split in splits))


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
def test_train_size_takes_as_many_of_each_class_as_possible_at_random(labels: list[int], data: st.DataObject) -> None:
    y = np.array(labels)
    size = data.draw(st.integers(len(set(labels)), len(labels)))
    split = Examples(x=np.arange(len(y))[:, None], y=y)
    part = with_train_size(Dataset(name="any", train=split, validation=split, class_names=tuple("abcde")), size).train
    rows = part.x[:, 0]
    assert len(rows) == size and np.all(np.diff(rows) > 0) and np.array_equal(part.y, y[rows])
    counts, available = np.bincount(part.y, minlength=5), np.bincount(y, minlength=5)
    for label in range(5):
        assert len(set(rows[part.y == label])) == counts[label]
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
        ("imagenet", "Known: mnist, fashion-mnist, cifar10, digits, digits-turned, digits-labels, gaussian, npz:PATH"),
        ("faces.npz", "write npz:faces.npz"),
        ("tests", "is a folder; in Python, rayfe.walk(data=rayfe.dataset('tests')) reads images"),
        ("npz", "give a file"),
        ("npz:", "give a file"),
        ("npz:absent.npz", "no such file"),
        ("npz:absent.npz:0-4", "no such file"),
        pytest.param("npz:" + 4000 * "x", "no such file", id="long-name"),
        ("npz:.", "is no regular file, give the path of an .npz file"),
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
    assert "no such folder" in refusal(DataConfig(name=name, root="absent"), "data.root")
    assert "give " in refusal(DataConfig(name=name, root=str(tmp_path)), "data.root")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("below", ["", "FashionMNIST/raw"])
def test_fashion_mnist_is_read_from_a_folder(zipped: bool, below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = write_idx_folder(tmp_path / below, zipped=zipped)
    let_pass(tmp_path / below, monkeypatch)
    fashion = load(DataConfig(name="fashion-mnist:Sandal,T-shirt/top", root=str(tmp_path)))
    assert fashion.class_names == ("Sandal", "T-shirt/top")
    assert np.array_equal(fashion.train.x, images[[0, 5, 10, 15], None]) and fashion.train.y.tolist() == [1, 0, 1, 0]


def test_the_files_of_mnist_are_not_taken_for_fashion_mnist() -> None:
    message = refusal(DataConfig(name="fashion-mnist", root=str(datasets.MNIST)), "data.root")
    assert "other images than Fashion-MNIST's" in message and "give a folder with Fashion-MNIST's own files" in message


@pytest.mark.skipif(not datasets.FASHION_DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is absent")
def test_fashion_mnist_is_the_published_data_set() -> None:
    fashion = load(DataConfig(name="fashion-mnist", root=str(datasets.FASHION_DEBIAN)))
    assert fashion.train.x.shape == (60000, 1, 28, 28) and fashion.class_names[fashion.train.y[0]] == "Ankle boot"


def test_fashion_mnist_without_root_comes_from_debian_or_the_cache(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = write_idx_folder(datasets.FASHION_DEBIAN, zipped=True)
    let_pass(datasets.FASHION_DEBIAN, monkeypatch)
    assert np.array_equal(load(DataConfig(name="fashion-mnist")).train.x, images[:, None])
    shutil.rmtree(datasets.FASHION_DEBIAN)
    write_idx_folder(nowhere / "FashionMNIST" / "raw", zipped=False)
    assert np.array_equal(load(DataConfig(name="fashion-mnist")).train.x, images[:, None])


def test_fashion_mnist_is_downloaded_into_the_cache(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.datasets

    def download(*, root: Path, train: bool, download: bool) -> None:
        assert download and Path(root) == nowhere
        write_idx_folder(root / "FashionMNIST" / "raw", zipped=False)
        let_pass(root / "FashionMNIST" / "raw", monkeypatch)

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
