"""A user's own data set: one .npz file with the arrays x_train, y_train, x_test and y_test."""

from __future__ import annotations

import os
import zipfile
import zlib

import numpy as np

from rayfe.config import UsageError, require
from rayfe.data.examples import Dataset, Examples

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def load_npz(path: str, *, name: str) -> Dataset:
    """The data set in the .npz file at `path`; `name` is what the user wrote.

    `x_*` is uint8, or floating-point in [0, 1], shaped (N, features), (N, H, W), (N, C, H, W) or (N, H, W, C). Four dimensions
    are taken for channels-last where the last is 1 or 3 and the second is neither. `y_*` holds integer labels from 0. Classes
    are named by `class_names` (or `classes`), else by their labels, and then none of them may lack training examples.

    Raises:
        UsageError: data.name; the file or one of its arrays is not so.
    """
    arrays = _read(path, name)
    for array in ARRAYS:
        require(array in arrays, "data.name", name, f"the file lacks the array {array}; it must hold {', '.join(ARRAYS)}")
    x_train, x_test = (_pixels(arrays[array], array, name) for array in ("x_train", "x_test"))
    y_train, y_test = (_labels(arrays[array], array, name) for array in ("y_train", "y_test"))
    for split, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        fix = f"x_{split} has {len(x)} examples and y_{split} {len(y)}, store equally many"
        require(len(x) == len(y), "data.name", name, fix)
    same_shape = f"x_train and x_test must agree, but their examples are shaped {x_train.shape[1:]} and {x_test.shape[1:]}"
    require(x_train.shape[1:] == x_test.shape[1:], "data.name", name, same_shape)
    same_type = f"x_train and x_test must agree, but they are {x_train.dtype} and {x_test.dtype}"
    require(x_train.dtype == x_test.dtype, "data.name", name, same_type)
    return Dataset(
        name=name,
        train=Examples(x=x_train, y=y_train),
        validation=Examples(x=x_test, y=y_test),
        class_names=_class_names(arrays, y_train, y_test, name),
    )


def _read(path: str, name: str) -> dict[str, np.ndarray]:
    require(os.path.exists(path), "data.name", name, "no such file, give the path of an .npz file after npz:")
    wanted = {*ARRAYS, "class_names", "classes"}
    array = "the archive"
    try:
        with open(path, "rb") as file:
            require(zipfile.is_zipfile(file), "data.name", name, "not an .npz file, write one with numpy.savez")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {}
                for array in archive.files:
                    if array in wanted:
                        arrays[array] = np.asarray(archive[array])
                return arrays
    except UsageError:
        raise
    except OSError as error:
        raise UsageError("data.name", name, f"cannot be read ({error.strerror or 'input error'}), give another file") from error
    except (ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        fix = f"{array} is damaged or holds Python objects; write it again with numpy.savez, as numbers or strings"
        raise UsageError("data.name", name, fix) from error


def _pixels(x: np.ndarray, array: str, name: str) -> np.ndarray:
    shaped = f"{array} has shape {x.shape}, but must be (N, features), (N, H, W), (N, C, H, W) or (N, H, W, C)"
    require(2 <= x.ndim <= 4, "data.name", name, shaped)
    require(x.size > 0, "data.name", name, f"{array} of shape {x.shape} is empty, store at least one example")
    typed = f"{array} is {x.dtype}, but must be uint8, or floating-point in [0, 1]"
    require(x.dtype == np.uint8 or x.dtype.kind == "f", "data.name", name, typed)
    if x.dtype.kind == "f":
        require(bool(np.isfinite(x).all()), "data.name", name, f"{array} has NaN or infinite values, remove them")
        low, high = x.min(), x.max()
        ranged = f"{array} ranges from {low:.4g} to {high:.4g}, rescale it to [0, 1] or store it as uint8"
        require(bool(low >= 0 and high <= 1), "data.name", name, ranged)
        x = x.astype(np.float32)
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and x.shape[3] in (1, 3) and x.shape[1] not in (1, 3):
        x = x.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(x)


def _labels(y: np.ndarray, array: str, name: str) -> np.ndarray:
    vector = f"{array} is {y.dtype} of shape {y.shape}, but must be a vector of integers"
    require(y.ndim == 1 and y.dtype.kind in "iu", "data.name", name, vector)
    require(y.size > 0, "data.name", name, f"{array} is empty, store at least one example")
    require(int(y.min()) >= 0, "data.name", name, f"{array} has the label {y.min()}, number the classes from 0")
    require(int(y.max()) < 2**31, "data.name", name, f"{array} has the label {y.max()}, number the classes from 0 without gaps")
    return y.astype(np.int64)


def _class_names(arrays: dict[str, np.ndarray], y_train: np.ndarray, y_test: np.ndarray, name: str) -> tuple[str, ...]:
    largest = int(y_train.max())
    require(largest >= 1, "data.name", name, "y_train has one class only, store at least two")
    above = f"y_test has the label {y_test.max()}, above the largest of y_train ({largest}); both must use the same classes"
    require(int(y_test.max()) <= largest, "data.name", name, above)
    key = "class_names" if "class_names" in arrays else "classes"
    if key not in arrays:
        found = np.unique(y_train)
        fix = f"y_train has labels up to {largest} but only {len(found)} of these classes; number them from 0 without gaps"
        require(len(found) == largest + 1, "data.name", name, fix)
        return tuple(str(label) for label in found)
    stored = arrays[key]
    require(stored.ndim == 1 and stored.dtype.kind == "U", "data.name", name, f"{key} must be a vector of strings")
    names = tuple(str(word) for word in stored)
    sound = len(set(names)) == len(names) and all(word and word.isprintable() for word in names)
    require(sound, "data.name", name, f"{key} must be different names on one line each")
    few = f"{key} has {len(names)} names, but the labels go up to {largest}; name every class"
    require(len(names) > largest, "data.name", name, few)
    return names
