"""Data whose surface is known: the same examples everywhere, with the spectrum that they are said to have; and its truth."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest

from rayfe.config import DataConfig, ModelConfig, PathConfig, configure
from rayfe.config.presets import gaussian_exact
from rayfe.data import gaussian
from rayfe.data.datasets import load
from rayfe.data.truths import truth_of
from rayfe.exceptions import UsageError
from rayfe.surface.linear_gaussian import LinearGaussian

GAUSSIAN = DataConfig(name="gaussian")


def digest(x: np.ndarray) -> str:
    return hashlib.sha256(x.tobytes()).hexdigest()


def test_examples_are_the_same_each_time_and_differ_between_splits() -> None:
    one, other = load(GAUSSIAN), load(GAUSSIAN)
    assert digest(one.train.x) == digest(other.train.x)
    assert digest(one.train.y) == digest(other.train.y)
    assert {row.tobytes() for row in one.train.x}.isdisjoint(row.tobytes() for row in one.validation.x)


def test_three_classes_share_a_covariance_over_three_decades() -> None:
    train = load(GAUSSIAN).train
    assert (train.x.shape, train.x.dtype) == ((24_000, 32), np.float32)
    assert np.bincount(train.y).tolist() == [8000, 8000, 8000]
    assert train.x.min() < 0.0
    assert train.x.max() > 1.0
    parts = [train.x[train.y == label].astype(float) for label in range(3)]
    covariance = np.mean([np.cov(part.T) for part in parts], 0)
    spectrum = np.linalg.eigvalsh(covariance)
    assert spectrum[-1] / spectrum[0] == pytest.approx(1000.0, rel=0.1)
    for part in parts:
        assert np.abs(np.cov(part.T) - covariance).max() < 0.03
    means = np.array([part.mean(0) for part in parts])
    distances = (means - means.mean(0)) @ np.linalg.inv(covariance) @ (means - means.mean(0)).T
    assert np.sqrt(np.diag(distances)) == pytest.approx([2.5] * 3, rel=0.05)


def test_fewer_training_examples_and_classes_are_drawn_from_all() -> None:
    small = load(dataclasses.replace(GAUSSIAN, train_size=300))
    assert np.bincount(small.train.y).tolist() == [100, 100, 100]
    assert load(DataConfig(name="gaussian:0,2")).classes == 2
    with pytest.raises(UsageError, match="give at most that many"):
        load(dataclasses.replace(GAUSSIAN, train_size=24_001))


@pytest.mark.parametrize(
    "other",
    [
        {"model": ModelConfig(name="mlp", classifier_hidden=0)},
        {"model": ModelConfig(name="linear", classifier_hidden=4)},
        {"model": ModelConfig(name="linear", classifier_hidden=0, latent=1)},
        {"data": DataConfig(name="digits")},
        {"path": PathConfig(target="gaussian:0,1"), "process": "constant-rate"},
    ],
)
def test_there_is_a_truth_of_linear_models_on_these_data_alone(other: dict) -> None:
    assert truth_of(gaussian_exact()) is not None
    assert truth_of(configure(gaussian_exact(), **other)) is None


def test_the_truth_is_of_the_run_s_own_training_examples() -> None:
    config = configure(gaussian_exact(), data=dataclasses.replace(GAUSSIAN, train_size=600))
    truth, train = truth_of(config), load(config.data).train
    assert truth is not None
    found = truth.at(2.0, 3.0, 0.4)
    exact = LinearGaussian(train.x, train.y, latent=16)
    assert found.exact_C is not None and found.exact_held_gamma is not None
    assert found.exact_F == pytest.approx(exact.at(2.0, 3.0).F, rel=1e-9)
    assert found.exact_F == pytest.approx(found.exact_R + 2.0 * found.exact_D + 3.0 * found.exact_C)
    assert exact.at(2.0, found.exact_held_gamma).C == pytest.approx(0.4, rel=1e-5)
    assert found == truth.at(2.0, 3.0, 0.4)


def test_what_is_not_on_the_surface_is_left_out() -> None:
    config = configure(gaussian_exact(), data=dataclasses.replace(GAUSSIAN, train_size=400))
    truth = truth_of(config)
    assert truth is not None
    stored = {name for name, value in dataclasses.asdict(truth.at(2.0, 0.0, None)).items() if value is not None}
    assert stored == {"exact_F", "exact_R", "exact_D"}
    assert truth.at(2.0, 3.0, None).exact_held_gamma is None
    assert truth.at(2.0, 3.0, 1.5).exact_held_gamma is None  # more than log 3


def test_so_few_examples_that_their_covariance_is_hardly_regular_have_no_truth() -> None:
    assert truth_of(configure(gaussian_exact(), data=dataclasses.replace(GAUSSIAN, train_size=300))) is None


def test_the_truth_is_that_of_the_marginal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaussian, "TRAIN", 600)
    configs = {name: configure(gaussian_exact(), model={"marginal": name}) for name in ("standard", "mixture", "vamp")}
    truths = {name: truth_of(config) for name, config in configs.items()}
    standard, mixture = (truths[name].at(0.6, 3.0, None) for name in ("standard", "mixture"))
    assert mixture.exact_F < 0.99 * standard.exact_F
    assert truths["mixture"].at(0.6, 1.0, None) is None
    assert truths["vamp"] is None
