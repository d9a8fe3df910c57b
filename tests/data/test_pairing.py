"""Class pairing: labels kept, or one-to-one pairs on shared outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayfe.data.examples import Dataset, Examples
from rayfe.data.pairing import pair_classes, relabelled
from rayfe.exceptions import UsageError


def dataset(*names: str, levels: tuple[float, ...] = ()) -> Dataset:
    """Ten examples a class, around a level of its own."""
    y = np.repeat(np.arange(len(names)), 10)
    level = np.array(levels or range(len(names)), np.float32)
    x = (level[y][:, None] + 0.01 * np.random.default_rng(0).random((len(y), 2))).astype(np.float32)
    split = Examples(x=x, y=y)
    return Dataset(name="made up", train=split, validation=split, class_names=names)


VEHICLES = dataset("airplane", "ship", "truck", levels=(0.0, 0.5, 1.0))
ANIMALS = dataset("bird", "cat", "dog", levels=(0.9, 0.1, 0.6))


def test_none_keeps_labels_and_shares_names() -> None:
    outputs = pair_classes(dataset("0", "1", "2"), dataset("2", "3"), "none")
    assert outputs.names == ("0", "1", "2", "3")
    assert (outputs.source, outputs.target) == ((0, 1, 2), (2, 3))


def test_order_pairs_kth_with_kth() -> None:
    outputs = pair_classes(VEHICLES, ANIMALS, "order")
    assert outputs.names == ("airplane->bird", "ship->cat", "truck->dog")
    assert outputs.source == outputs.target == (0, 1, 2)


def test_cost_finds_the_cheapest_pairs() -> None:
    outputs = pair_classes(VEHICLES, ANIMALS, "cost")
    assert outputs.names == ("airplane->cat", "ship->dog", "truck->bird")
    assert outputs.target == (2, 0, 1)
    assert outputs.cost == pytest.approx(2 * 0.1**2, rel=0.1)


def test_a_map_names_its_pairs() -> None:
    outputs = pair_classes(VEHICLES, ANIMALS, "truck:cat, airplane:dog,ship:bird")
    assert outputs.names == ("airplane->dog", "ship->bird", "truck->cat")
    assert outputs.target == (1, 2, 0)


def test_labels_become_outputs() -> None:
    outputs = pair_classes(VEHICLES, ANIMALS, "cost")
    renamed = relabelled(ANIMALS, outputs.target, outputs.names)
    np.testing.assert_array_equal(renamed.train.y, np.array(outputs.target)[ANIMALS.train.y])
    assert renamed.class_names == outputs.names
    np.testing.assert_array_equal(renamed.train.x, ANIMALS.train.x)


@settings(max_examples=10)
@given(st.permutations(range(4)))
def test_cost_undoes_any_order_of_the_classes(order: list[int]) -> None:
    source = dataset("a", "b", "c", "d", levels=(0.0, 0.3, 0.6, 0.9))
    target = dataset("e", "f", "g", "h", levels=tuple(source.train.x[10 * k, 0] for k in order))
    outputs = pair_classes(source, target, "cost")
    assert outputs.target == tuple(order)


def test_ends_of_different_shapes_are_refused() -> None:
    split = Examples(x=np.zeros((4, 3), np.float32), y=np.array([0, 0, 1, 1]))
    other = Dataset(name="wide", train=split, validation=split, class_names=("x", "y"))
    with pytest.raises(UsageError, match="shape") as refused:
        pair_classes(dataset("a", "b"), other, "order")
    assert (refused.value.name, refused.value.value) == ("path.target", "wide")


def test_a_class_without_examples_has_no_cost() -> None:
    one = dataset("cat")
    with pytest.raises(UsageError, match="no training example of dog"):
        pair_classes(dataset("a", "b"), replace(one, class_names=("cat", "dog")), "cost")


@pytest.mark.parametrize(
    ("source", "target", "pairing", "hint"),
    [
        (VEHICLES, dataset("bird", "cat"), "order", "has 3 classes and the target 2"),
        (VEHICLES, ANIMALS, "airplane:bird,ship:cat", "truck has no partner"),
        (VEHICLES, ANIMALS, "airplane:bird,ship:bird,truck:dog", "bird is given twice"),
        (VEHICLES, ANIMALS, "airplane:bird,airplane:cat,truck:dog", "airplane is given twice"),
        (VEHICLES, ANIMALS, "airplane:bird,ship:cow,truck:dog", "unknown class 'cow'"),
        (VEHICLES, ANIMALS, "nearest", "none, order, cost"),
        (VEHICLES, dataset("ship", "cat", "dog"), "order", "must be paired with itself"),
    ],
)
def test_what_is_no_pairing_is_refused(source: Dataset, target: Dataset, pairing: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint) as refused:
        pair_classes(source, target, pairing)
    assert refused.value.name == "path.pairing"
