"""The residual network: shapes, sizes, how it starts, and that it can be stacked."""

import copy

import pytest
import torch

from rayfe.config import ModelConfig
from rayfe.data.randomness import generator
from rayfe.exceptions import UsageError
from rayfe.model.objective import Objective, draw_noise
from rayfe.model.posterior import Widths
from rayfe.model.protocol import build
from rayfe.model.resnet import ResNet
from rayfe.training.replicas import Looped, Stacked, free_energy

RESNET18 = 11_173_962
"""Parameters of ResNet-18 for CIFAR-10 with a linear layer to 10 classes (3 x 3 stem without pooling, arXiv:1603.05027)."""


def resnet(shape=(3, 16, 16), *, width=2, latent=4, classes=3, seed=0, **options):
    config = ModelConfig(name="resnet", width=width, latent=latent, classifier_hidden=0, **options)
    return build(config, input_shape=shape, classes=classes, seed=seed)


def examples(n, shape=(3, 16, 16), dtype=torch.float64):
    rng = generator("cpu", "examples")
    return torch.rand(n, *shape, generator=rng, dtype=dtype), torch.arange(n) % 3


def noise(n, dtype=torch.float64):
    return draw_noise(generator("cpu", "noise"), n=n, widths=Widths(latent=4), decoder_draws=1, head_draws=4, dtype=dtype)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def weights_of_convolutions(module):
    return sum(count(layer) for layer in module.modules() if isinstance(layer, torch.nn.Conv2d))


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (2, 16, 24)])
def test_images_come_back_in_their_own_shape(shape):
    model = resnet(shape)
    x, _ = examples(5, shape, torch.float32)
    mean, log_variance = model.encode(x)
    x_hat = model.decode(mean)
    assert isinstance(model, ResNet)
    assert mean.shape == log_variance.shape == (5, model.latent)
    assert x_hat.shape == x.shape
    assert 0 <= x_hat.min() and x_hat.max() <= 1
    assert model.classify(mean).shape == (5, 3)


@pytest.mark.parametrize("shape", [(784,), (1, 28, 28), (3, 32, 20), (32, 32)])
def test_shapes_it_cannot_take_are_refused_with_what_it_takes(shape):
    with pytest.raises(UsageError, match=r"model='resnet': .*divisible by 8") as refused:
        resnet(shape)
    assert str(shape) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("hidden", "layers"), [(0, 1), (12, 2)])
def test_classifier_is_one_layer_or_has_a_hidden_one(hidden, layers):
    config = ModelConfig(name="resnet", width=2, latent=4, classifier_hidden=hidden)
    model = build(config, input_shape=(1, 8, 8), classes=3)
    assert sum(isinstance(module, torch.nn.Linear) for module in model.classifier.modules()) == layers


def test_encoder_of_width_64_has_the_convolutions_of_resnet18():
    """11,159,232 weights in them; 11,183,456 parameters with pre-activation's batch-norms and a linear layer to 2 x 16."""
    wide = resnet((3, 32, 32), width=64, latent=16, classes=10)
    batch_norms, linear = 2 * (64 + 4 * 64 + 5 * (128 + 256 + 512)), 512 * 10 + 10
    assert weights_of_convolutions(wide.encoder) == RESNET18 - batch_norms - linear
    assert count(wide.encoder) == 11_183_456


def test_parameters_grow_with_the_square_of_the_width():
    def beyond_the_first(width):
        return weights_of_convolutions(resnet((1, 8, 8), width=width).encoder) - 9 * width

    assert beyond_the_first(4) == 4 * beyond_the_first(2)
    assert beyond_the_first(8) == 16 * beyond_the_first(2)


def test_no_bias_stands_before_batch_norm():
    names = [name for name, _ in resnet().named_parameters() if name.endswith("bias")]
    norms = [name for name, m in resnet().named_modules() if isinstance(m, torch.nn.BatchNorm2d)]
    others = {name for name in names if name.removesuffix(".bias") not in norms}
    last = max(int(name.split(".")[1]) for name in names if name.startswith("decoder"))
    assert others == {"classifier.bias", f"decoder.{last}.bias", "encoder.13.bias"}


@pytest.mark.parametrize("width", [4, 16])
def test_it_starts_near_grey_with_a_small_rate(width):
    x, y = examples(64, dtype=torch.float32)
    start = Objective(resnet(width=width))(x, y, noise(64, torch.float32))
    grey = (x - 0.5).square().flatten(1).sum(-1).mean()
    assert start.R.mean() < 4.0
    assert start.D.mean() < 2.0 * grey
    assert start.C.mean() < 2.0


@pytest.mark.parametrize(("lam", "gamma"), [(0.5, 1.0), (4.0, 100.0)])
def test_a_few_updates_lower_the_free_energy_without_an_excursion_of_the_rate(lam, gamma):
    objective = Objective(resnet((3, 8, 8), width=4))
    x, y = examples(32, (3, 8, 8), torch.float32)
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-2, betas=(0.9, 0.99))
    J, R = [], []
    for _ in range(30):
        value = objective(x, y, noise(32, torch.float32))
        total = free_energy(value, torch.tensor(lam), torch.tensor(gamma))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        J.append(total.item())
        R.append(value.R.mean().item())
    assert J[-1] < 0.9 * J[0]
    assert max(J) < 1.5 * J[0]
    assert max(R) < 0.2 * J[0] + 10


def test_stacked_replicas_equal_looped_ones_in_values_gradients_and_statistics():
    models = [resnet(seed=seed).double() for seed in range(2)]
    x, y = examples(12)
    looped, stacked = Looped(copy.deepcopy(models)), Stacked(copy.deepcopy(models))
    for a, b in zip(looped.functionals(x, y, noise(12)), stacked.functionals(x, y, noise(12)), strict=True):
        torch.testing.assert_close(a, b)
    multipliers = torch.tensor([0.5, 2.0], dtype=torch.float64), torch.tensor([1.0, 50.0], dtype=torch.float64)
    for replicas in (looped, stacked):
        free_energy(replicas.functionals(x, y, noise(12)), *multipliers).sum().backward()
    for name, value in stacked.parameters().items():
        for i in range(2):
            own = looped.parameters()[f"{i}/{name.removeprefix('model.')}"].grad
            torch.testing.assert_close(value.grad[i], own, rtol=1e-7, atol=1e-9)
    for a, b in zip(looped.weights(), stacked.weights(), strict=True):
        assert a.keys() == b.keys()
        for name in a:
            torch.testing.assert_close(torch.from_numpy(a[name]), torch.from_numpy(b[name]))


def test_statistics_of_a_batch_make_evaluation_agree_with_training_mode():
    """So every layer that acts differently in training is a batch-norm, whose statistics can be recomputed."""
    objective, (x, y) = Objective(resnet().double()), examples(48)
    for layer in objective.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None  # the average over one batch
    training = objective.train()(x, y, noise(48))
    evaluated = objective.eval()(x, y, noise(48))
    for a, b in zip(training[:3], evaluated[:3], strict=True):
        torch.testing.assert_close(a.mean(), b.mean(), rtol=0.03, atol=0.0)  # running variances are n / (n - 1) larger
