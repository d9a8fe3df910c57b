"""A data set in one .npz file: a user's own, or the copy that a run keeps."""

from __future__ import annotations

import io
import os
import zipfile
import zlib

import numpy as np

from rayfe.config import require
from rayfe.data.examples import Dataset
from rayfe.data.from_arrays import ARRAYS, dataset_of
from rayfe.exceptions import UsageError


def load_npz(path: str, *, name: str) -> Dataset:
    """The data set in the .npz file at `path`, whose arrays are as `dataset_of` says; `name` is what the user wrote.

    Raises:
        UsageError: data.name; the file or one of its arrays is not so.
    """
    arrays = _read(path, name)
    for array in ARRAYS:
        require(array in arrays, "data.name", name, f"the file lacks the array {array}; it must hold {', '.join(ARRAYS)}")
    return dataset_of(arrays, name=name)


def npz_bytes(dataset: Dataset) -> bytes:
    """The file from which `load_npz` makes the same data set."""
    buffer = io.BytesIO()
    splits = {"train": dataset.train, "test": dataset.validation}
    arrays = {f"{axis}_{split}": getattr(examples, axis) for split, examples in splits.items() for axis in ("x", "y")}
    np.savez_compressed(buffer, class_names=np.array(dataset.class_names), **arrays)
    return buffer.getvalue()


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
