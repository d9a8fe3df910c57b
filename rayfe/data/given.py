"""Examples with their labels in whatever people keep them -> arrays of x and y.

Arrays and frames with labels beside them; data sets of torch, torchvision and Hugging Face; lists of pairs or of records; mappings
of columns; the arrays of an .npz file; folders of images. Libraries are told by what their objects offer, so that none is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rayfe.config import require
from rayfe.data.arrays import alike, as_numbers, described, is_picture, is_stream, of_frames
from rayfe.data.class_numbers import labels_of
from rayfe.data.pixels import Channels
from rayfe.exceptions import UsageError

LABELS = ("label", "labels", "target", "targets", "class", "y")
"""Columns that are taken for labels where none is named."""
REREAD = 16
"""Items of a data set that are read twice, to see whether they are drawn at random."""
MISSING = "is no list of labels; give one label for each example: rayfe.dataset(x, y)"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Given:
    """One split as it was given: x (N, ...) of any type and scale, y (N,) labels."""

    x: np.ndarray
    y: np.ndarray
    x_called: str = "x"
    y_called: str = "y"
    class_names: tuple[str, ...] | None = None
    """Names of the labels 0, 1, ... that the data bring with them."""
    channels: Channels | None = None
    """Order of axes, where it is known."""


def given(x: Any, y: Any, *, x_called: str = "x", y_called: str = "y") -> Given:
    """Examples x with labels y; y None where x has them itself, or the name of a column of x.

    Raises:
        UsageError: x or y; they cannot be read, or there are not as many of one as of the other.
    """
    names, pictures = None, x
    loader = hasattr(x, "dataset") and hasattr(x, "batch_size")
    require(not loader, x_called, type(x).__name__, "serves batches, give its data set (loader.dataset)")
    if not (y is None or isinstance(y, str)):
        if isinstance(tensors := getattr(x, "tensors", None), tuple) and len(tensors) == 1:
            pictures = x = tensors[0]
        twice = not isinstance(x, list | tuple) and has_labels(x)
        require(not twice, y_called, type(y).__name__, f"is one too many, {x_called} has labels of its own; leave it out")
    elif isinstance(x, Mapping) or hasattr(x, "column_names") or hasattr(of_frames(x), "columns"):
        names = _feature_names(x, y)
        pictures, y = _of_columns(of_frames(x), y, x_called, y_called)
    else:
        names = _names(x)
        pictures, y = _of_items(x, y, x_called, y_called)
    order = "has the rows of x in another order, by its index; give y.loc[x.index]"
    require(not _reordered(pictures, y), y_called, type(y).__name__, order)
    channels: Channels | None = None
    if isinstance(pictures, list | tuple) and len(pictures) > 0 and is_picture(pictures[0]):
        channels = "last"
    made_x, made_y = as_numbers(pictures, x_called), labels_of(y, y_called)
    fix = f"has {len(made_x)} examples, but {y_called} has {len(made_y)} labels; give equally many"
    require(len(made_x) == len(made_y), x_called, described(made_x), fix)
    leaked = _labels_among(pictures, made_y)
    fix = f"has the column {leaked}, which holds the labels; drop it, or name it instead of {y_called}"
    require(leaked is None, x_called, type(pictures).__name__, fix)
    if names is not None and (made_y.dtype.kind not in "iu" or not 0 <= made_y.min() <= made_y.max() < len(names)):
        names = None  # these are names of something else
    return Given(x=made_x, y=made_y, x_called=x_called, y_called=y_called, class_names=names, channels=channels)


def has_labels(x: Any) -> bool:
    """Whether x is a list or data set whose items are pairs of an example and its label."""
    sized = hasattr(x, "__len__") and hasattr(x, "__getitem__") and not hasattr(x, "shape")
    if not sized or isinstance(x, Mapping | str | bytes) or hasattr(of_frames(x), "columns") or hasattr(x, "column_names"):
        return False
    return len(x) > 0 and _is_pair(_item(x, 0, "x"), x)


def _reordered(x: Any, y: Any) -> bool:
    """Whether both are of pandas and have the same index in different orders."""
    index, other = (getattr(end, "index", None) for end in (x, y))
    if index is None or other is None or not (hasattr(index, "equals") and hasattr(other, "equals")):
        return False
    return len(index) == len(other) and not index.equals(other) and set(index) == set(other)


def _labels_among(x: Any, y: np.ndarray) -> Any:
    """The name of a column of the frame x that is called like labels and holds the labels y; None where there is none."""
    frame = of_frames(x)
    columns = frame.columns if hasattr(frame, "columns") and hasattr(frame, "to_numpy") else ()
    return next((name for name in columns if str(name).lower() in LABELS and np.array_equal(frame[name], y)), None)


def _is_pair(item: Any, of: Any) -> bool:
    """Lists of numbers are examples within a list, and pairs within a data set."""
    return isinstance(item, tuple) or (isinstance(item, list) and not isinstance(of, list | tuple))


def _of_items(x: Any, y: str | None, x_called: str, y_called: str) -> tuple[Any, Any]:
    """Examples and labels of a list or data set, item by item."""
    kind = type(x).__name__
    require(x is not None, x_called, None, "is missing, give the examples")
    require(not is_stream(x), x_called, kind, "can be read only once, give list(...) of it")
    tensors = getattr(x, "tensors", None)
    if isinstance(tensors, tuple):
        require(len(tensors) == 2, x_called, kind, f"has {len(tensors)} tensors, give one of examples and one of labels")
        return tensors
    pair = isinstance(x, tuple) and len(x) == 2
    require(not pair, x_called, kind, "holds two things; give them apart: rayfe.dataset(x, y, validation=(x, y))")
    sized = hasattr(x, "__len__") and hasattr(x, "__getitem__") and not hasattr(x, "shape")
    require(sized, y_called, y, MISSING)
    require(len(x) > 0, x_called, kind, "is empty, give at least one example")
    items = [_item(x, place, x_called) for place in range(len(x))]
    drawn = not isinstance(x, list | tuple) and next(
        (place for place, item in enumerate(items[:REREAD]) if not _same(item, _item(x, place, x_called))), None
    )
    fix = f"gives another example when number {drawn} is read again; leave out random transforms, which would be drawn once and kept"
    require(drawn is None or drawn is False, x_called, kind, fix)
    if all(isinstance(item, Mapping) for item in items):
        return _of_columns({name: [item.get(name) for item in items] for name in items[0]}, y, x_called, y_called)
    require(y is None and _is_pair(items[0], x), y_called, y, MISSING)
    other = next((place for place, item in enumerate(items) if not _is_pair(item, x) or len(item) != 2), None)
    fix = f"has items that are no pairs of an example and its label (number {other}), give pairs"
    require(other is None, x_called, kind, fix)
    return [item[0] for item in items], [item[1] for item in items]


def _same(one: Any, other: Any) -> bool:
    """Whether an item of a data set is what it was when it was read before."""
    if isinstance(one, Mapping):
        return all(alike(value, other[name]) for name, value in one.items())
    return all(map(alike, one, other)) if isinstance(one, tuple | list) else alike(one, other)


def _item(x: Any, place: int, called: str) -> Any:
    try:
        return x[place]
    except Exception as error:  # a data set of the user's own may raise anything
        fix = f"cannot be read at number {place} ({type(error).__name__}: {error}); mend the data set, or leave this out"
        raise UsageError(called, type(x).__name__, fix) from error


def _of_columns(x: Any, y: str | None, x_called: str, y_called: str) -> tuple[Any, Any]:
    """Examples and labels among columns: the labels by name, the others one column of images or several of numbers."""
    require(hasattr(x, "__len__"), x_called, type(x).__name__, "can be read only once, load it without streaming")
    names = list(x.column_names if hasattr(x, "column_names") else x.columns if hasattr(x, "columns") else x)
    found = [name for name in names if (str(name).lower() in LABELS if y is None else name == y)]
    known = f"the columns are {', '.join(map(str, names[:12]))}"
    fix = f"is not clear; {known}; name the labels, e.g. rayfe.dataset(x, {str(names[-1]) if names else 'label'!r})"
    require(len(found) == 1, y_called, y, fix)
    others = [name for name in names if name != found[0]]
    require(len(others) > 0, x_called, type(x).__name__, f"has no column of examples; {known}")
    columns = x if isinstance(x, Mapping) or hasattr(x, "columns") else x[:]
    count = len(columns[found[0]]) if hasattr(columns[found[0]], "__len__") else 0
    short = next((name for name in others if not hasattr(columns[name], "__len__") or len(columns[name]) != count), None)
    fix = f"has a column {short} without one entry for each of {count} labels; give examples and labels apart: rayfe.dataset(x, y)"
    require(short is None, x_called, type(x).__name__, fix)
    whole = [name for name in others if not _is_scalar(columns[name])]
    if len(whole) > 1:
        fix = f"has several columns of arrays ({', '.join(map(str, whole))}), leave one"
        raise UsageError(x_called, type(x).__name__, fix)
    if whole:
        return _values(columns[whole[0]]), _values(columns[found[0]])
    import pandas as pd

    return pd.DataFrame({name: columns[name] for name in others}), columns[found[0]]


def _is_scalar(column: Any) -> bool:
    """Whether a column has one number or word for each example, by its first entry."""
    first = next(iter(column), None)
    return not (is_picture(first) or isinstance(first, Sequence | Mapping) or getattr(first, "ndim", 0) > 0) or isinstance(
        first, str
    )


def _values(column: Any) -> Any:
    """A column as an array or list: those of frames hold arrays as objects."""
    if not hasattr(column, "to_numpy"):
        return column
    array = np.asarray(column)
    return list(array) if array.dtype == object else array


def _names(x: Any) -> tuple[str, ...] | None:
    """Class names that a data set of torchvision brings with it, also where it is a part of one."""
    names = getattr(x, "classes", None)
    if names is None and hasattr(x, "indices") and hasattr(x, "dataset"):
        return _names(x.dataset)
    return tuple(names) if isinstance(names, Sequence) and all(isinstance(name, str) for name in names) else None


def _feature_names(x: Any, y: str | None) -> tuple[str, ...] | None:
    """Class names of Hugging Face's features."""
    features = getattr(x, "features", None)
    if not isinstance(features, Mapping):
        return None
    label = next((name for name in features if (name.lower() in LABELS if y is None else name == y)), None)
    names = getattr(features.get(label), "names", None)
    return None if names is None else tuple(names)
