"""The training of a conditioned model: where its groups are, what it descends on, and what comes of it."""

import numpy as np
import pytest
import torch

from rayfe.backend.inline import InlineBackend
from rayfe.config import DataConfig, EquilibrationConfig, MeasureConfig, ModelConfig, configure
from rayfe.data.datasets import load
from rayfe.data.randomness import generator
from rayfe.model.conditioned import Conditioned
from rayfe.model.objective import Noise, Objective, draw_noise
from rayfe.model.posterior import Widths
from rayfe.model.protocol import build
from rayfe.model.weights import load_weights
from rayfe.records import Annealing, Box, EquilibrateRequest, MeasureRequest, Outcome, Point, Replica, Split, StepKey
from rayfe.training.over_a_box import GROUPS, OverABox, drawn
from rayfe.training.replicas import Multipliers

BOX = Box(lam=(0.25, 4.0), gamma=(2.0, 8.0))
KEY = StepKey(trajectory="t", seed=3, step=0, attempt=0)


def test_groups_are_spread_over_the_box() -> None:
    rng = torch.Generator().manual_seed(0)
    for _ in range(20):
        places = np.array([BOX.coordinates(point) for point in drawn(BOX, 4, rng)])
        assert (np.sort(np.floor((places + 1.0) * 2.0), axis=0) == np.arange(4)[:, None]).all()


def test_it_descends_on_the_mean_of_log_J_of_ordinary_models_at_the_points_of_its_groups() -> None:
    config = ModelConfig(hidden=12, latent=3)

    def new():
        return build(config, input_shape=(20,), classes=4).double()

    conditioned = Conditioned(new(), BOX, seed=1)
    for value in conditioned.network.parameters():
        torch.nn.init.normal_(value, generator=torch.Generator().manual_seed(2))
    rng = torch.Generator().manual_seed(3)
    n = 8
    x, y = torch.rand(n, 20, generator=rng, dtype=torch.float64), torch.arange(n) % 4
    noise = draw_noise(rng, n=n, widths=Widths(latent=3), decoder_draws=1, head_draws=4, dtype=torch.float64)
    found = OverABox(conditioned).loss(x, y, noise, Multipliers(*torch.ones(3, 1, dtype=torch.float64)), seed=5)
    expected = []
    for i, point in enumerate(drawn(BOX, GROUPS, generator(torch.device("cpu"), 5, "points"))):
        rows = slice(i * n // GROUPS, (i + 1) * n // GROUPS)
        model = new()
        load_weights(model, conditioned.fold(point))
        R, D, C, _ = Objective(model.train())(x[rows], y[rows], Noise(noise.decoder[:, rows], noise.head[:, rows]))
        expected.append(np.log((R + point.lam * D + point.gamma * C).mean().item()))
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-12)


def test_over_a_box_of_one_point_it_is_an_ordinary_training() -> None:
    config = configure(
        threads=1,
        data=DataConfig(name="digits", train_size=300),
        model=ModelConfig(hidden=24, latent=4),
        measure=MeasureConfig(head_draws=32),
        equilibration=EquilibrationConfig(
            first_epochs=40, first_schedule="linear", first_learning_rate=1e-2, batch=32, optimizer="soap"
        ),
    )
    backend, point = InlineBackend(config, load(config.data)), Point(lam=1.0, gamma=4.0)
    F = {}
    for box in (None, Box(lam=(1.0, 1.0), gamma=(4.0, 4.0))):
        replica = Replica(name="centre", point=point, weights=None, box=box)
        whole = Annealing(epochs=40.0, begin=0.0, end=40.0)
        trained = backend.equilibrate(EquilibrateRequest(key=KEY, replicas=(replica,), annealing=whole))
        assert trained.outcome is Outcome.OK
        model = Replica(name="centre", point=point, weights=trained.weights[0], box=box)
        request = MeasureRequest(key=KEY, replicas=(model,), splits=(Split.TRAIN,), purpose="test")
        F[box] = backend.measure(request).readings[0].F
        assert trained.readings[-1].F < 0.5 * trained.readings[0].F
    ordinary, conditioned = F.values()
    assert conditioned == pytest.approx(ordinary, rel=0.05)
