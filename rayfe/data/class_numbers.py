"""Labels as people have them -> classes 0..K-1 and their names, or numbers to be predicted and theirs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rayfe.config import require
from rayfe.data.arrays import as_labels, described
from rayfe.data.examples import listing
from rayfe.exceptions import UsageError

ClassNames = Sequence[str | int] | Mapping[Any, str | int]
MISSING = ("", "nan", "NaN", "NaT", "None", "<NA>")
"""Words that libraries write for labels that are missing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Classes:
    """Class k has the label `labels[k]` in what was given, and is called `names[k]`."""

    labels: tuple[Any, ...]
    names: tuple[str, ...]

    def numbered(self, y: np.ndarray, called: str, others: str) -> np.ndarray:
        """The numbers of labels y (N,), int64; `others` says where the known labels come from.

        Raises:
            UsageError: `called`; a label is none of these classes.
        """
        fix = f"holds numbers such as {y.flat[0]:.4g}, where {others} has classes; give both alike" if y.ndim > 1 else ""
        require(y.ndim == 1, called, described(y), fix)
        found, places = np.unique(y, return_inverse=True)
        number = {label: k for k, label in enumerate(self.labels)}
        unknown = next((label for label in found.tolist() if label not in number), None)
        require(unknown is None, called, described(y), f"has the label {unknown!r}, which {others} has not")
        return np.array([number[label] for label in found.tolist()], np.int64)[places]


@dataclass(frozen=True, kw_only=True, slots=True)
class Targets:
    """Numbers to be predicted of each example; that in column k is called `names[k]`."""

    names: tuple[str, ...]

    def numbered(self, y: np.ndarray, called: str, others: str) -> np.ndarray:
        """The numbers y (N, k), or (N,) where all happen to be whole, float32 (N, k).

        Raises:
            UsageError: `called`; there are not as many for each example.
        """
        y = y if y.ndim > 1 or y.dtype.kind == "U" else y[:, None]
        fix = f"must hold {len(self.names)} numbers for each example, as {others} does"
        require(y.ndim > 1 and y.shape[1] == len(self.names), called, described(y), fix)
        return y.astype(np.float32)


def labels_of(values: Any, called: str) -> np.ndarray:
    """One label for each example, (N,): whole numbers (int64), truth values or words; or numbers that are no classes, float32 (N, k).

    Raises:
        UsageError: `called`; labels are missing, or are neither classes nor numbers.
    """
    y = as_labels(values, called)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    require(y.size > 0, called, described(y), "is empty, give at least one example")
    if y.ndim > 1:
        return _numbers(y, called)
    if y.dtype.kind in "OT":
        y = _of_items([item.item() if _holds_one(item) else item for item in y.tolist()], called)
    if y.dtype.kind == "S":
        y = _of_items(y.tolist(), called)
    if y.dtype.kind == "U":
        _refuse_missing(np.isin(np.char.strip(y), MISSING), called, y)
        return y
    if y.dtype.kind == "f":
        _refuse_missing(np.isnan(y), called, y)
        if (y != np.round(y)).any():
            return _numbers(y[:, None], called)
    require(y.dtype.kind in "biuf", called, described(y), "holds no labels; give whole numbers or words")
    require(bool((np.abs(y.astype(float)) < 2**63).all()), called, described(y), "has a label beyond 2^63, number the classes")
    return y if y.dtype.kind == "b" else y.astype(np.int64)


def _numbers(y: np.ndarray, called: str) -> np.ndarray:
    """Numbers of each example, float32 (N, k)."""
    fix = f"has shape {y.shape}; give one label for each example, shaped (N,), or numbers shaped (N, targets)"
    require(y.ndim == 2 and y.shape[1] > 0 and y.dtype.kind in "biufO", called, described(y), fix)
    try:
        found = y.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise UsageError(called, described(y), fix) from error
    _refuse_missing(~np.isfinite(found).all(axis=1), called, y)
    return found


