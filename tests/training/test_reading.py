"""What readings may leave out: second draws through the decoder, and examples of neighbours."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
import pytest
import torch

from analytic_walks import A, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.backend.inline import InlineBackend
from rayfe.config import DataConfig, MeasureConfig, ModelConfig, configure
from rayfe.data.datasets import load
from rayfe.data.device_path import DeviceExamples, Still
from rayfe.data.examples import Dataset
from rayfe.data.randomness import derived_seed
from rayfe.model.protocol import build
from rayfe.model.weights import weights_of
from rayfe.records import Measured, MeasureRequest, Point, Replica, Split, StepKey, requests
from rayfe.training.batch_norm import recompute_statistics
from rayfe.training.drawing import Drawing
from readings import read as read_one

POINT = Point(lam=0.25, gamma=4.0)
SEEDS = 40


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load(DataConfig(name="digits"))


def backend(digits: Dataset, *, response_size: int | None = None, statistics_size: int | None = None) -> InlineBackend:
    config = configure(
        threads=1,
        data=DataConfig(name="digits"),
        model=ModelConfig(hidden=24, latent=4),
        measure=MeasureConfig(head_draws=8, response_size=response_size, statistics_size=statistics_size),
    )
    return InlineBackend(config, digits, dtype=torch.float64)


def read(where: InlineBackend, *, seed: int = 0, part: bool = False) -> Measured:
    model = build(ModelConfig(hidden=24, latent=4), input_shape=(64,), classes=10).double()
    replica = Replica(name="centre", point=POINT, weights=weights_of(model))
    key = StepKey(trajectory="t", seed=seed, step=1, attempt=0)
    return where.measure(MeasureRequest(key=key, replicas=(replica,), splits=(Split.TRAIN,), purpose="test", part=part))


@pytest.mark.parametrize("decoder_draws", [1, 2])
def test_D_scatters_by_its_error_and_its_noise_in_blocks_adds_up_to_that(digits: Dataset, decoder_draws: Literal[1, 2]) -> None:
    """With the same statistics: the draws of z by which the decoder's are taken are another matter (column D_se says so)."""
    path, drawing = backend(digits)._paths[Split.TRAIN], Drawing(head_draws=8, decoder_draws=decoder_draws, chunk=500)
    model = build(ModelConfig(hidden=24, latent=4), input_shape=(64,), classes=10).double()
    recompute_statistics(model, path, 0.0, chunk=500, key=partial(derived_seed, "statistics"))
    one = partial(read_one, model, path, point=POINT, t=0.0, drawing=drawing)
    found = [one(key=partial(derived_seed, seed)) for seed in range(SEEDS)]
    scatter = np.std([reading.D for reading in found], ddof=1)
    error = np.sqrt(np.mean([reading.D_se**2 for reading in found]))
    assert scatter == pytest.approx(error, rel=4 / np.sqrt(2 * SEEDS))
    assert error == pytest.approx(np.sqrt(np.mean([np.sum(np.square(reading.D_noise)) for reading in found])))


def test_R_of_a_learnt_marginal_scatters_by_its_error(digits: Dataset) -> None:
    path, drawing = backend(digits)._paths[Split.TRAIN], Drawing(head_draws=8, decoder_draws=1, chunk=500)
    model = build(ModelConfig(hidden=24, latent=4, marginal="mixture"), input_shape=(64,), classes=10).double()
    recompute_statistics(model, path, 0.0, chunk=500, key=partial(derived_seed, "statistics"))
    one = partial(read_one, model, path, point=POINT, t=0.0, drawing=drawing)
    found = [one(key=partial(derived_seed, seed)) for seed in range(SEEDS)]
    error = np.sqrt(np.mean([reading.R_se**2 for reading in found]))
    assert np.std([reading.R for reading in found], ddof=1) == pytest.approx(error, rel=4 / np.sqrt(2 * SEEDS))
    assert found[0].R_se == pytest.approx(np.linalg.norm(found[0].R_noise))


