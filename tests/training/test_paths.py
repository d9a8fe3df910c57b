"""Measuring on a data path: F_t, batch-norm statistics of p(x, t), and readings as weighted means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from rayfe.backend.inline import InlineBackend
from rayfe.config import DataConfig, EquilibrationConfig, MeasureConfig, ModelConfig, PathConfig, RunConfig, configure
from rayfe.data.paths import PathData, coupled, load_path
from rayfe.data.randomness import derived_seed
from rayfe.records import Annealing, EquilibrateRequest, MeasureRequest, Point, Reading, Replica, Split, StepKey, Weights
from rayfe.training.batch_norm import WeightedStatistics, recompute_statistics
from readings import read

KEY = StepKey(trajectory="t", seed=3, step=1, attempt=0)


class Plain(nn.Module):
    """A model without batch-norm."""

    def __init__(self, *, input_shape: tuple[int, ...], classes: int, config: ModelConfig) -> None:
        super().__init__()
        self.latent, self.shape = config.latent, input_shape
        features = int(np.prod(input_shape))
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(features, 24), nn.Tanh(), nn.Linear(24, 2 * config.latent))
        self.decoder = nn.Sequential(nn.Linear(config.latent, 24), nn.Tanh(), nn.Linear(24, features), nn.Sigmoid())
        self.classifier = nn.Linear(config.latent, classes)

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.encoder(x).chunk(2, -1)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return self.decoder(z).view(-1, *self.shape)

    def classify(self, z: torch.Tensor) -> torch.Tensor:
        return self.classifier(z)


def configuration(kind: str = "mixture", *, batch_norm: bool = True) -> RunConfig:
    return configure(
        threads=1,
        process="constant-rate",
        data=DataConfig(name="digits:0-4"),
        path=PathConfig(target="digits:5-9", kind=kind),  # type: ignore[arg-type]
        model=ModelConfig(name="mlp" if batch_norm else f"{__name__}:Plain", hidden=24, latent=4, classifier_hidden=0),
        equilibration=EquilibrationConfig(
            first_epochs=5, epochs=2, batch=64, first_schedule="linear", first_learning_rate=1e-2
        ),
        measure=MeasureConfig(head_draws=32),
    )


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Plain` under the name by which a user's own model is found."""
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or type(sys)("module"))
    monkeypatch.setattr(sys.modules[__name__], "Plain", Plain, raising=False)


def backend(kind: str = "mixture", *, batch_norm: bool = True) -> InlineBackend:
    config = configuration(kind, batch_norm=batch_norm)
    return InlineBackend(config, coupled(load_path(config), config, lambda text: None), dtype=torch.float64)


def trained(on: InlineBackend, t: float = 0.5) -> Weights:
    replica = Replica(name="centre", point=Point(lam=1.0, gamma=4.0, t=t), weights=None)
    annealing = Annealing(epochs=30.0, begin=0.0, end=30.0)
    return on.equilibrate(EquilibrateRequest(key=KEY, replicas=(replica,), annealing=annealing)).weights[0]


def readings(on: InlineBackend, weights: Weights, t: float, *, slope: bool = False) -> dict[Split, Reading]:
    replica = Replica(name="centre", point=Point(lam=1.0, gamma=4.0, t=t), weights=weights)
    splits = (Split.TRAIN, Split.VALIDATION, Split.TARGET)
    request = MeasureRequest(key=KEY, replicas=(replica,), splits=splits, purpose="test", slope_in_t=slope)
    return {reading.split: reading for reading in on.measure(request).readings}


def test_without_batch_norm_F_t_is_the_difference_of_target_and_source() -> None:
    on = backend(batch_norm=False)
    weights = trained(on, 0.0)
    ends = [readings(on, weights, t)[Split.TRAIN] for t in (0.0, 1.0)]
    J = [reading.R + reading.D + 4.0 * reading.C for reading in ends]
    for t in (0.0, 0.5, 1.0):
        slope = readings(on, weights, t, slope=True)[Split.TRAIN].F_t
        assert slope == pytest.approx(J[1] - J[0], rel=0.03)


