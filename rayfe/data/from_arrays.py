"""Arrays of the user's own -> a data set: checked, brought into the layout of `Examples`, labels numbered."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rayfe.config import require
from rayfe.data.examples import Dataset, Examples, chance, share_of_class
from rayfe.exceptions import UsageError

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def dataset(
    x: Any,
    y: Any,
    *,
    validation: float | tuple[Any, Any] = 0.2,
    class_names: Sequence[str] | None = None,
    name: str = "data",
) -> Dataset:
    """A data set from arrays, tensors or pandas frames, for `rayfe.walk` and `rayfe.transfer`.

    `x` holds N examples: uint8, or floating-point in [0, 1], shaped (N, features), (N, H, W), (N, C, H, W) or (N, H, W, C); a
    frame's columns are features. `y` holds N labels: whole numbers from 0, or anything else that has an order, such as
    strings, which then name the classes. `validation` is a pair of such arrays, or the share of each class's examples that
    is kept apart for it, drawn at random (the same ones at every call). `name` names the run's copy of the data, `data/NAME.npz`.

    Raises:
        UsageError: `data`; the arrays are not so.
    """
    require(bool(re.fullmatch(r"[A-Za-z0-9_-]+", name)), "data", name, "name it with letters, digits, - and _")
    images, labels = _array(x, "x"), _array(y, "y")
    fix = f"x has {len(images)} examples and y {len(labels)}, give equally many"
    require(images.ndim > 0 and labels.ndim > 0 and len(images) == len(labels), "data", name, fix)
    if isinstance(validation, tuple):
        x_test, y_test = _array(validation[0], "x of validation"), _array(validation[1], "y of validation")
    else:
        require(0 < validation < 1, "data", name, f"validation {validation}: give a share between 0 and 1, or arrays (x, y)")
    labels, found = _numbered(labels, name)
    if isinstance(validation, tuple):
        y_test = _numbered(y_test, name, found)[0]
    else:
        apart = _apart(labels, validation)
        images, labels, x_test, y_test = images[~apart], labels[~apart], images[apart], labels[apart]
    arrays = {"x_train": images, "y_train": labels, "x_test": x_test, "y_test": y_test}
    if class_names is not None or found is not None:
        arrays["class_names"] = np.array([str(word) for word in (class_names if class_names is not None else found or ())])
    return dataset_of(arrays, name=name, field="data")


def dataset_of(arrays: Mapping[str, np.ndarray], *, name: str, field: str = "data.name") -> Dataset:
    """The data set of the arrays x_train, y_train, x_test, y_test and, if it is there, class_names (or classes).

    `x_*` and `y_*` are as `dataset` says, labels whole numbers from 0. Four dimensions are taken for channels-last where
    the last is 1 or 3 and the second is neither. Classes without names are named by their labels, and then none of
    them may lack training examples.

    Raises:
        UsageError: `field`; the arrays are not so.
    """
    try:
        return _dataset_of(arrays, name)
    except UsageError as error:
        raise UsageError(field, name, error.fix) from error.__cause__


def _dataset_of(arrays: Mapping[str, np.ndarray], name: str) -> Dataset:
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


def _array(values: Any, what: str) -> np.ndarray:
    """An array of anything that numpy takes: lists, frames, tensors of the CPU."""
    try:
        return np.asarray(values)
    except Exception as error:  # a tensor on a GPU, or one that needs a gradient
        raise UsageError("data", what, f"is no array ({error}); give x.detach().cpu().numpy()") from error


def _numbered(y: np.ndarray, name: str, known: Sequence[Any] | None = None) -> tuple[np.ndarray, list[Any] | None]:
    """Labels as numbers, with the values that they stand for where they were none (`known`: those of the training split)."""
    if y.ndim != 1 or y.dtype.kind in "iuf":
        return y, None
    values = sorted(set(y.tolist()), key=str) if known is None else list(known)
    number = {value: i for i, value in enumerate(values)}
    unknown = next((value for value in y.tolist() if value not in number), None)
    require(unknown is None, "data", name, f"validation has the label {unknown!r}, which training has not")
    return np.array([number[value] for value in y.tolist()], np.int64), values


def _apart(y: np.ndarray, share: float) -> np.ndarray:
    """A mask of that share of each class, drawn at random."""
    if y.ndim != 1:
        return np.zeros(len(y), bool)  # refused later, with its shape
    return share_of_class(y, share, chance(np.arange(len(y)), "validation"))


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


def _class_names(arrays: Mapping[str, np.ndarray], y_train: np.ndarray, y_test: np.ndarray, name: str) -> tuple[str, ...]:
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
