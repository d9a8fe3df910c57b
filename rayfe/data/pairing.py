"""What the classifier's outputs mean on source and target: labels kept, or classes paired on shared outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from rayfe.config import require
from rayfe.data.examples import Dataset, Examples, chance, listing
from rayfe.exceptions import UsageError

PAIR = "->"
"""Between the names of two classes that share an output."""
SAMPLE = 300
"""Examples of each class between which pairing `cost` measures the transport cost."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outputs:
    """One output of the classifier per name."""

    names: tuple[str, ...]
    source: tuple[int, ...]
    """Output of each source class."""
    target: tuple[int, ...]
    """Output of each target class."""
    cost: float | None = None
    """Mean squared distance of the optimal transport between paired classes, where the pairing was chosen by it."""


def pair_classes(source: Dataset, target: Dataset, pairing: str) -> Outputs:
    """Outputs for both data sets.

    `none`: an output per class name of the union, so that the same name is the same output; `order`: the k-th source
    class with the k-th target class; `cost`: the one-to-one pairing of least transport cost between classes; or a
    map such as `airplane:bird,ship:cat` that names every class once.

    Raises:
        UsageError: path.target, the inputs have different shapes; path.pairing, not one-to-one, an unknown or missing class,
            a class of both sets that is paired with another, or (`cost`) a class without training examples.
    """
    shapes = source.input_shape, target.input_shape
    fix = f"has examples of shape {shapes[1]}, the source {shapes[0]}; both must be the same"
    require(shapes[0] == shapes[1], "path.target", target.name, fix)
    if pairing == "none":
        names = tuple(dict.fromkeys((*source.class_names, *target.class_names)))
        return Outputs(names=names, source=_places(names, source.class_names), target=_places(names, target.class_names))
    if source.classes != target.classes:
        fix = f"the source has {source.classes} classes and the target {target.classes}; give as many, or ``path.pairing=none``"
        raise UsageError("path.pairing", pairing, fix)
    cost = None
    if pairing == "order":
        partners = list(range(target.classes))
    elif pairing == "cost":
        partners, cost = _cheapest(source, target)
    else:
        partners = _mapped(source, target, pairing)
    for label, partner in enumerate(partners):
        name, other = source.class_names[label], target.class_names[partner]
        apart = name == other or (name not in target.class_names and other not in source.class_names)
        fix = f"{name} is paired with {other}, but a class of both data sets must be paired with itself"
        require(apart, "path.pairing", pairing, f"{fix}; give a map, or ``path.pairing=none``")
    names = tuple(f"{source.class_names[k]}{PAIR}{target.class_names[partner]}" for k, partner in enumerate(partners))
    outputs = [0] * target.classes
    for output, partner in enumerate(partners):
        outputs[partner] = output
    return Outputs(names=names, source=tuple(range(source.classes)), target=tuple(outputs), cost=cost)


def places_among(names: tuple[str, ...], outputs: tuple[str, ...]) -> tuple[int, ...] | None:
    """The output of a trained classifier, whose outputs were called `outputs`, for each class of `names`; None: they do not fit.

    A class has the output that was trained on it: the one of its name, or of a pair that it was in. Other classes take the outputs that
    are left, in order, where there are as many classes as outputs.
    """
    of = {side: place for place, output in enumerate(outputs) for side in output.split(PAIR)}
    of |= {output: place for place, output in enumerate(outputs)}
    found = [of.get(name, of.get(name.split(PAIR)[0])) for name in names]
    if None in found and len(names) != len(outputs):
        return None
    left = (place for place in range(len(outputs)) if place not in found)
    places = tuple(next(left) if place is None else place for place in found)
    return places if len(set(places)) == len(places) else None


def relabelled(dataset: Dataset, outputs: tuple[int, ...], names: tuple[str, ...]) -> Dataset:
    """The same examples with their labels renumbered to the classifier's outputs."""
    table = np.array(outputs, np.int64)

    def of(examples: Examples) -> Examples:
        return replace(examples, y=table[examples.y])

    return replace(dataset, train=of(dataset.train), validation=of(dataset.validation), class_names=names)


def _places(names: tuple[str, ...], of: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(names.index(name) for name in of)


def _mapped(source: Dataset, target: Dataset, pairing: str) -> list[int]:
    pairs = dict(_pairs(pairing))
    for names, given, side in (
        (source.class_names, list(pairs), "source"),
        (target.class_names, list(pairs.values()), "target"),
    ):
        for name in given:
            known = f"the {side}'s classes are {listing(names)}"
            require(name in names, "path.pairing", pairing, f"unknown class {name!r}; {known}")
            require(given.count(name) == 1, "path.pairing", pairing, f"{name} is given twice, but pairs are one-to-one")
        missing = [name for name in names if name not in given]
        require(not missing, "path.pairing", pairing, f"the {side}'s {listing(tuple(missing))} has no partner, give one")
    return [target.class_names.index(pairs[name]) for name in source.class_names]


def _pairs(pairing: str) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for item in pairing.split(","):
        name, colon, other = (part.strip() for part in item.partition(":"))
        fix = "give none, order, cost, or pairs such as airplane:bird,ship:cat"
        require(bool(colon and name and other), "path.pairing", pairing, fix)
        require(name not in seen, "path.pairing", pairing, f"{name} is given twice, but pairs are one-to-one")
        seen.add(name)
        yield name, other


def _cheapest(source: Dataset, target: Dataset) -> tuple[list[int], float]:
    """Partners of the source's classes with the least total transport cost, and the mean cost of a pair."""
    import ot  # slow to import, as scipy.optimize
    from scipy.optimize import linear_sum_assignment

    for dataset in (source, target):
        counts = np.bincount(dataset.train.y, minlength=dataset.classes)
        empty = listing(tuple(name for name, count in zip(dataset.class_names, counts, strict=True) if count == 0))
        fix = f"{dataset.name} has no training example of {empty} to measure cost by; give order or a map"
        require(not empty, "path.pairing", "cost", fix)
    ends = [[_of_class(dataset.train, label) for label in range(dataset.classes)] for dataset in (source, target)]
    cost = np.array([[ot.solve_sample(x, y).value for y in ends[1]] for x in ends[0]])
    rows, columns = linear_sum_assignment(cost)
    return columns.tolist(), float(cost[rows, columns].mean())


def _of_class(examples: Examples, label: int) -> np.ndarray:
    """At most SAMPLE examples of a class, drawn at random, flat and in [0, 1]."""
    (rows,) = np.nonzero(examples.y == label)
    drawn = np.sort(rows[np.argsort(chance(examples.number[rows], "pairing"))[:SAMPLE]])
    x = examples.x[drawn].reshape(-1, int(np.prod(examples.x.shape[1:])))
    return x.astype(np.float64) / (255.0 if examples.x.dtype == np.uint8 else 1.0)
