"""Random numbers are functions of named parts, and epochs are permutations."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rayfe.data.datasets import Examples
from rayfe.data.device_path import DeviceExamples, Still, to_device
from rayfe.data.randomness import derived_seed, generator

parts = st.tuples(st.integers(0, 2**63 - 1), st.text("abc-019.", max_size=12), st.integers(0, 99), st.integers(0, 9))


def order(n: int, batch: int, updates: int, *seed_parts: object) -> torch.Tensor:
    """(updates, batch) indices."""
    examples = Still(DeviceExamples(x=torch.zeros(n, 1), y=torch.zeros(n)))
    return torch.stack(
        [part.number for part in examples.batches(0.0, batch, updates=updates, rng=generator("cpu", *seed_parts))]
    )


@given(parts)
def test_seed_is_a_sha256_of_the_parts(key: tuple[int, str, int, int]) -> None:
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).hexdigest()
    assert derived_seed(*key) == int(digest[:16], 16) // 2
    assert 0 <= derived_seed(*key) < 2**63


@given(parts, parts)
def test_other_parts_give_other_seeds(one: tuple[int, str, int, int], other: tuple[int, str, int, int]) -> None:
    assert (derived_seed(*one) == derived_seed(*other)) == (one == other)


def test_parts_do_not_run_into_each_other() -> None:
    assert derived_seed(1, 23) != derived_seed(12, 3)
    assert derived_seed("a", "b") != derived_seed("ab") != derived_seed("a", "b", "")


@given(parts, st.integers(0, 2**31), st.integers(0, 2**31))
def test_draws_neither_depend_on_global_torch_state_nor_change_it(key: tuple[int, str, int, int], one: int, other: int) -> None:
    before = torch.get_rng_state()
    try:
        draws = []
        for seed in (one, other):
            torch.manual_seed(seed)
            untouched = torch.get_rng_state()
            draws.append((order(20, 4, 7, *key), torch.randn(5, generator=generator("cpu", *key))))
            assert torch.equal(torch.get_rng_state(), untouched)
    finally:
        torch.set_rng_state(before)
    assert torch.equal(draws[0][0], draws[1][0])
    assert torch.equal(draws[0][1], draws[1][1])


def test_another_step_or_attempt_has_another_order() -> None:
    first = order(100, 10, 10, 0, "walk", 1, 0, "order")
    for other in ((1, "walk", 1, 0), (0, "other", 1, 0), (0, "walk", 2, 0), (0, "walk", 1, 1)):
        assert not torch.equal(first, order(100, 10, 10, *other, "order"))


@given(st.integers(1, 12), st.integers(1, 8), st.integers(1, 4))
def test_epochs_are_permutations_where_the_batch_divides_the_data(batch: int, per_epoch: int, epochs: int) -> None:
    n = batch * per_epoch
    batches = order(n, batch, epochs * per_epoch, "epochs")
    for epoch in batches.view(epochs, n):
        assert epoch.sort().values.tolist() == list(range(n))


@given(st.integers(1, 60), st.data())
def test_no_example_comes_twice_in_an_epoch(n: int, data: st.DataObject) -> None:
    batch = data.draw(st.integers(1, n))
    per_epoch = n // batch
    batches = order(n, batch, 2 * per_epoch, "rest")
    for epoch in batches.view(2, per_epoch * batch):
        assert len(set(epoch.tolist())) == per_epoch * batch
        assert 0 <= int(epoch.min()) <= int(epoch.max()) < n


def test_epochs_differ_and_updates_may_end_within_one() -> None:
    batches = order(40, 10, 6, "long")
    assert batches.shape == (6, 10)
    assert not torch.equal(batches[:2], batches[4:])
    assert torch.equal(batches[:3], order(40, 10, 3, "long"))


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ValueError, match=r"batch 11 is larger than the data \(10 examples\)"):
        order(10, 11, 1)
    assert order(10, 10, 1).shape == (1, 10)


def test_bytes_become_fractions_and_floats_stay() -> None:
    y = np.arange(3, dtype=np.int64)
    for x in (np.array([[0], [51], [255]], np.uint8), np.array([[0.0], [0.2], [1.0]], np.float32)):
        examples = to_device(Examples(x=x, y=y), torch.device("cpu"), torch.float64, (1, 1))
        images = examples.images(slice(None))
        assert images.shape == (3, 1, 1)
        assert images.flatten().tolist() == pytest.approx([0.0, 0.2, 1.0], abs=1e-7)
        assert len(examples) == 3 and examples.y.tolist() == [0, 1, 2]
