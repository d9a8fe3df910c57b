import math
import sys
import types

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from rayfe.config import ModelConfig
from rayfe.data.randomness import generator
from rayfe.exceptions import UsageError
from rayfe.model.likelihood import likelihood_of
from rayfe.model.objective import Noise, Objective, draw_noise, rate
from rayfe.model.posterior import Widths
from rayfe.model.protocol import build, input_shape
from rayfe.model.task import Classification


def small(**options):
    return build(ModelConfig(hidden=12, latent=4, **options), input_shape=(16,), classes=3)


def test_rate_is_the_divergence_of_the_encoder_from_the_standard_normal():
    mean, log_variance = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(rate(mean, log_variance), exact)


def test_distortion_is_summed_over_pixels():
    x = torch.zeros(2, 1, 2, 3)
    assert likelihood_of(None)(x, x + 0.5).tolist() == [1.5, 1.5]


def test_classification_loss_of_uniform_logits_is_log_of_classes():
    losses = Classification(3).loss(torch.zeros(5, 2, 3), torch.tensor([0, 2]))
    torch.testing.assert_close(losses, torch.full((5, 2), math.log(3.0)))


@pytest.mark.parametrize("common", [0.0, 2.0**14, -(2.0**14)])
@pytest.mark.parametrize("soft", [False, True])
def test_what_all_logits_have_in_common_changes_neither_loss_nor_gradient(common, soft):
    """Beside 2^14 single precision has nothing below 0.001, which would be more than these losses."""
    logits = (torch.tensor([[[0.0, -7.5, -9.0], [-8.0, 0.0, -8.5]]]) + common).requires_grad_()
    labels = torch.tensor([0, 1])
    losses = Classification(3).loss(logits, torch.nn.functional.one_hot(labels, 3).float() if soft else labels)
    expected = [math.log1p(math.exp(-7.5) + math.exp(-9.0)), math.log1p(math.exp(-8.0) + math.exp(-8.5))]
    torch.testing.assert_close(losses, torch.tensor([expected]), rtol=1e-3, atol=0.0)
    losses.sum().backward()
    assert logits.grad.sum(-1).abs().max() < 2e-7
    assert (logits.grad.abs().sum(-1) > 1e-3).all()


def test_the_classifiers_logits_have_nothing_in_common():
    model = small(classifier_hidden=12)
    with torch.no_grad():
        model.classifier[-1].weight.add_(500.0)
        model.classifier[-1].bias.sub_(500.0)
    logits = model.classify(torch.rand(9, 4, generator=generator("cpu", "z")))
    assert logits.sum(-1).abs().max() < 1e-3
    assert logits.std() > 1e-2


def test_functionals_average_over_the_draws():
    objective, rng = Objective(small().eval()), generator("cpu", "x")
    x, y = torch.rand(6, 16, generator=rng), torch.tensor([0, 1, 2, 0, 1, 2])
    noise = draw_noise(rng, n=6, widths=Widths(latent=4), decoder_draws=2, head_draws=4, dtype=torch.float32)
    whole = objective(x, y, noise)
    ones = [objective(x, y, Noise(decoder=noise.decoder[i : i + 1], head=noise.head[i : i + 1])) for i in range(2)]
    torch.testing.assert_close(whole.D, 0.5 * (ones[0].D + ones[1].D))
    heads = [objective(x, y, Noise(decoder=noise.decoder, head=noise.head[i : i + 1])).C for i in range(4)]
    torch.testing.assert_close(whole.C, sum(heads) / 4)


def test_even_numbers_of_draws_are_antithetic_pairs():
    noise = draw_noise(generator("cpu", 1), n=3, widths=Widths(latent=2), decoder_draws=2, head_draws=8, dtype=torch.float32)
    assert torch.equal(noise.decoder[0], -noise.decoder[1])
    assert torch.equal(noise.head[:4], -noise.head[4:])


@pytest.mark.parametrize("hidden", [0, 12])
def test_classifier_is_one_layer_or_has_a_hidden_one(hidden):
    layers = [m for m in small(classifier_hidden=hidden).classifier.modules() if isinstance(m, torch.nn.Linear)]
    assert len(layers) == (2 if hidden else 1)


def test_no_bias_stands_before_batch_norm():
    model = small()
    assert model.encoder[0].bias is None
    assert model.decoder[0].bias is None


def test_initial_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = small().state_dict()
    torch.manual_seed(2)
    again = small().state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


class WrongShape(torch.nn.Module):
    latent = 4

    def __init__(self, *, input_shape, classes, config):
        super().__init__()

    def encode(self, x):
        return x[:, :4], x[:, :4]

    def decode(self, z):
        return z

    def classify(self, z):
        return z[:, :3]


class NoDecoder(torch.nn.Module):
    def encode(self, x):
        return x, x

    def classify(self, z):
        return z


@pytest.mark.parametrize(
    ("name", "said"),
    [("resnet99", "package.module:Class"), ("no.such:Model", "is not loaded"), ("collections:OrderedDict", "Module")],
)
def test_unknown_models_are_refused_by_name(name, said):
    with pytest.raises(UsageError, match=said):
        build(ModelConfig(name=name), input_shape=(16,), classes=3)


def test_a_model_with_wrong_shapes_is_refused_with_the_expected_ones(monkeypatch):
    module = types.ModuleType("user_models")
    module.WrongShape, module.NoDecoder = WrongShape, NoDecoder
    monkeypatch.setitem(sys.modules, "user_models", module)
    with pytest.raises(UsageError, match=r"decode returns shape \(2, 4\).*expected \(2, 16\)"):
        build(ModelConfig(name="user_models:WrongShape"), input_shape=(16,), classes=3)
    with pytest.raises(UsageError, match="decode"):
        build(ModelConfig(name="user_models:NoDecoder"), input_shape=(16,), classes=3)


def test_an_mlp_sees_flat_examples_and_other_models_images():
    assert input_shape(ModelConfig(), (1, 28, 28)) == (784,)
    assert input_shape(ModelConfig(name="a.b:C"), (1, 28, 28)) == (1, 28, 28)
