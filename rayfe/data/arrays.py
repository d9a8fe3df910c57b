"""What people keep numbers in -> numpy arrays: tensors, frames, sparse and masked arrays, lists of images."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence, Set
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from rayfe.config import require
from rayfe.exceptions import UsageError


def as_numbers(values: Any, called: str) -> np.ndarray:
    """Examples as one array (N, ...) of whatever type they have. A frame's columns are features, pictures are (H, W) or (H, W, C).

    Raises:
        UsageError: `called`; it is no array, or its examples differ in shape.
    """
    require(values is not None, called, None, "is missing, give one entry for each example")
    values = _plain(values, called)
    if _is_frame(values):
        return _of_frame(values, called)
    listed = not isinstance(values, np.ndarray) and _is_sequence(values)
    array = stacked(values, called) if listed else _asarray(values, called)
    if array.dtype == object and array.ndim == 1:
        array = stacked(list(array), called)
    return _of_objects(array) if array.dtype == object else array


def as_labels(values: Any, called: str) -> np.ndarray:
    """Labels as an array of whatever type and shape they have; what numpy cannot take keeps its items (dtype object).

    Raises:
        UsageError: `called`; it is no array.
    """
    require(values is not None, called, None, "is missing, give one entry for each example")
    values = _plain(values, called)
    if _is_frame(values):
        return values.to_numpy()
    if not isinstance(values, np.ndarray) and _is_sequence(values):
        return np.array([_plain(item, called) for item in values], dtype=object)
    return _asarray(values, called)


@contextlib.contextmanager
def reading(called: str, values: Any) -> Iterator[None]:
    """Whatever an object of somebody else's raises while it is read becomes a UsageError that names `called`."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(called, type(values).__name__, f"cannot be read ({reason}); give numpy arrays") from error


def alike(one: Any, other: Any) -> bool:
    """Whether two values that a data set gave are the same, as far as arrays can tell."""
    values = [np.asarray(_plain(value, "x")) for value in (one, other)]
    if values[0].dtype == object or values[1].dtype == object:
        return True
    return values[0].shape == values[1].shape and values[0].tobytes() == values[1].tobytes()


def stacked(items: Sequence[Any], called: str) -> np.ndarray:
    """Examples one by one as an array (N, ...).

    Raises:
        UsageError: `called`; one of them is no array, or they differ in shape.
    """
    require(len(items) > 0, called, type(items).__name__, "is empty, give at least one example")
    arrays = [_example(items[place], called, place) for place in range(len(items))]  # not every data set ends when iterated
    shapes = [array.shape for array in arrays]
    other = next((place for place, shape in enumerate(shapes) if shape != shapes[0]), None)
    if other is not None:
        fix = f"has examples of shapes {shapes[0]} and {shapes[other]} (number {other}); bring them to one size and number of channels"
        raise UsageError(called, f"{len(items)} examples", fix)
    return np.stack(arrays)


def described(values: Any) -> str:
    """`values` in a few words, for an error message."""
    if hasattr(values, "dtype") and hasattr(values, "shape"):
        return f"{values.dtype} of shape {tuple(values.shape)}"
    return repr(values) if isinstance(values, str | int | float | os.PathLike | None) else type(values).__name__


def is_picture(item: Any) -> bool:
    """Whether it is an image of Pillow."""
    return hasattr(item, "getbands") and hasattr(item, "convert")


def is_stream(values: Any) -> bool:
    """Whether it can only be read through, such as a generator or a data set that is streamed."""
    return hasattr(values, "__next__") or (hasattr(values, "__iter__") and not hasattr(values, "__len__"))


def of_frames(values: Any) -> Any:
    """A frame, table or column of polars or Arrow as one of pandas; everything else as it is."""
    library = type(values).__module__.partition(".")[0]
    return values.to_pandas() if library in ("polars", "pyarrow") and hasattr(values, "to_pandas") else values


def _plain(values: Any, called: str) -> Any:
    """Tensors, sparse, masked and lazily read values as numpy arrays; frames as those of pandas; the rest as it is."""
    values = of_frames(values)
    require(not hasattr(values, "collect"), called, type(values).__name__, "is not computed yet, give what collect() returns")
    if isinstance(values, np.ma.MaskedArray):
        masked = int(np.ma.count_masked(values))
        require(masked == 0, called, described(values), f"has {masked} masked values, fill or remove them")
        return values.data
    if hasattr(values, "detach") and hasattr(values, "layout"):
        return _of_tensor(values, called)
    if hasattr(values, "toarray") and hasattr(values, "nnz"):
        return np.asarray(values.toarray())
    return values


def _of_tensor(tensor: Any, called: str) -> np.ndarray:
    import torch

    try:
        dense = tensor if tensor.layout == torch.strided else tensor.to_dense()
        return (dense.float() if dense.dtype == torch.bfloat16 else dense).numpy(force=True)
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise UsageError(called, f"tensor on {tensor.device}", f"is no array ({error}); give a tensor with values") from error


def _is_frame(values: Any) -> bool:
    return hasattr(values, "columns") and hasattr(values, "to_numpy")


def _of_frame(frame: Any, called: str) -> np.ndarray:
    """Features of a pandas frame; missing values of its nullable types become NaN."""
    import pandas as pd

    words = [
        str(name) for name, kind in zip(frame.columns, frame.dtypes, strict=True) if not pd.api.types.is_numeric_dtype(kind)
    ]
    fix = f"has columns that are no numbers ({', '.join(words[:5])}), drop or encode them (pandas.get_dummies)"
    require(not words, called, type(frame).__name__, fix)
    array = frame.to_numpy()
    return frame.to_numpy(dtype=float, na_value=np.nan) if array.dtype == object else array


def _of_objects(array: np.ndarray) -> np.ndarray:
    """Python's numbers as floats; anything else as it is."""
    return array.astype(float) if all(isinstance(item, Real | Decimal | np.bool) for item in array.flat) else array


def _is_sequence(values: Any) -> bool:
    array = hasattr(values, "__array__") or isinstance(values, str | bytes | Mapping | Set)
    return not array and hasattr(values, "__len__") and hasattr(values, "__getitem__")


def _asarray(values: Any, called: str) -> np.ndarray:
    kind = type(values).__name__
    require(not is_stream(values), called, kind, "can be read only once, give list(...) of it")
    try:
        array = np.asarray(values)
    except Exception as error:  # an array type of somebody's own may raise anything
        raise UsageError(called, kind, f"is no array ({error}); give a numpy array") from error
    known = "give an array, a tensor, a frame or a list with one entry for each example"
    require(array.ndim > 0, called, described(values), f"is no array; {known}")
    return array


def _example(item: Any, called: str, place: int) -> np.ndarray:
    if is_picture(item):
        return np.asarray(item.convert("RGB") if item.mode in ("P", "PA") else item)
    item = _plain(item, f"{called}[{place}]")
    try:
        array = np.asarray(item)
        return stacked(list(array), called) if array.dtype == object and array.ndim == 1 else array
    except UsageError:
        raise
    except Exception as error:  # ragged, or an array type of somebody's own, which may raise anything
        if _is_sequence(item):
            return stacked(item, f"{called}[{place}]")
        raise UsageError(called, f"number {place}", f"is no array ({error}); give numbers") from error
