"""Folders of images, one folder for each class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rayfe.config import require
from rayfe.data.given import Given
from rayfe.exceptions import UsageError

TRAIN = ("train", "training")
HELD = ("val", "valid", "validation", "test", "testing")
"""Folders that are taken for training and validation where there are no others, the first of each that is there."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp", ".gif")


def read_folder(path: Path, called: str = "x") -> tuple[Given, Given | None]:
    """Images (N, H, W) or (N, H, W, C) with the names of their folders as labels; in `path`, or in its folders train and val.

    What begins with a dot or with __ is left out.

    Raises:
        UsageError: `called`; there are no folders of images, one cannot be read, or images differ in size.
    """
    splits = {folder.name.lower(): folder for folder in _seen(path) if folder.is_dir()}
    train, held = (next((splits[name] for name in names if name in splits), None) for names in (TRAIN, HELD))
    if train is None or not set(splits) <= {*TRAIN, *HELD}:
        return _read(path, called), None
    return _read(train, called), None if held is None else _read(held, called)


def _read(path: Path, called: str) -> Given:
    folders = sorted(folder for folder in _seen(path) if folder.is_dir())
    wanted = "is no folder with one folder of images for each class"
    require(len(folders) > 0, called, str(path), f"{wanted}; make one for each, named as the class is")
    files = [(file, folder.name) for folder in folders for file in _images(folder)]
    empty = next((folder.name for folder in folders if all(folder.name != name for _, name in files)), None)
    fix = f"{wanted}: {empty} has none ({', '.join(SUFFIXES)}); remove it, or put images there"
    require(empty is None, called, str(path), fix)
    images = [_image(file, called) for file, _ in files]
    other = next((k for k, image in enumerate(images) if image.shape != images[0].shape), 0)
    fix = (
        f"has images of shapes {images[0].shape} and {images[other].shape} ({files[other][0]}); bring them to one size and mode"
    )
    require(other == 0, called, str(path), fix)
    labels = np.array([name for _, name in files])
    return Given(x=np.stack(images), y=labels, x_called=called, y_called=called, channels="last")


def _seen(path: Path) -> Iterator[Path]:
    return (child for child in path.iterdir() if not child.name.startswith((".", "__")))


def _images(folder: Path) -> Iterator[Path]:
    """Images in a folder and in folders within it, in order."""
    for child in sorted(_seen(folder)):
        if child.is_dir():
            yield from _images(child)
        elif child.suffix.lower() in SUFFIXES:
            yield child


def _image(file: Path, called: str) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB") if image.mode in ("P", "PA") else image)
    except OSError as error:
        raise UsageError(called, str(file), "is no image that can be read; remove it, or write it again") from error
