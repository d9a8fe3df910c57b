"""Dropout in training: masks follow from the step's own noise stream, and all replicas see the same ones."""

import copy

import numpy as np
import pytest
import torch

from rayfe.config import EquilibrationConfig, ModelConfig
from rayfe.data.device_path import DeviceExamples, Still
from rayfe.data.randomness import generator
from rayfe.model.mlp import MLP
from rayfe.model.objective import Objective, draw_noise
from rayfe.model.posterior import Widths
from rayfe.model.protocol import build
from rayfe.records import Point
from rayfe.training.replicas import Looped, Stacked
from rayfe.training.train import DrawnNoise, Probe, Training, read_probe, train

CONFIG = EquilibrationConfig(batch=16)
POINTS = [Point(lam=0.5, gamma=4.0), Point(lam=0.5, gamma=4.4), Point(lam=0.5, gamma=3.6)]
UPDATES = 7


class TorchDropout(MLP):
    """A user's model: torch's own dropout as a module and as a function, and noise on the code."""

    def __init__(self, *, input_shape, classes, config):
        super().__init__(input_shape=input_shape, classes=classes, config=config)
        self.encoder.insert(3, torch.nn.Dropout(0.3))

    def decode(self, z):
        if self.training:
            z = torch.nn.functional.dropout(z, 0.2) + 0.1 * torch.randn_like(z)
        return super().decode(z)


def model(kind="dropout", *, seed=0, dtype=torch.float64):
    config = ModelConfig(hidden=12, latent=4, dropout=0.3 if kind == "dropout" else 0.0)
    if kind != "torch":
        return build(config, input_shape=(20,), classes=3, seed=seed).to(dtype)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TorchDropout(input_shape=(20,), classes=3, config=config).to(dtype)


def data(dtype=torch.float64):
    x = torch.rand(80, 20, generator=generator("cpu", "data"), dtype=dtype)
    return DeviceExamples(x=x, y=(3 * x[:, 0]).long())


def batches(examples, seed):
    return Still(examples).batches(0.0, CONFIG.batch, updates=UPDATES, rng=generator("cpu", seed, "order"))


def equilibrate(replicas, *, seed=1, dtype=torch.float64):
    examples, names = data(dtype), ("centre", "gamma+", "gamma-")[: replicas.count]
    noise = draw_noise(generator("cpu", "probe"), n=80, widths=Widths(latent=4), decoder_draws=2, head_draws=4, dtype=dtype)
    training = Training(
        replicas=replicas,
        points=POINTS[: replicas.count],
        updates=UPDATES,
        learning_rate=lambda u: 1e-2,
        config=CONFIG,
        preconditioner=None,
        probe=Probe(examples=examples, noise=noise, updates=frozenset({0, 3}), names=names),
    )
    return train(training, batches(examples, seed), DrawnNoise(generator("cpu", seed, "noise"), Widths(latent=4)))


def equal(first, second):
    return all(np.array_equal(a[name], b[name]) for a, b in zip(first, second, strict=True) for name in a)


@pytest.mark.parametrize("kind", ["dropout", "torch"])
@pytest.mark.parametrize("how", [Looped, Stacked])
def test_all_replicas_see_the_same_masks(kind, how):
    """Replicas of equal weights read exactly the same, and other masks read otherwise."""
    replicas, examples = how([model(kind) for _ in range(3)]), data()
    noise = draw_noise(generator("cpu", 0), n=80, widths=Widths(latent=4), decoder_draws=1, head_draws=4, dtype=torch.float64)
    for value in replicas.functionals(examples.x, examples.y, noise, seed=5)[:3]:
        torch.testing.assert_close(value, value[:1].expand_as(value), rtol=1e-12, atol=1e-12)
    D = [replicas.functionals(examples.x, examples.y, noise, seed=seed).D for seed in (5, 6)]
    assert (D[0] - D[1]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["dropout", "torch"])