def test_one_draw_through_the_decoder_means_the_same_D_for_less(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    two = read(backend(digits))
    monkeypatch.setattr(requests, "ENOUGH", len(digits.train.y))
    one = read(backend(digits))
    assert one.readings[0].D == pytest.approx(two.readings[0].D, abs=4 * one.readings[0].D_se)
    assert (one.readings[0].R, one.readings[0].C) == (two.readings[0].R, two.readings[0].C)
    assert one.examples < 0.85 * two.examples


def test_a_part_is_read_with_the_statistics_of_all_examples(digits: Dataset) -> None:
    where = backend(digits, response_size=300)
    whole, part = read(where), read(where, part=True)
    for name, value in whole.weights[0].items():
        np.testing.assert_array_equal(part.weights[0][name], value, err_msg=name)
    n = len(digits.train.y)
    assert whole.examples - part.examples > 0.5 * (n - 300) * 1.5 / 3
    assert part.readings[0].D == pytest.approx(whole.readings[0].D, rel=0.05)
    assert part.readings[0].D != whole.readings[0].D


class Watched(AnalyticBackend):
    """Remembers which replicas were read with the draws of settles, and whether on a part."""

    def __init__(self) -> None:
        super().__init__(A)
        self.seen: list[tuple[tuple[str, ...], bool]] = []

    def measure(self, request: MeasureRequest) -> Measured:
        if request.purpose == "settle":
            self.seen.append((tuple(replica.name for replica in request.replicas), request.part))
        return super().measure(request)


def test_neighbours_of_a_walk_are_read_on_a_part_and_its_centre_on_all(tmp_path) -> None:
    watched = Watched()
    rows, _ = walk(tmp_path, watched, measure=MeasureConfig(response_size=300), refresh=2, steps=2)
    assert [row.accepted for row in rows] == [True] * 3
    assert watched.seen == [
        (("centre", "gamma+", "gamma-"), False),  # the start's, whose C is held
        (("centre",), False),
        (("gamma+", "gamma-"), True),
    ]


def test_without_a_part_all_are_read_at_once(tmp_path) -> None:
    watched = Watched()
    walk(tmp_path, watched, refresh=2, steps=2)
    assert watched.seen == [(("centre", "gamma+", "gamma-"), False)] * 2


def test_a_part_of_examples_from_two_sources_by_turns_has_as_many_of_both() -> None:
    """MNIST is such a data set; every k-th example would be of one source where k is even."""
    n = 6_000
    whole = Still(DeviceExamples(x=torch.arange(n, dtype=torch.float32)[:, None], y=torch.arange(n) % 2))
    for most in (500, 1_000, 2_000, 5_999):
        part = whole.thinned(most).strata[0].examples(slice(None), 0.0)
        assert len(part) == len(set(part.x[:, 0].tolist())) == most
        assert float(part.y.double().mean()) == pytest.approx(0.5, abs=2 / most**0.5)
        assert torch.equal(whole.thinned(most).strata[0].examples(slice(None), 0.0).x, part.x)
        assert torch.equal(part.x[:, 0].long() % 2, part.y)
    assert len(whole.thinned(n)) == n


def test_batch_norm_may_have_the_statistics_of_a_part(digits: Dataset) -> None:
    whole, part = read(backend(digits)), read(backend(digits, statistics_size=700))
    encoder, decoder = 0.5, 0.5 * 4 * 4 / (4 + 64)  # passes: four draws of z as far as the decoder's batch-norm
    assert part.examples == pytest.approx(whole.examples - (len(digits.train.y) - 700) * (encoder + decoder) / 3)
    mean, other = (found.weights[0]["encoder.1.running_mean"] for found in (whole, part))
    spread = np.sqrt(whole.weights[0]["encoder.1.running_var"])
    assert np.abs(mean - other).max() > 0.0
    assert (np.abs(mean - other) < 5 * spread / np.sqrt(700)).all()
