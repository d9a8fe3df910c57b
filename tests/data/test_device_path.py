"""p(x, t) on a device: exactly the source at t = 0 and the target at t = 1, common random numbers in between."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rayfe.data.coupling import Coupling
from rayfe.data.device_path import DeviceExamples, DevicePath, Mixture, Still, chunks, to_device
from rayfe.data.displacement import Displacement
from rayfe.data.examples import Examples
from rayfe.data.randomness import generator

SOURCE = DeviceExamples(x=torch.rand(60, 3), y=torch.arange(60) % 2)
TARGET = DeviceExamples(x=1.0 + torch.rand(40, 3), y=2 + torch.arange(40) % 2)


def coupling() -> Coupling:
    """Exact marginals: source rows 1/60 and target rows 1/40, along the diagonal of both orders."""
    edges = np.union1d(np.arange(61) / 60, np.arange(41) / 40)
    middle = 0.5 * (edges[1:] + edges[:-1])
    return Coupling(
        source=(middle * 60).astype(np.int64), target=(middle * 40).astype(np.int64), weight=np.diff(edges), report={}
    )


PATHS = {
    "still": Still(SOURCE),
    "mixture": Mixture(SOURCE, TARGET),
    "displacement": Displacement(SOURCE, TARGET, coupling(), classes=4),
}
MOVING = ["mixture", "displacement"]


def whole(path: DevicePath, t: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    parts = [
        (stratum.examples(rows, t), stratum.weights(rows, t))
        for stratum in path.present(t)
        for rows in chunks(len(stratum), 25)
    ]
    assert len(parts) > 1
    return (
        torch.cat([examples.x for examples, _ in parts]),
        torch.cat([examples.y for examples, _ in parts]),
        torch.cat([weights for _, weights in parts]).float(),
    )


def mean_of(data: DeviceExamples) -> torch.Tensor:
    return data.x.mean(0)


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_probabilities_sum_to_one_and_the_mean_is_linear_in_t(kind: str, t: float) -> None:
    x, _, weights = whole(PATHS[kind], t)
    s = t if kind != "still" else 0.0
    assert float(weights.double().sum()) == pytest.approx(1.0, abs=1e-6)
    torch.testing.assert_close(weights @ x, (1 - s) * mean_of(SOURCE) + s * mean_of(TARGET), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", MOVING)
@pytest.mark.parametrize("t, end", [(0.0, SOURCE), (1.0, TARGET)], ids=["source", "target"])
def test_the_ends_are_exactly_source_and_target(kind: str, t: float, end: DeviceExamples) -> None:
    """Each image has its probability, summed over what shows it, with its own label."""
    x, y, weights = whole(PATHS[kind], t)
    labels = y.argmax(-1) if y.is_floating_point() else y
    if y.is_floating_point():
        assert set(y.flatten().tolist()) == {0.0, 1.0}
    for row in range(len(end)):
        same = (x == end.x[row]).all(-1)
        assert float(weights[same].sum()) == pytest.approx(1 / len(end), rel=1e-5)
        assert set(labels[same].tolist()) == {int(end.y[row])}


@pytest.mark.parametrize("kind", MOVING)
@pytest.mark.parametrize("t, end", [(0.0, SOURCE), (1.0, TARGET)], ids=["source", "target"])
def test_batches_at_the_ends_are_of_one_data_set(kind: str, t: float, end: DeviceExamples) -> None:
    known = {tuple(row) for row in end.x.tolist()}
    for batch in PATHS[kind].batches(t, 16, updates=5, rng=generator("cpu", "order")):
        assert {tuple(row) for row in batch.x.tolist()} <= known


def test_mixture_batches_change_only_where_the_uniform_number_lies_between() -> None:
    path = PATHS["mixture"]
    low, high = ([b.x for b in path.batches(t, 20, updates=6, rng=generator("cpu", "order"))] for t in (0.3, 0.4))
    changed = torch.cat([(a != b).any(-1) for a, b in zip(low, high, strict=True)]).float().mean()
    assert 0.02 < float(changed) < 0.25  # a tenth of them, of 120 draws


def test_displacement_batches_move_continuously() -> None:
    path = PATHS["displacement"]
    low, high = (next(iter(path.batches(t, 32, updates=1, rng=generator("cpu", "order")))) for t in (0.3, 0.31))
    assert float((low.x - high.x).abs().max()) < 0.03
    torch.testing.assert_close(high.y - low.y, (high.y - low.y).round(decimals=2), atol=1e-6, rtol=0)


def test_an_epoch_of_a_mixture_shows_every_source_and_target_example_in_turn() -> None:
    path = PATHS["mixture"]
    at_0 = torch.cat([b.x for b in path.batches(0.0, 20, updates=3, rng=generator("cpu", "order"))])
    assert len({tuple(row) for row in at_0.tolist()}) == 60


@pytest.mark.parametrize("kind", MOVING)
def test_draws_follow_the_probabilities(kind: str) -> None:
    path = PATHS[kind]
    drawn = torch.cat([b.x for b in path.batches(0.4, 20, updates=600, rng=generator("cpu", "many"))])
    torch.testing.assert_close(drawn.mean(0), 0.6 * mean_of(SOURCE) + 0.4 * mean_of(TARGET), atol=0.02, rtol=0)


def test_soft_labels_are_those_of_remark_11() -> None:
    x, y, _ = whole(PATHS["displacement"], 0.25)
    assert y.shape == (len(x), 4)
    assert set(y.flatten().tolist()) == {0.0, 0.25, 0.75}
    torch.testing.assert_close(y.sum(-1), torch.ones(len(x)))


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("most", [None, 50, 45, 7])
@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_sizes_are_those_of_the_examples(kind: str, most: int | None, t: float) -> None:
    path, sizes = PATHS[kind], PATHS[kind].sizes.thinned(most)
    part = path if most is None else path.thinned(most)
    assert sizes.size(t) == sum(len(stratum) for stratum in part.present(t))
    assert len(sizes) == len(part)


def made(kind: str, *ends: DeviceExamples) -> DevicePath:
    if kind == "still":
        return Still(ends[0])
    return Mixture(*ends) if kind == "mixture" else Displacement(*ends, coupling(), classes=4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", PATHS)
def test_bytes_stay_bytes_and_give_the_numbers_that_floats_give(kind: str, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (len(end), 1, 2, 2), dtype=np.uint8) for end in (SOURCE, TARGET)]
    labels = [end.y.numpy() for end in (SOURCE, TARGET)]
    ends = [to_device(Examples(x=x, y=y), torch.device("cpu"), dtype, (4,)) for x, y in zip(images, labels, strict=True)]
    assert [end.x.element_size() for end in (*ends, ends[0].part(slice(0, 9)))] == [1, 1, 1]
    as_floats = [DeviceExamples(x=end.x.to(dtype) / 255.0, y=end.y) for end in ends]
    floats = made(kind, *as_floats)
    for path in (made(kind, *ends), made(kind, ends[0], as_floats[1])):
        for found, wanted in ((path, floats), (path.thinned(20), floats.thinned(20))):
            pairs = list(zip(seen_of(found), seen_of(wanted), strict=True))
            assert len(pairs) > 10
            assert all(torch.equal(one.x, other.x) and one.x.dtype is dtype for one, other in pairs)


def seen_of(path: DevicePath) -> list[DeviceExamples]:
    """What a training and a reading are given."""
    batches = [one for t in (0.0, 0.3) for one in path.batches(t, 16, updates=5, rng=generator("cpu", "order"))]
    return [*batches, *(stratum.examples(slice(None), 0.3) for stratum in path.strata)]
