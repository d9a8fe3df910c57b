"""The data of a stored run, from files that are on this machine: nothing is downloaded."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rayfe.config import RunConfig, configure
from rayfe.data.datasets import FASHION_DEBIAN, FROM_FOLDER, cache_folder
from rayfe.data.paths import PathData, by_outputs, load_path
from rayfe.exceptions import UsageError


def load_here(config: RunConfig, root: str | None = None, *, kept: str | None = None, outputs: Sequence[str] = ()) -> PathData:
    """What `load_path` gives, from `root` or the places where files are kept; couplings are not computed. `outputs` are the
    `class_names` of a stored run: one that started from a stored model numbers its classes as that did.

    `root`: the folder of fashion-mnist or cifar10, or of a user's own npz file; `kept`: where a run keeps its copy of
    data that it was given as arrays.

    Raises:
        UsageError: the files are not here.
    """
    data = _load_here(config, config.data.root if root is None else root, kept)
    return data if config.forked is None or not outputs else by_outputs(data, tuple(outputs), config.forked.name)


def _load_here(config: RunConfig, root: str | None, kept: str | None) -> PathData:
    for folder in (root, kept):
        config = configure(config, data=replace(config.data, name=_within(config.data.name, folder)))
        if config.path.target is not None:
            config = configure(config, path=replace(config.path, target=_within(config.path.target, folder)))
    if _kind(config.data.name) not in FROM_FOLDER:
        return load_path(configure(config, data=replace(config.data, root=None)))
    failed = None
    for folder in [root] if root is not None else known_folders(_kind(config.data.name)):
        try:
            return load_path(configure(config, data=replace(config.data, root=folder)))  # never downloads with a root
        except UsageError as error:
            failed = error
    raise failed or UsageError("data.name", config.data.name, "its files are not on this machine, give ``data.root=FOLDER``")


def known_folders(kind: str) -> list[str]:
    """Existing folders where files of fashion-mnist or cifar10 may be, without a --data.root."""
    places = {"fashion-mnist": [FASHION_DEBIAN, cache_folder()], "cifar10": [cache_folder()]}
    return [str(place) for place in places.get(kind, []) if os.path.isdir(place)]


def licence_of(name: str) -> str:
    """Licence of the data set that `name` names, for a model card."""
    return LICENCES.get(_kind(name), "unknown to rayfe: that of your own data")


LICENCES: Mapping[str, Any] = {
    "mnist": "CC BY-SA 3.0 (Yann LeCun and Corinna Cortes)",
    "fashion-mnist": "MIT (Zalando SE)",
    "cifar10": "none stated by its authors (Alex Krizhevsky, Vinod Nair, Geoffrey Hinton); a part of 80 Million Tiny Images",
    **dict.fromkeys(
        ("digits", "digits-turned"), "CC BY 4.0 (UCI Machine Learning Repository: Optical Recognition of Handwritten Digits)"
    ),
}


def _kind(name: str) -> str:
    return name.partition(":")[0]


def _within(name: str, root: str | None) -> str:
    """The name of a data set with an npz file looked for in `root`, where it is there."""
    if root is None or _kind(name) != "npz":
        return name
    moved = os.path.join(os.path.expanduser(root), name.removeprefix("npz:"))
    return f"npz:{moved}" if os.path.isfile(moved.rpartition(":")[0]) or os.path.isfile(moved) else name
