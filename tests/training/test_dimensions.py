"""Dimensions of z: their nats, what the reconstruction misses, and dimensions that take it up, for linear models and others."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from rayfe.config import ModelConfig
from rayfe.data.device_path import DeviceExamples, Mixture, Still
from rayfe.data.randomness import derived_seed
from rayfe.model import marginal
from rayfe.model.linear import Linear
from rayfe.model.mlp import MLP
from rayfe.model.objective import rate
from rayfe.records import Point
from rayfe.surface.water_filling import WaterFilling, rate_of, uptake, worth
from rayfe.training.dimensions import missed, rates_by_dimension
from rayfe.training.take_up import own_entries, take_up

SPECTRUM = np.array([1.0, 0.5, 0.3, 0.1, 0.02])
LATENT = 3


def key(name: str) -> int:
    return derived_seed("tests", name)


@pytest.fixture
def path() -> Still:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 5))
    x = np.linalg.svd(x - x.mean(0), full_matrices=False)[0] * np.sqrt(4000) * np.sqrt(SPECTRUM)
    y = torch.from_numpy(np.arange(4000) % 3)
    return Still(DeviceExamples(x=torch.from_numpy(x), y=y))


def config(hidden: int = 0) -> ModelConfig:
    return ModelConfig(latent=LATENT, hidden=8, classifier_hidden=hidden)


def model_of(rates: list[float]) -> Linear:
    """A linear model whose dimension i carries eigenvector i at this rate, with the best decoder."""
    torch.manual_seed(0)
    model = Linear(input_shape=(5,), classes=3, config=config()).double().eval()
    signal = torch.tensor([1.0 - np.exp(-2.0 * nats) for nats in rates])
    with torch.no_grad():
        for parameter in (*model.encoder.parameters(), *model.decoder.parameters(), model.log_variance):
            parameter.zero_()
        for i, share in enumerate(signal):
            model.encoder.weight[i, i] = share**0.5 / SPECTRUM[i] ** 0.5
            model.decoder.weight[i, i] = share**0.5 * SPECTRUM[i] ** 0.5
            model.log_variance[i] = -2.0 * rates[i]
    return model


def J(model: Any, path: Still, lam: float) -> float:
    """R + lam D in closed form."""
    x = path.strata[0].examples(slice(None), 0.0).x
    with torch.no_grad():
        mean, log_variance = model.encode(x)
        noise = (model.decoder.weight.square().sum(0) * log_variance[0].exp()).sum()
        D = (x - model.decode(mean)).square().sum(-1).mean() + noise
        return float(rate(mean, log_variance).mean() + lam * D)


def test_nats_of_each_dimension_sum_to_the_rate(path: Still) -> None:
    rates = rates_by_dimension(model_of([0.7, 0.4, 0.0]), path, 0.0, chunk=700)
    assert rates == pytest.approx([0.7, 0.4, 0.0], abs=1e-10)


def test_what_is_missed_is_what_no_dimension_carries_whatever_the_order_and_chunks(path: Still) -> None:
    found = missed(model_of([0.7, 0.0, 0.4]), path, 0.0, count=3, chunk=4000, key=key)
    left = np.sort(SPECTRUM * np.exp(-4.0 * np.array([0.7, 0.0, 0.4, 0.0, 0.0])))[::-1]
    assert found.variance.numpy() == pytest.approx(left[:3], rel=0.1, abs=0.02)
    assert abs(found.direction[1, 0]) > 0.99
    data, order = path.strata[0].examples(slice(None), 0.0), torch.randperm(4000)
    other = missed(model_of([0.7, 0.0, 0.4]), Still(data.take(order)), 0.0, count=3, chunk=300, key=key)
    assert other.variance.numpy() == pytest.approx(found.variance.numpy(), abs=1e-10)


@pytest.mark.parametrize("t", [0.0, 0.1, 0.5, 1.0])
def test_what_is_missed_on_a_mixture_has_the_weights_of_its_ends(t: float) -> None:
    """A decoder that says 0: what is missed is x itself, here two points, whose mean and variance are known."""
    source = DeviceExamples(x=torch.full((3000, 1), -0.1, dtype=torch.float64), y=torch.zeros(3000, dtype=torch.long))
    target = DeviceExamples(x=torch.full((1000, 1), 0.9, dtype=torch.float64), y=torch.ones(1000, dtype=torch.long))
    model = Linear(input_shape=(1,), classes=2, config=config()).double().eval()
    for parameter in model.parameters():
        parameter.data.zero_()
    found = missed(model, Mixture(source, target), t, count=1, chunk=700, key=key)
    assert float(found.center) == pytest.approx(t - 0.1)
    assert float(found.variance) == pytest.approx(t * (1.0 - t), rel=0.15, abs=1e-9)


def test_uptake_is_the_gain_of_water_filling() -> None:
    lam = 3.0
    one, two = (WaterFilling(spectrum=SPECTRUM, latent=latent) for latent in (1, 2))
    assert uptake(0.0, SPECTRUM[1], lam) == pytest.approx(one.F(lam) - two.F(lam))
    assert uptake(rate_of(SPECTRUM[3], 9.0), SPECTRUM[1], 9.0) == pytest.approx(
        worth(rate_of(SPECTRUM[1], 9.0)) - worth(rate_of(SPECTRUM[3], 9.0))
    )
    assert uptake(0.0, 0.1, 4.9) == 0.0
    assert uptake(0.5, 0.1, 6.0) == 0.0


def test_a_dimension_without_any_signal_takes_up_what_pays(path: Still) -> None:
    lam = 3.0
    rates = [rate_of(SPECTRUM[0], lam), 0.0, rate_of(SPECTRUM[2], lam)]
    model = model_of(rates)
    before = {name: value.clone() for name, value in model.named_parameters()}
    found = take_up(model, path, Point(lam=lam, gamma=1.0), size=4000, chunk=1000, key=key)
    assert (found.dims, found.fitted) == ((1,), True)
    changed = found.model
    gain = J(model, path, lam) - J(changed, path, lam)
    assert gain == pytest.approx(worth(rate_of(SPECTRUM[1], lam)), rel=0.05)
    assert all(torch.equal(before[name], value) for name, value in model.named_parameters())
    kept = dict(changed.named_parameters())
    assert torch.equal(kept["encoder.weight"][[0, 2]], before["encoder.weight"][[0, 2]])
    assert not kept["classifier.weight"][:, 1].any()


def test_nothing_is_taken_up_where_nothing_pays(path: Still) -> None:
    lam = 0.8  # 2 lam s is 1.6, 0.8, ...
    model = model_of([rate_of(SPECTRUM[0], lam), 0.0, 0.0])
    found = take_up(model, path, Point(lam=lam, gamma=1.0), size=4000, chunk=1000, key=key)
    assert found.model is model
    assert (found.dims, found.fitted) == ((), False)


def test_training_alone_does_not_leave_the_saddle(path: Still) -> None:
    model = model_of([rate_of(SPECTRUM[0], 3.0), 0.0, 0.0])
    x = path.strata[0].examples(slice(None), 0.0).x
    mean, log_variance = model.encode(x)
    D = (x - model.decode(mean)).square().sum(-1).mean() + (model.decoder.weight.square().sum(0) * log_variance[0].exp()).sum()
    (rate(mean, log_variance).mean() + 3.0 * D).backward()
    gradients = [model.encoder.weight.grad[1:], model.decoder.weight.grad[:, 1:], model.log_variance.grad[1:]]
    assert all(gradient.abs().max() < 1e-9 for gradient in gradients)


def test_entries_of_a_dimension_are_rows_and_columns_of_a_network(path: Still) -> None:
    torch.manual_seed(0)
    model = MLP(input_shape=(5,), classes=3, config=config(hidden=4)).double().eval()
    x = path.strata[0].examples(slice(0, 64), 0.0).x

    def encoded(i: int) -> torch.Tensor:
        mean, log_variance = model.encode(x)
        return (mean[:, i] * torch.linspace(0.1, 1.0, len(x)) + log_variance[:, i]).sum()

    entries = own_entries(model, range(LATENT), encoded)
    last = "encoder.3"
    assert [set(one) for one in entries] == [{f"{last}.weight", f"{last}.bias"}] * LATENT
    for i, one in enumerate(entries):
        assert one[f"{last}.bias"].nonzero()[:, 0].tolist() == [i, LATENT + i]


def test_a_network_takes_up_too_and_a_model_without_own_entries_stays(path: Still) -> None:
    torch.manual_seed(0)
    data = path.strata[0].examples(slice(None), 0.0)
    scaled = Still(dataclasses.replace(data, x=torch.sigmoid(data.x)))
    model = MLP(input_shape=(5,), classes=3, config=config()).double().eval()
    with torch.no_grad():
        model.encoder[3].weight.zero_()
        model.encoder[3].bias.zero_()
    found = take_up(model, scaled, Point(lam=200.0, gamma=1.0), size=2000, chunk=1000, key=key)
    assert found.dims
    rates = rates_by_dimension(found.model, scaled, 0.0, chunk=1000)
    assert max(rates) > 0.1

    class Mixed(MLP):
        """Every entry of its decoder and encoder depends on all dimensions."""

        def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            mean, log_variance = super().encode(x)
            return mean + mean.sum(-1, keepdim=True), log_variance + log_variance.sum(-1, keepdim=True)

    mixed = Mixed(input_shape=(5,), classes=3, config=config()).double().eval()
    assert take_up(mixed, scaled, Point(lam=200.0, gamma=1.0), size=2000, chunk=1000, key=key).dims == ()


def test_a_learnt_gaussian_has_the_nats_and_the_take_up_of_the_standard_one_in_other_units(path: Still) -> None:
    usual, other = model_of([0.8, 0.4, 0.0]), model_of([0.8, 0.4, 0.0])
    other.marginal = marginal.Gaussian(latent=LATENT, input_shape=()).double()
    with torch.no_grad():
        other.marginal.log_variance.fill_(2.0 * np.log(3.0))
        other.encoder.weight.mul_(3.0)
        other.encoder.bias.mul_(3.0)
        other.log_variance.add_(2.0 * np.log(3.0))
        for layer in (other.decoder, other.classifier):
            layer.weight.div_(3.0)
    ours, theirs = (rates_by_dimension(model, path, 0.0, chunk=1000) for model in (usual, other))
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
    point, size = Point(lam=4.0, gamma=0.0), 2000
    taken = [take_up(model, path, point, size=size, chunk=1000, key=key) for model in (usual, other)]
    assert taken[0].dims == taken[1].dims != ()
    np.testing.assert_allclose(*(rates_by_dimension(one.model, path, 0.0, chunk=1000) for one in taken), atol=0.02)


def test_dimensions_have_no_nats_of_their_own_in_a_mixture_and_take_up_nothing(path: Still) -> None:
    model = model_of([0.8, 0.0, 0.0])
    model.marginal = marginal.Mixture(latent=LATENT, input_shape=()).double()
    assert rates_by_dimension(model, path, 0.0, chunk=1000) is None
    found = take_up(model, path, Point(lam=4.0, gamma=0.0), size=500, chunk=1000, key=key)
    assert found.model is model and found.dims == () and not found.fitted
