"""Data sets by name: mnist (shipped), fashion-mnist, cifar10, digits, digits-turned, digits-labels, gaussian and a user's own npz:PATH."""

from __future__ import annotations

import difflib
import http.client
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np

from rayfe.config import DataConfig, require
from rayfe.data.examples import Dataset, Examples, chance, rank_in_class, with_classes, with_train_size
from rayfe.data.gaussian import gaussian
from rayfe.data.idx import TRAIN, VALIDATION, digest, read_idx_split
from rayfe.data.npz import load_npz
from rayfe.exceptions import UsageError

__all__ = ["Dataset", "Examples", "load"]

NAMES = ("mnist", "fashion-mnist", "cifar10", "digits", "digits-turned", "digits-labels", "gaussian", "npz")
FROM_FOLDER = ("fashion-mnist", "cifar10")

MNIST = Path(__file__).parent / "mnist"
MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": "0b367032e93c5d0cea0925647cfdb18614af8ee15f83e6f2fc2ad904a6835971",
    "train-labels-idx1-ubyte.gz": "1787548bbe0bff1ec2ecdc0ef292b02df999e2d1a6002d27500982c652b17203",
    "t10k-images-idx3-ubyte.gz": "1a1a05eab793c14bb050b398624a11b0ffd1a2953baed553b1b9bd079e2a20be",
    "t10k-labels-idx1-ubyte.gz": "b91679a0acfe4ba0e50a2437a903084cba1f5f92592b016a25a7dfd00455798b",
}
TURN, MOVE, COPIES = 45.0, 1.5, 5
"""Degrees and pixels by which digits are turned and moved at most, and how often each."""
LOOPS = (0, 6, 8, 9)
"""Digits with a loop."""
DIGIT_NAMES = tuple(str(digit) for digit in range(10))

FASHION_DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package dataset-fashion-mnist puts its files
FASHION_RAW = Path("FashionMNIST", "raw")  # torchvision's place for them below its root
FASHION_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

FASHION_DIGESTS = (
    "1f243a60b4b748a44c48b9a6f6907be2a08bee3e4e226f0e86fbde8e147b745a",
    "9a494dc49efeb996f4076c469b31cd058152067b1594ba6ab85dd739fce3775e",
)
"""Of training and validation (`idx.digest`): MNIST, KMNIST and others have files of the same names and sizes."""

CIFAR10_FOLDER = "cifar-10-batches-py"

DOWNLOAD_ERRORS = (OSError, RuntimeError, ValueError, EOFError, http.client.HTTPException)


def load(config: DataConfig) -> Dataset:
    """The data set that `config` names, with the classes and the number of training images that it asks for.

    Raises:
        UsageError: data.name, data.root or data.train_size; there is no such data set, class, folder or number of images.
    """
    kind, colon, rest = config.name.partition(":")
    chosen: str | None = rest if colon else None
    if kind not in NAMES:
        _refuse_name(config.name, kind)
    if config.root is not None:
        require(
            kind in FROM_FOLDER, "data.root", config.root, f"only for {' and '.join(FROM_FOLDER)}; leave it out with {kind}"
        )
        require(os.path.isdir(_expanded(config.root)), "data.root", config.root, "no such folder, give one that exists")
    if kind == "npz":
        path, chosen = _npz_path(rest)
        require(bool(path), "data.name", config.name, "give a file, e.g. npz:faces.npz")
        dataset = load_npz(path, name=config.name)
    else:
        dataset = LOADERS[kind](config)
    if chosen is not None:
        dataset = with_classes(dataset, chosen)
    return reduced(dataset, config)


def reduced(dataset: Dataset, config: DataConfig) -> Dataset:
    """The data set with the number of training examples that `config` asks for."""
    return dataset if config.train_size is None else with_train_size(dataset, config.train_size)