@pytest.mark.parametrize("kind", ["mixture", "displacement"])
def test_with_batch_norm_F_t_is_the_slope_with_statistics_that_follow_t(kind: str) -> None:
    on = backend(kind)
    weights = trained(on, 0.0)
    dt = 0.05
    after, before = (readings(on, weights, 0.5 + sign * dt)[Split.TRAIN] for sign in (1, -1))
    difference = sum(
        factor * (getattr(after, name) - getattr(before, name)) / (2 * dt) for name, factor in (("R", 1), ("D", 1), ("C", 4))
    )
    slope = readings(on, weights, 0.5, slope=True)[Split.TRAIN].F_t
    assert slope == pytest.approx(difference, rel=0.02)


def test_with_batch_norm_the_shortcut_target_minus_source_is_wrong() -> None:
    on, t = backend(), 0.5
    weights = trained(on, 0.0)
    path, drawing = on._paths[Split.TRAIN], on.drawing
    model = on._models.with_weights(weights, seed=0)
    recompute_statistics(model, path, t, chunk=300, key=derived_seed)

    def J(at: float) -> float:
        """With the statistics of t, whatever data set is read."""
        point = Point(lam=1.0, gamma=4.0, t=at)
        return read(model, path, point=point, t=at, drawing=drawing, key=derived_seed).F

    slope = readings(on, weights, t, slope=True)[Split.TRAIN].F_t
    assert slope is not None
    assert abs((J(1.0) - J(0.0)) / slope - 1.0) > 0.035
    assert readings(on, weights, t)[Split.TRAIN].F_t is None


def test_a_reading_of_a_mixture_is_the_weighted_mean_of_its_ends() -> None:
    on = backend(batch_norm=False)
    weights = trained(on)
    source, half, target = (readings(on, weights, t) for t in (0.0, 0.25, 1.0))
    for split in (Split.TRAIN, Split.VALIDATION):
        for name in ("R", "D", "C", "accuracy"):
            mean = 0.75 * getattr(source[split], name) + 0.25 * getattr(target[split], name)
            assert getattr(half[split], name) == pytest.approx(mean, rel=1e-6)
    assert half[Split.TARGET].C == pytest.approx(target[Split.TARGET].C, rel=1e-9)


@pytest.mark.parametrize("kind", ["mixture", "displacement"])
def test_models_at_neighbouring_t_train_on_the_same_random_numbers(kind: str) -> None:
    on = backend(kind)
    start = trained(on, 0.0)

    def at(t: float) -> Weights:
        replica = Replica(name="centre", point=Point(lam=1.0, gamma=4.0, t=t), weights=start)
        return on.equilibrate(EquilibrateRequest(key=KEY, replicas=(replica,))).weights[0]

    centre, up, down = at(0.3), at(0.3 + 1e-7), at(0.3 - 1e-7)
    for name, value in centre.items():
        np.testing.assert_allclose(up[name], value, atol=1e-3)
        np.testing.assert_allclose(down[name], value, atol=1e-3)


def test_equal_weights_are_batch_norm_itself() -> None:
    layer = nn.BatchNorm2d(4).double().train()
    x = torch.randn(10, 4, 3, 3, dtype=torch.float64)
    plain = layer(x)
    with WeightedStatistics(layer) as statistics:
        statistics.weights = torch.full((5,), 0.2, dtype=torch.float64)  # two draws of each of five examples
        torch.testing.assert_close(layer(x), plain)
    assert "forward" not in vars(layer)


def test_a_still_path_and_a_mixture_at_its_start_read_the_same() -> None:
    on = backend()
    weights = trained(on, 0.0)
    config = configure(configuration(), process="iso-classification")
    data = load_path(configuration())
    still = InlineBackend(config, PathData(kind="still", source=data.source), dtype=torch.float64)
    replica = Replica(name="centre", point=Point(lam=1.0, gamma=4.0), weights=weights)
    request = MeasureRequest(key=KEY, replicas=(replica,), splits=(Split.TRAIN,), purpose="test")
    assert still.measure(request).readings[0].C == on.measure(request).readings[0].C