def classes_of(y: np.ndarray, names: ClassNames | None, called: str) -> Classes | Targets:
    """The classes of training labels y (N,), or the targets of numbers y (N, k), which are named by a list or by their places.

    Without `names` they are the labels in order, words that are numbers in the order of these. A list names the classes in its
    order: it holds the labels themselves where these are words, and the names of the labels 0, 1, ... where they are numbers.
    A mapping gives the name of each label.

    Raises:
        UsageError: `called`, there is one class only; class_names, a label has no name, or names are the same.
    """
    if y.ndim > 1:
        return _targets_of(y, names, called)
    found = np.unique(y).tolist()
    require(len(found) > 1, called, described(y), "has one class only, give at least two")
    if names is None:
        ordered = sorted(found, key=_order) if all(_is_number(label) for label in found) else found
        words = tuple(str(label) for label in ordered)
        _check_names(words, called, "must be words on one line each that differ in more than blanks; mend them, or number them")
        return Classes(labels=tuple(ordered), names=words)
    words = tuple(str(name) for name in (names.values() if isinstance(names, Mapping) else names))
    labels: tuple[Any, ...] = tuple(range(len(words)))
    if isinstance(names, Mapping):
        labels = tuple(names)
    elif y.dtype.kind == "U":
        labels = words
    _check_names(words, "class_names", "must be different names on one line each")
    unnamed = next((label for label in found if label not in labels), None)
    known = f"has no name for the label {unnamed!r}, only for {listing(tuple(map(repr, labels)), 5)}"
    fix = f"{known}; give a mapping from labels to names, e.g. {{{unnamed!r}: 'cat', ...}}"
    require(unnamed is None, "class_names", listing(words, 5), fix)
    return Classes(labels=labels, names=words)


def _targets_of(y: np.ndarray, names: ClassNames | None, called: str) -> Targets:
    why = _of_one_class(y)
    require(why is None, called, described(y), f"{why}; give one label for each example, shaped (N,)")
    words = tuple(map(str, range(y.shape[1]) if names is None else names.values() if isinstance(names, Mapping) else names))
    _check_names(words, "class_names", "must be different names on one line each")
    require(
        len(words) == y.shape[1], "class_names", listing(words, 5), f"must name {y.shape[1]} targets, the columns of {called}"
    )
    return Targets(names=words)


def _check_names(words: tuple[str, ...], called: str, fix: str) -> None:
    sound = len({word.strip() for word in words}) == len(words) and all(word.strip() and word.isprintable() for word in words)
    require(sound, called, listing(words), fix)


def _of_items(items: list[Any], called: str) -> np.ndarray:
    """Labels of Python's own types as an array of one type."""
    import pandas as pd

    odd = next((item for item in items if hasattr(item, "__len__") and not isinstance(item, str | bytes)), None)
    fix = f"has {type(odd).__name__} entries such as {str(odd)[:40]}; give one whole number or word for each example"
    require(odd is None, called, f"{len(items)} labels", fix)
    _refuse_missing(np.array([bool(pd.isna(item)) for item in items]), called, items)
    items = [item.decode(errors="backslashreplace") if isinstance(item, bytes) else item for item in items]
    items = [item if isinstance(item, str | bool | int | float | np.generic) else str(item) for item in items]
    words = sum(isinstance(item, str) for item in items)
    mixed = f"mixes {words} words with {len(items) - words} numbers; give labels of one type"
    require(words in (0, len(items)), called, f"{len(items)} labels", mixed)
    return np.array(items)


def _refuse_missing(missing: Any, called: str, y: Sequence[Any] | np.ndarray) -> None:
    (places,) = np.nonzero(missing)
    first = int(places[0]) if len(places) else 0
    fix = f"lacks the labels of {len(places)} examples, the first is number {first} ({y[first]!r}); leave these examples out"
    require(len(places) == 0, called, f"{len(y)} labels", fix)


def _of_one_class(y: np.ndarray) -> str | None:
    """How numbers (N, k) say one class of each example, in words; None: they do not."""
    if y.shape[1] == 1 or len(y) == 1 or (y < 0).any() or not np.allclose(y.sum(1), 1, atol=1e-3):
        return None
    if np.isin(y, (0, 1)).all():
        return "is one-hot, y.argmax(1) are its labels"
    return "holds probabilities of classes, y.argmax(1) are the likeliest"


def _holds_one(item: Any) -> bool:
    return isinstance(item, np.ndarray | np.generic) and item.size == 1


def _is_number(label: Any) -> bool:
    return isinstance(label, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", label) is not None


def _order(word: str) -> tuple[int, str]:
    return int(word), word