def _refuse_name(name: str, kind: str) -> NoReturn:
    if name.endswith(".npz"):
        raise UsageError("data.name", name, f"unknown data set; for a file of your own write npz:{name}")
    if os.path.isdir(_expanded(name)):
        raise UsageError("data.name", name, f"is a folder; in Python, rayfe.walk(data=rayfe.dataset({name!r})) reads images")
    near = difflib.get_close_matches(kind.lower(), NAMES, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError("data.name", name, f"unknown data set; {hint}Known: {', '.join(NAMES[:-1])}, npz:PATH")


def _expanded(path: str) -> str:
    return os.path.expanduser(path)


def _npz_path(rest: str) -> tuple[str, str | None]:
    """File and class list: what follows the last colon is a class list, unless all of `rest` is an existing file."""
    path, colon, chosen = rest.rpartition(":")
    if not colon or os.path.isfile(_expanded(rest)):
        return _expanded(rest), None
    return _expanded(path), chosen


def _mnist(config: DataConfig) -> Dataset:
    try:
        train, validation = (read_idx_split(MNIST, names, classes=10, sha256=MNIST_SHA256) for names in (TRAIN, VALIDATION))
    except OSError as error:
        fix = f"cannot read {Path(error.filename or MNIST).name} ({error.strerror}), install rayfe again"
        raise UsageError("data.name", config.name, fix) from error
    except ValueError as error:
        raise UsageError("data.name", config.name, f"{error}, install rayfe again") from error
    return Dataset(name=config.name, train=train, validation=validation, class_names=DIGIT_NAMES)


def _digits(config: DataConfig) -> Dataset:
    """Scikit-learn's 1797 digits of 8 x 8 pixels; every fifth image of each class is for validation."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    every = Examples(x=(bunch.images[:, None] / 16).astype(np.float32), y=bunch.target.astype(np.int64))
    fifth = rank_in_class(every.y) % 5 == 4
    return Dataset(name=config.name, train=every.take(~fifth), validation=every.take(fifth), class_names=DIGIT_NAMES)


def _digits_turned(config: DataConfig) -> Dataset:
    """The digits, each COPIES times turned by up to TURN degrees and moved by up to MOVE pixels to the side, at random by its number;
    these two are what is to be predicted, in parts of their standard deviation.

    Written digits lean by themselves, so that an image does not tell exactly how far it was turned.
    """
    from scipy.ndimage import affine_transform

    digits = _digits(config)

    def turned(examples: Examples) -> Examples:
        number = (COPIES * examples.number[:, None] + np.arange(COPIES)).ravel()
        turn, move = (2.0 * chance(number, purpose) - 1.0 for purpose in ("turn", "move"))
        images, centre = np.repeat(examples.x, COPIES, axis=0), np.full(2, (examples.x.shape[-1] - 1) / 2)
        for place, angle in enumerate(np.radians(TURN * turn)):
            matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            offset = centre - matrix @ (centre + [0.0, MOVE * move[place]])
            images[place, 0] = affine_transform(images[place, 0], matrix, offset, order=1)
        y = np.stack([turn, move], 1) * 3**0.5  # uniform between -1 and 1 before
        return Examples(x=images.clip(0.0, 1.0), y=y.astype(np.float32), number=number)

    splits = turned(digits.train), turned(digits.validation)
    return replace(digits, train=splits[0], validation=splits[1], class_names=("turn", "move"))


def _digits_labels(config: DataConfig) -> Dataset:
    """The digits with three labels of 0 and 1: whether each is even, is above 4, and has a loop."""
    digits = _digits(config)

    def labelled(examples: Examples) -> Examples:
        y = np.stack([examples.y % 2 == 0, examples.y > 4, np.isin(examples.y, LOOPS)], axis=1)
        return replace(examples, y=y.astype(np.float32))

    splits = labelled(digits.train), labelled(digits.validation)
    return replace(digits, train=splits[0], validation=splits[1], class_names=("even", "above 4", "loop"))


def _fashion_mnist(config: DataConfig) -> Dataset:
    if config.root is not None:
        root = Path(_expanded(config.root))
        folder = root / FASHION_RAW if os.path.isdir(root / FASHION_RAW) else root
        try:
            return _read_fashion_mnist(config, folder)
        except OSError as error:
            missing = Path(error.filename or folder).name
            fix = f"cannot read {missing} there ({error.strerror}), give a folder with Fashion-MNIST's four IDX files"
            raise UsageError("data.root", config.root, fix) from error
        except ValueError as error:
            raise UsageError("data.root", config.root, f"{error}, give a folder with Fashion-MNIST's own files") from error
    cache = cache_folder()
    for folder in (FASHION_DEBIAN, cache / FASHION_RAW):
        try:
            return _read_fashion_mnist(config, folder)
        except (OSError, ValueError):
            continue  # absent, or a download that was cut off: torchvision completes it
    try:
        _torchvision("FashionMNIST", cache, train=True, download=True)
        return _read_fashion_mnist(config, cache / FASHION_RAW)
    except DOWNLOAD_ERRORS as error:
        fix = "allow network access, give ``data.root=FOLDER``, or install the Debian package dataset-fashion-mnist"
        raise UsageError("data.name", config.name, f"download failed{_reason(error)}; {fix}") from error


def _read_fashion_mnist(config: DataConfig, folder: Path) -> Dataset:
    train, validation = (read_idx_split(folder, names, classes=10) for names in (TRAIN, VALIDATION))
    if (digest(train), digest(validation)) != FASHION_DIGESTS:
        raise ValueError("holds other images than Fashion-MNIST's, such as those of MNIST, whose files have the same names")
    return Dataset(name=config.name, train=train, validation=validation, class_names=FASHION_NAMES)


def _cifar10(config: DataConfig) -> Dataset:
    if config.root is not None:
        root = Path(_expanded(config.root)).absolute()
        if root.name == CIFAR10_FOLDER and not os.path.isdir(root / CIFAR10_FOLDER):
            root = root.parent
        try:
            return _read_cifar10(config, root, download=False)
        except (OSError, RuntimeError) as error:
            fix = f"has no readable, intact {CIFAR10_FOLDER}, give the folder that holds CIFAR-10 (python version), unpacked"
            raise UsageError("data.root", config.root, fix) from error
    try:
        return _read_cifar10(config, cache_folder(), download=True)
    except DOWNLOAD_ERRORS as error:
        fix = f"download failed{_reason(error)}; allow network access, or give ``data.root=FOLDER`` with {CIFAR10_FOLDER} in it"
        raise UsageError("data.name", config.name, fix) from error


def _read_cifar10(config: DataConfig, root: Path, *, download: bool) -> Dataset:
    train, validation = (_torchvision("CIFAR10", root, train=split, download=download) for split in (True, False))
    splits = [
        Examples(x=np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)), y=np.array(part.targets, np.int64))
        for part in (train, validation)
    ]
    return Dataset(name=config.name, train=splits[0], validation=splits[1], class_names=tuple(train.classes))


def _torchvision(name: str, root: Path, *, train: bool, download: bool) -> Any:
    import torchvision.datasets  # slow, and needed by these two data sets only

    return getattr(torchvision.datasets, name)(root=root, train=train, download=download)


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or _expanded("~/.cache"), "rayfe")


def _reason(error: BaseException) -> str:
    """The last line of an error's text, where torchvision puts the cause, in brackets."""
    lines = str(error).split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f" ({last[:100]})" if last else ""


LOADERS: Mapping[str, Callable[[DataConfig], Dataset]] = MappingProxyType(
    {
        "mnist": _mnist,
        "fashion-mnist": _fashion_mnist,
        "cifar10": _cifar10,
        "digits": _digits,
        "digits-turned": _digits_turned,
        "digits-labels": _digits_labels,
        "gaussian": gaussian,
    }
)
"""What loads each data set that is not a file of the user's."""
