"""A data set in one .npz file: a user's own, or the copy that a run keeps."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np

from rayfe.config import require
from rayfe.data.examples import Dataset
from rayfe.data.from_arrays import dataset_of
from rayfe.data.stored_arrays import read_arrays


def load_npz(path: str, *, name: str) -> Dataset:
    """The data set in the .npz file at `path`, whose arrays are as `stored_arrays.stored_of` says; `name` is what the user wrote.

    Raises:
        UsageError: data.name; the file or one of its arrays is not so.
    """
    require(os.path.exists(path), "data.name", name, "no such file, give the path of an .npz file after npz:")
    return dataset_of(read_arrays(path, "data.name", name), name=name)


def npz_bytes(dataset: Dataset) -> bytes:
    """The file from which `load_npz` makes the same data set."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **npz_arrays(dataset))
    return buffer.getvalue()


def npz_arrays(dataset: Dataset) -> dict[str, Any]:
    """The arrays in the file of `npz_bytes`, by name."""
    splits = {"train": dataset.train, "test": dataset.validation}
    arrays = {f"{axis}_{split}": getattr(examples, axis) for split, examples in splits.items() for axis in ("x", "y")}
    arrays["class_names"] = np.array(dataset.class_names)
    if len(dataset.input_shape) == 3:
        arrays["channels"] = np.array("first")
    if dataset.scale is not None:
        arrays |= {"scale_low": dataset.scale.low, "scale_high": dataset.scale.high}
    return arrays
