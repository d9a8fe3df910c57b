"""The arrays of an .npz file by their names: two splits, names of classes, order of channels, scale."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from rayfe.config import require
from rayfe.data.arrays import as_numbers, described
from rayfe.data.class_numbers import ClassNames, labels_of
from rayfe.data.examples import listing
from rayfe.data.given import Given
from rayfe.data.scale import Scale, scale_between
from rayfe.exceptions import UsageError

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
AXES = (("x", "y"), ("images", "labels"), ("data", "labels"), ("data", "targets"))
HELD = ("val", "valid", "validation", "test")
STYLES = (
    ARRAYS,
    *((f"{x}_train", f"{y}_train", f"{x}_{held}", f"{y}_{held}") for x, y in AXES for held in HELD),
    *((f"train_{x}", f"train_{y}", f"{held}_{x}", f"{held}_{y}") for x, y in AXES for held in HELD),
)
"""Names of examples and labels for training, then for validation: the first that are there."""
NAMES = ("class_names", "classes")
SCALE = ("scale_low", "scale_high")
CHANNELS = "channels"
WANTED = frozenset((*(name for style in STYLES for name in style), *NAMES, *SCALE, CHANNELS))


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """What a source of examples holds: one split or two, and what it says of them."""

    train: Given
    held: Given | None = None
    class_names: ClassNames | None = None
    scale: Scale | None = None


def stored_of(arrays: Mapping[str, Any], called: str = "x") -> Stored:
    """Both splits of the arrays x_train, y_train, x_test, y_test, or of another style; capital letters do not matter.

    Optional are class_names (or classes), a vector of strings; channels, `first` or `last`; and scale_low and scale_high, where x
    was brought to [0, 1].

    Raises:
        UsageError: `called`, an array is missing; or the name of an array that is not so.
    """
    keys = {name.lower(): name for name in arrays}
    style = max(STYLES, key=lambda names: sum(name in keys for name in names))
    missing = next((name for name in style if name not in keys), None)
    fix = f"lacks the array {missing}; it must hold {', '.join(ARRAYS)} (or train_images, train_labels, val_images, val_labels)"
    require(missing is None, called, listing(tuple(keys)), fix)
    names = next((np.asarray(arrays[keys[name]]) for name in NAMES if name in keys), None)
    sound = names is None or (names.ndim == 1 and names.dtype.kind == "U")
    require(sound, "class_names", described(names), "must be a vector of strings")
    channels: Any = str(arrays[keys[CHANNELS]]) if CHANNELS in keys else None
    require(channels in (None, "first", "last"), CHANNELS, channels, "must be first or last")
    train, validation = (
        Given(
            x=as_numbers(arrays[keys[x]], keys[x]),
            y=labels_of(arrays[keys[y]], keys[y]),
            x_called=keys[x],
            y_called=keys[y],
            channels=channels,
        )
        for x, y in (style[:2], style[2:])
    )
    for split in (train, validation):
        fix = f"has {len(split.x)} examples and {split.y_called} {len(split.y)} labels, store equally many"
        require(len(split.x) == len(split.y), split.x_called, len(split.x), fix)
    scale = None
    if any(name in keys for name in SCALE):
        ends = (arrays[keys[name]] if name in keys else None for name in SCALE)
        scale = scale_between(
            *ends, x=train.x, called=" and ".join(SCALE), fix="must be finite numbers, the first not above the second"
        )
    return Stored(train=train, held=validation, class_names=None if names is None else names.tolist(), scale=scale)


def check_unpacked(archive: zipfile.ZipFile, field: str, given: str) -> None:
    """Raises UsageError: `field`; unpacked the arrays have more bytes than half of this machine's memory."""
    size, most = (
        sum(entry.file_size for entry in archive.infolist()),
        os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2,
    )
    require(
        size <= most, field, given, f"holds {size} bytes when unpacked, more than the {most} that are read; give a smaller file"
    )


def read_arrays(source: str | BinaryIO, field: str, given: str) -> dict[str, np.ndarray]:
    """The arrays that `stored_of` knows of an .npz file, by its path or opened.

    Raises:
        UsageError: `field`; the file cannot be read.
    """
    array = "the archive"
    try:
        sound = not isinstance(source, str) or os.path.isfile(source)
        require(sound, field, given, "is no regular file, give the path of an .npz file")
        with open(source, "rb") if isinstance(source, str) else source as file:
            require(zipfile.is_zipfile(file), field, given, "not an .npz file, write one with numpy.savez")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                check_unpacked(archive.zip, field, given)
                arrays = {}
                for array in archive.files:
                    if array.lower() in WANTED:
                        arrays[array] = np.asarray(archive[array])
                return arrays
    except UsageError:
        raise
    except OSError as error:
        raise UsageError(field, given, f"cannot be read ({error.strerror or 'input error'}), give another file") from error
    except Exception as error:  # of a header: whatever Python's tokenizer and parser raise; of the rest: whatever unpacks it
        fix = f"{array} is damaged or holds Python objects; write it again with numpy.savez, as numbers or strings"
        raise UsageError(field, given, fix) from error
