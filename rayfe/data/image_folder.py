"""Folders of images, one folder for each class: what torchvision's ImageFolder is for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rayfe.config import require
from rayfe.data.given import Given
from rayfe.exceptions import UsageError

HELD = ("val", "valid", "validation", "test")
"""Folders beside `train` that are taken for validation, the first that is there."""


def read_folder(path: Path) -> tuple[Given, Given | None]:
    """Images (N, H, W) or (N, H, W, C) with the names of their folders as labels; in `path`, or in its folders train and val.

    Raises:
        UsageError: x; there are no folders of images, one cannot be read, or images differ in size.
    """
    held = next((name for name in HELD if (path / name).is_dir()), None)
    if held is None or not (path / "train").is_dir():
        return _read(path), None
    return _read(path / "train"), _read(path / held)


def _read(path: Path) -> Given:
    from torchvision.datasets import ImageFolder

    try:
        folder = ImageFolder(str(path))
    except FileNotFoundError as error:  # its text says which class has no image
        fix = f"is no folder with one folder of images for each class ({str(error).splitlines()[0].rstrip('. ')})"
        raise UsageError("x", str(path), f"{fix}; lay it out as torchvision's ImageFolder wants it") from error
    images = [_image(Path(file)) for file, _ in folder.samples]
    other = next((k for k, image in enumerate(images) if image.shape != images[0].shape), 0)
    fix = f"has images of shapes {images[0].shape} and {images[other].shape} ({folder.samples[other][0]}); bring them to one size and mode"
    require(other == 0, "x", str(path), fix)
    labels = np.array([folder.classes[label] for _, label in folder.samples])
    return Given(x=np.stack(images), y=labels, x_called="x", y_called="x", channels="last")


def _image(file: Path) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB") if image.mode in ("P", "PA") else image)
    except OSError as error:
        raise UsageError("x", str(file), "is no image that can be read; remove it, or write it again") from error