def test_stacked_replicas_equal_looped_ones(kind):
    models = [model(kind, seed=seed) for seed in range(3)]
    looped, stacked = Looped(copy.deepcopy(models)), Stacked(copy.deepcopy(models))
    first, second = equilibrate(looped), equilibrate(stacked)
    for a, b in zip(first.readings, second.readings, strict=True):
        assert a.F == pytest.approx(b.F, rel=1e-9)
    for a, b in zip(looped.weights(), stacked.weights(), strict=True):
        for name in a:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-6, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("how", [Looped, Stacked])
def test_a_replica_is_trained_alike_alone_and_among_others(how):
    """Requests may be split over evaluators."""
    among = how([model(seed=seed) for seed in range(3)])
    alone = Looped([model(seed=0)])
    equilibrate(among)
    equilibrate(alone)
    for name, value in alone.weights()[0].items():
        np.testing.assert_allclose(among.weights()[0][name], value, rtol=1e-6, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("kind", ["dropout", "torch"])
@pytest.mark.parametrize("how", [Looped, Stacked])
def test_a_repeat_gives_the_same_bytes_whatever_the_global_generator_and_leaves_it_alone(kind, how):
    trained = []
    for state in (11, 12):
        torch.manual_seed(state)
        before = torch.get_rng_state()
        replicas = how([model(kind, seed=seed) for seed in range(2)])
        readings = equilibrate(replicas).readings
        assert torch.equal(torch.get_rng_state(), before)
        trained.append((replicas.weights(), readings))
    assert equal(trained[0][0], trained[1][0])
    assert trained[0][1] == trained[1][1]


def test_masks_change_from_update_to_update_and_with_the_noise_stream(monkeypatch):
    seeds = []
    functionals = Looped.functionals

    def recorded(self, x, y, noise, *, seed=0, predict=True):
        seeds.append(seed)
        return functionals(self, x, y, noise, seed=seed, predict=predict)

    monkeypatch.setattr(Looped, "functionals", recorded)
    for seed in (1, 2):
        equilibrate(Looped([model()]), seed=seed)
    readings, masks = seeds.count(0), [seed for seed in seeds if seed != 0]
    assert readings == 2 * 3  # at updates 0 and 3 and at the end: always the same masks
    assert len(set(masks)) == 2 * UPDATES


def test_readings_on_the_probe_repeat():
    replicas, examples = Looped([model()]), data()
    noise = draw_noise(generator("cpu", 0), n=80, widths=Widths(latent=4), decoder_draws=2, head_draws=4, dtype=torch.float64)
    probe = Probe(examples=examples, noise=noise, updates=frozenset(), names=("centre",))
    first, second = (read_probe(replicas, POINTS[:1], probe, update=0) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_stochastic_layers_the_bytes_are_those_of_a_plain_loop(dtype):
    """The loop as one would write it by hand: no masks, nothing else drawn from the two streams."""
    replicas = Looped([model("plain", dtype=dtype)])
    equilibrate(replicas, dtype=dtype)

    objective, examples = Objective(model("plain", dtype=dtype).train()), data(dtype)
    noise = generator("cpu", 1, "noise")
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-2, betas=(0.9, CONFIG.second_moment_decay), fused=True)
    lam, gamma = torch.tensor([POINTS[0].lam], dtype=dtype), torch.tensor([POINTS[0].gamma], dtype=dtype)
    for batch in batches(examples, 1):
        draws = draw_noise(noise, n=CONFIG.batch, widths=Widths(latent=4), decoder_draws=1, head_draws=8, dtype=dtype)
        R, D, C, _ = objective(batch.x, batch.y, draws)
        optimizer.zero_grad()
        (R[None].mean(-1) + lam * D[None].mean(-1) + gamma * C[None].mean(-1)).sum().backward()
        optimizer.step()
    parameters = replicas.weights()[0]
    for name, value in objective.model.named_parameters():
        assert np.array_equal(parameters[name], value.detach().numpy()), name
