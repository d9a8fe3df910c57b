"""Examples of the user's own -> a data set: read from what holds them, checked, in the layout of `Examples`, labels numbered."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rayfe.config import require
from rayfe.config.arguments import checked
from rayfe.data.arrays import described, reading
from rayfe.data.class_numbers import ClassNames, classes_of
from rayfe.data.examples import Dataset, Examples, chance, groups, listing, share_of_class
from rayfe.data.given import Given, given, has_labels
from rayfe.data.image_folder import read_folder
from rayfe.data.pixels import Channels, laid_out, ranged, refuse_dark
from rayfe.data.scale import Rescale, scale_of
from rayfe.data.stored_arrays import Stored, read_arrays, stored_of
from rayfe.exceptions import UsageError, callers_level

HELD = ("validation", "val", "valid", "test")
"""Splits of a mapping that are taken for validation, the first that is there."""
APART = 8.0
"""Factor between the largest values of training and validation examples above which there is a warning."""
SEEN = 0.01
"""Share of validation examples that are training examples, too, above which there is a warning."""


@checked
def dataset(
    x: Any,
    y: Any = None,
    *,
    validation: float | Any = 0.2,
    class_names: ClassNames | None = None,
    name: str = "data",
    channels: Channels | None = None,
    rescale: Rescale = None,
) -> Dataset:
    """A data set from what you have, for `rayfe.walk` and `rayfe.transfer`.

    - `x`: N examples as an array, a tensor, a frame whose columns are features, a sparse matrix or a list of images, shaped
      (N, features), (N, H, W), (N, C, H, W) or (N, H, W, C). Values are uint8 in [0, 255], truth values, or numbers in [0, 1].
    - `y`: N labels, shaped (N,) or (N, 1): whole numbers or words. For regression floats, for several labels of each example 0 and 1,
      shaped (N, k). Without it, x brings the labels: a data set of torch, torchvision or Hugging Face, a list of pairs or of
      records, a mapping of columns, a mapping or .npz file of arrays x_train, y_train, x_test and y_test (or train_images,
      train_labels, val_images, val_labels), or a folder with a folder of images for each class. Where x has columns, y may name the
      one of the labels.
    - `validation`: a pair (x, y) or anything that x may be, or the share of each class's examples that is kept apart for it,
      drawn at random (the same ones at every call). A share is not used where x brings a validation split with it.
    - `class_names`: a list in the order of the classes (or of the columns of y), or a mapping from labels to names. Where labels are
      words, a list gives their order. Without names, classes are called by their labels, in order.
    - `name`: of the run's copy of the data, `data/NAME.npz`.
    - `channels`: first or last, for images of other than 1 or 3 channels.
    - `rescale`: (low, high), the numbers that become 0 and 1; or True, for the range of the training examples (in tables, of each
      feature). What lies outside is clipped. The scale is stored with the run: loaded and exported models take and give
      examples in the units of x.

    Raises:
        UsageError: a ValueError; one line that names the argument, its value and the fix.
    """
    sound = re.fullmatch(r"[A-Za-z0-9_-]{1,100}", name)
    require(bool(sound), "name", name, "name it with letters, digits, - and _, at most 100")
    with reading("x", x):
        stored = _read(x, y)
    with reading("validation", validation):
        held = stored.held if stored.held is not None and _is_share(validation) else _held(validation, y)
    made = _made(replace(stored, held=held), validation, name=name, names=class_names, channels=channels, rescale=rescale)
    _warn(made)
    return made


def dataset_of(arrays: Mapping[str, Any], *, name: str) -> Dataset:
    """The data set of the arrays of an .npz file (`stored_arrays.stored_of`).

    Raises:
        UsageError: data.name; the arrays are not so.
    """
    try:
        return _made(stored_of(arrays, "the file"), name=name)
    except UsageError as error:
        raise UsageError("data.name", name, f"{error.name} {error.fix}") from error


def _made(
    stored: Stored,
    share: float = 0.0,
    *,
    name: str,
    names: ClassNames | None = None,
    channels: Channels | None = None,
    rescale: Rescale = None,
) -> Dataset:
    """The data set of what was read; `share` of each class is kept apart where there is no validation split."""
    train = _laid_out(stored.train, channels)
    brought = stored.class_names if stored.class_names is not None else train.class_names
    classes = classes_of(train.y, names if names is not None else brought, train.y_called)
    again = f"is one too many, {train.x_called} was rescaled before; leave it out"
    require(rescale is None or rescale is False or stored.scale is None, "rescale", rescale, again)
    if (rescale is None or rescale is False) and stored.scale is None:
        refuse_dark(train.x, train.x_called)
        x = ranged(train.x, train.x_called)  # before a part of it is kept apart: errors count all examples
        train = replace(train, x=x)
    train, held = (train, _laid_out(stored.held, channels)) if stored.held is not None else _apart(train, share)
    shapes = f"has examples of shape {held.x.shape[1:]}, but those of {train.x_called} are {train.x.shape[1:]}; both must agree"
    require(train.x.shape[1:] == held.x.shape[1:], held.x_called, described(held.x), shapes)
    scale = scale_of(train.x, rescale)
    x, x_held = (ranged(split.x, split.x_called, scale) for split in (train, held))
    alike = x.dtype == x_held.dtype and (scale is None or (train.x.dtype.kind in "iu") == (held.x.dtype.kind in "iu"))
    fix = f"is {held.x.dtype}, but {train.x_called} is {train.x.dtype}; give both on one scale"
    require(alike, held.x_called, described(held.x), fix)
    y, y_held = (classes.numbered(split.y, split.y_called, train.y_called) for split in (train, held))
    return Dataset(
        name=name,
        train=Examples(x=x, y=y),
        validation=Examples(x=x_held, y=y_held),
        class_names=classes.names,
        scale=scale or stored.scale,
    )


def _laid_out(split: Given, channels: Channels | None) -> Given:
    return replace(split, x=laid_out(split.x, split.x_called, split.channels or channels))


def _read(x: Any, y: Any, called: str = "x") -> Stored:
    """The splits that x holds."""
    if isinstance(x, str | os.PathLike):
        require(y is None, "y", type(y).__name__, f"is one too many, {called} is a place of examples with labels; leave it out")
        path = Path(x).expanduser()
        if path.is_dir():
            train, held = read_folder(path, called)
            return Stored(train=train, held=held)
        fix = "is no folder of images and no .npz file; give one, or arrays (numpy.load, pandas.read_csv)"
        require(path.is_file() and path.suffix == ".npz", called, str(x), fix)
        return stored_of(read_arrays(str(path), called, str(x)), called)
    if not isinstance(x, Mapping) or (y is not None and not isinstance(y, str)):
        return Stored(train=given(x, y))
    splits = {str(key).lower(): value for key, value in x.items()}
    if "train" not in splits:
        return stored_of(x) if any("train" in split for split in splits) else Stored(train=given(x, y))
    held = next((_split(splits[name], y, f"x[{name!r}]") for name in HELD if name in splits), None)
    return Stored(train=_split(splits["train"], y, "x['train']"), held=held)


def _split(values: Any, y: Any, called: str) -> Given:
    """A split that is a pair (x, y), or that brings its labels."""
    pair = isinstance(values, tuple | list) and len(values) == 2 and not has_labels(values)
    x, labels = values if pair else (values, y if isinstance(y, str) else None)
    return given(x, labels, x_called=f"x of {called}", y_called=f"y of {called}")


def _held(validation: Any, y: Any) -> Given | None:
    """The validation split that was given; None where it is a share."""
    if _is_share(validation):
        fix = "give a share between 0 and 1, or a pair (x, y)"
        require(0 < validation < 1, "validation", validation, fix)
        return None
    require(
        not (validation is None or isinstance(validation, bool)),
        "validation",
        validation,
        "give a share such as 0.2, or a pair (x, y)",
    )
    if isinstance(validation, str | os.PathLike):
        return replace(_read(validation, None, "validation").train, x_called="validation", y_called="validation")
    return _split(validation, y, "validation")


def _is_share(validation: Any) -> bool:
    return isinstance(validation, float)


def _apart(split: Given, share: float) -> tuple[Given, Given]:
    """Training and validation: that share of each class, drawn at random.

    Raises:
        UsageError: validation; no class has enough examples for one.
    """
    _, y, counts = np.unique(groups(split.y), return_inverse=True, return_counts=True)
    held = share_of_class(y, share, chance(np.arange(len(y)), "validation"))
    most = int(counts.max())
    enough = f"give at least {math.ceil(100 / most) / 100}" if most > 1 else "give labels that are classes"
    fix = f"leaves no example for validation, since the largest class has {most}; {enough}, or a pair (x, y)"
    require(bool(held.any()), "validation", share, fix)
    train, validation = (replace(split, x=split.x[rows], y=split.y[rows]) for rows in (~held, held))
    return train, validation


def _warn(data: Dataset) -> None:
    """What can be used, but may not be meant."""
    absent = []
    if data.train.y.ndim == 1:
        present, counts = np.unique(data.validation.y), np.bincount(data.train.y, minlength=data.classes)
        absent = [f"{data.class_names[k]} ({counts[k]} for training)" for k in range(data.classes) if k not in present]
    if absent:
        text = f"data {data.name}: validation has no example of {listing(tuple(absent), 5)}; its C and accuracy say nothing of these"
        warnings.warn(text, stacklevel=callers_level())
    largest = [float(split.x.max()) for split in (data.train, data.validation)]
    if max(largest) > APART * min(largest):
        text = f"data {data.name}: training examples go up to {largest[0]:.3g}, validation up to {largest[1]:.3g}"
        warnings.warn(f"{text}; bring both to one scale", stacklevel=callers_level())
    seen = {hash(row.tobytes()) for row in data.train.x}
    twice = sum(hash(row.tobytes()) in seen for row in data.validation.x)
    if twice > SEEN * len(data.validation.y):
        text = f"data {data.name}: {twice} of {len(data.validation.y)} validation examples are training examples, too"
        warnings.warn(f"{text}; what is measured on them is too good", stacklevel=callers_level())
