"""Random weights: S against torch's divergence, and what layers draw against moments that are known."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

import rayfe
from rayfe.config import ModelConfig
from rayfe.exceptions import UsageError
from rayfe.model.mlp import Logits
from rayfe.model.objective import Objective, draw_noise, noise_of
from rayfe.model.posterior import GaussianLinear, drawn, information, random_layers, widths_of
from rayfe.model.protocol import build, build_checked
from rayfe.model.weights import load_weights, weights_of

PARTS = ("encoder", "decoder", "classifier")


def small(posterior="all", **options):
    model = build(ModelConfig(hidden=12, latent=4, posterior=posterior, **options), input_shape=(16,), classes=3).double()
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("log_deviation"):
                value.copy_(-2.0 + torch.rand(value.shape, generator=rng, dtype=value.dtype))
    return model


def exact_information(model, part):
    """By torch.distributions, layer by layer."""
    total = 0.0
    for layer in getattr(model, part).modules():
        if isinstance(layer, nn.Linear):
            prior = Normal(0.0, layer.in_features**-0.5)
            own = dict(layer.named_parameters(recurse=False))
            for name in ("weight", "bias"):
                total += kl_divergence(Normal(own[name], own[f"{name}_log_deviation"].exp()), prior).sum()
    return total


@pytest.mark.parametrize("part", PARTS)
def test_S_of_a_part_is_the_divergence_from_the_prior(part):
    model = small()
    torch.testing.assert_close(information(model, part), exact_information(model, part))


def test_S_of_a_model_is_the_sum_over_its_random_parts():
    model = small()
    torch.testing.assert_close(information(model), sum(exact_information(model, part) for part in PARTS))
    model = small("classifier")
    torch.testing.assert_close(information(model), exact_information(model, "classifier"))
    assert information(model, "decoder") == 0.0
    assert information(small("none")) == 0.0


def test_S_of_stacked_parameters_is_that_of_each():
    models = [small(), small()]
    with torch.no_grad():
        models[1].classifier[0].weight.mul_(2.0)
    stacked = {name: torch.stack([dict(model.named_parameters())[name] for model in models]) for name in weights_of(models[0])}
    torch.testing.assert_close(information(models[0], values=stacked), torch.stack([information(model) for model in models]))


@pytest.mark.parametrize("kind", [nn.Linear, Logits])
def test_outputs_have_the_moments_of_a_layer_whose_weights_are_drawn(kind):
    """Outputs are linear in the noise, so its unit vectors give their exact covariance: that of x W' + b with Gaussian W and b."""
    torch.manual_seed(0)
    layer = GaussianLinear(kind(5, 4)).double()
    with torch.no_grad():
        layer.weight_log_deviation.copy_(torch.randn(4, 5) - 1.0)
        layer.bias_log_deviation.copy_(torch.randn(4) - 1.0)
    one = torch.eye(4, dtype=torch.float64)
    take = one - (0.25 if kind is Logits else 0.0)
    for x in torch.randn(3, 5, dtype=torch.float64):
        layer.noise = None
        mean = layer(x[None])
        torch.testing.assert_close(mean[0], take @ (layer.weight @ x + layer.bias))
        layer.noise = one
        moved = layer(x.expand(4, 5)) - mean
        variance = (2.0 * layer.weight_log_deviation).exp() @ x.square() + (2.0 * layer.bias_log_deviation).exp()
        torch.testing.assert_close(moved.T @ moved, take @ variance.diag() @ take)


def test_logits_have_nothing_in_common_also_with_noise():
    layer = GaussianLinear(Logits(5, 4))
    layer.noise = torch.randn(7, 4)
    assert layer(torch.randn(7, 5)).sum(-1).abs().max() < 1e-5


def test_without_noise_a_model_is_that_of_its_means():
    """A model without a posterior, of the same layers."""
    model = small()
    plain = {name: value for name, value in weights_of(model).items() if not name.endswith("log_deviation")}
    means = nn.Module()
    for part in PARTS:
        layers = [
            (Logits if layer.relative else nn.Linear)(layer.in_features, layer.out_features)
            if isinstance(layer, nn.Linear)
            else layer
            for layer in getattr(model, part)
        ]
        setattr(means, part, nn.Sequential(*layers).double())
    load_weights(means, plain)
    x = torch.rand(6, 16, dtype=torch.float64)
    torch.testing.assert_close(torch.cat(model.encode(x), -1), means.encoder(x))
    torch.testing.assert_close(model.decode(x[:, :4]), means.decoder(x[:, :4]))
    torch.testing.assert_close(model.classify(x[:, :4]), means.classifier(x[:, :4]))


def test_each_unit_of_a_part_has_noise_of_its_own():
    model = small()
    widths = widths_of(model)
    assert (widths.latent, widths.encoder, widths.decoder, widths.classifier) == (4, 12 + 8, 12 + 16, 12 + 3)
    z, noise = torch.randn(2, 4, dtype=torch.float64), torch.zeros(2, widths.decoder, dtype=torch.float64)
    with drawn(model, "decoder", noise):
        torch.testing.assert_close(model.decode(z), model.decode(z))
        first, last = (layer.noise for layer in random_layers(model, "decoder").values())
        assert (first.shape, last.shape) == ((2, 12), (2, 16))
    assert all(layer.noise is None for layer in random_layers(model, "decoder").values())
    for column in range(widths.decoder):
        noise = torch.zeros(2, widths.decoder, dtype=torch.float64)
        noise[0, column] = 3.0
        with drawn(model, "decoder", noise):
            changed = (model.decode(z) - small().decode(z)).abs().sum(-1)
        assert changed[1] == 0.0
        assert changed[0] > 0.0 or column < 12  # a unit may be off


@pytest.mark.parametrize("posterior", PARTS[1:] + ("all",))
def test_functionals_by_many_draws_are_those_of_weights_that_are_drawn(posterior):
    """Mean C and D over the draws of the objective, and over models whose weights are drawn whole."""
    model = small(posterior)
    x, y = torch.rand(2, 16, dtype=torch.float64), torch.tensor([0, 2])
    rng = torch.Generator().manual_seed(3)
    objective, many = Objective(model.eval()), 3000
    noise = draw_noise(rng, n=2 * many, widths=widths_of(model), decoder_draws=1, head_draws=1, dtype=torch.float64)
    with torch.no_grad():
        ours = [value.view(many, 2) for value in objective(x.repeat(many, 1), y.repeat(many), noise, predict=False)[:3]]
    plain, theirs = {name: value.clone() for name, value in model.state_dict().items()}, []
    for _ in range(many):
        state = dict(plain)
        for part in PARTS:
            for path in random_layers(model, part):
                for name in (f"{path}.weight", f"{path}.bias"):
                    state[name] = Normal(plain[name], plain[f"{name}_log_deviation"].exp()).sample()
        model.load_state_dict(state)
        noise = draw_noise(rng, n=2, widths=widths_of(model), decoder_draws=1, head_draws=1, dtype=torch.float64)
        alone = noise._replace(decoder=noise.decoder[..., :4], head=noise.head[..., :4], encoder=noise.encoder[..., :0])
        with torch.no_grad():
            theirs.append(torch.stack(objective(x, y, alone, predict=False)[:3]))
    drawn_whole = torch.stack(theirs)
    for i, value in enumerate(ours):
        error = torch.hypot(value.std(0), drawn_whole[:, i].std(0)) / many**0.5
        assert ((value.mean(0) - drawn_whole[:, i].mean(0)).abs() <= 4.5 * error + 1e-9).all()


def test_noise_belongs_to_numbers_and_keys():
    """However examples are cut, each one has its own; without random weights it is that of z alone."""
    widths = widths_of(small())
    numbers = torch.arange(6)
    whole = noise_of(numbers, key=5, widths=widths, decoder_draws=2, head_draws=4, dtype=torch.float64)
    part = noise_of(numbers[2:4], key=5, widths=widths, decoder_draws=2, head_draws=4, dtype=torch.float64)
    for one, other in zip(whole, part, strict=True):
        assert torch.equal(one[:, 2:4], other)
    assert [value.shape[-1] for value in whole] == [4 + 28, 4 + 15, 20]
    assert not torch.equal(whole.head[0, :, 4:], whole.head[1, :, 4:])
    torch.testing.assert_close(whole.head[2:], -whole.head[:2])


class Convolves(nn.Module):
    latent = 4

    def __init__(self, *, input_shape, classes, config):
        super().__init__()
        self.encoder = nn.Linear(16, 8)
        self.decoder = nn.Sequential(nn.Linear(4, 16), nn.Unflatten(-1, (1, 4, 4)), nn.Conv2d(1, 1, 3, padding=1), nn.Flatten())
        self.classifier = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, affine=False), nn.Linear(6, classes))

    def encode(self, x):
        return self.encoder(x).chunk(2, -1)

    def decode(self, z):
        return self.decoder(z)

    def classify(self, z):
        return self.classifier(z)


class Frozen(Convolves):
    def __init__(self, **given):
        super().__init__(**given)
        self.classifier = nn.Linear(4, 3).requires_grad_(False)
        self.encoder = nn.ModuleList([self.encoder])
        self.back = nn.Linear(4, 16)
        del self.decoder

    def encode(self, x):
        return self.encoder[0](x).chunk(2, -1)

    def decode(self, z):
        return self.back(z)


@pytest.mark.parametrize(
    ("cls", "posterior", "words"),
    [
        (Convolves, "decoder", "decoder.2 of mlp: a Conv2d has parameters"),
        (Convolves, "classifier", "classifier.1 of mlp: batch-norm"),
        (Frozen, "decoder", "needs a module `decoder`"),
        (Frozen, "classifier", "classifier of mlp: it is frozen"),
    ],
)
def test_parts_whose_weights_cannot_be_random_are_refused(cls, posterior, words):
    with pytest.raises(UsageError, match="posterior") as error:
        build(ModelConfig(latent=4, posterior=posterior), input_shape=(16,), classes=3, cls=cls)
    assert words in str(error.value)


class Sound(nn.Module):
    latent = 4

    def __init__(self, **_):
        super().__init__()
        self.encoder, self.decoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 8)), nn.Linear(4, 16)
        self.classifier = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))

    def encode(self, x):
        return self.encoder(x).chunk(2, -1)

    def decode(self, z):
        return self.decoder(z).sigmoid().view(-1, 1, 4, 4)

    def classify(self, z):
        return self.classifier(z)


class Twice(Sound):
    def classify(self, z):
        return self.classifier(self.classifier(z))


class PastTheLayer(Sound):
    def decode(self, z):
        return nn.functional.linear(z, self.decoder.weight, self.decoder.bias).sigmoid().view(-1, 1, 4, 4)


class OfAnotherPart(Sound):
    def decode(self, z):
        return self.decoder(self.classifier[0](z)).sigmoid().view(-1, 1, 4, 4)


class RowsOfPixels(Sound):
    def __init__(self, **_):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 2), nn.Flatten())

    def encode(self, x):
        return self.encoder(x[:, 0]).chunk(2, -1)


class Normed(Sound):
    def __init__(self, **_):
        super().__init__()
        self.decoder = nn.utils.spectral_norm(self.decoder)


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (Twice, "classifier.0 of .*: classify calls it 2 times"),
        (PastTheLayer, "decoder of .*: decode calls it 0 times"),
        (OfAnotherPart, "classifier.0 of .*: decode calls it, too"),
        (RowsOfPixels, r"encoder.0 of .*: encode gives it \(\d+, 4, 4\)"),
        (Normed, "decoder of .*: it has hooks"),
    ],
)
def test_models_whose_outputs_are_no_draw_of_the_weights_are_refused(cls, words):
    data = rayfe.dataset(np.random.default_rng(0).random((40, 4, 4), np.float32), np.arange(40) % 4)
    with pytest.raises(UsageError, match=words):
        build_checked(ModelConfig(name=f"{__name__}:{cls.__name__}", posterior="all"), data)
    assert isinstance(build_checked(ModelConfig(name=f"{__name__}:Sound", posterior="all"), data), Sound)


def test_new_weights_are_like_the_priors_and_nearly_certain():
    model = build(ModelConfig(hidden=200, latent=4, posterior="all"), input_shape=(300,), classes=3)
    for layer in random_layers(model, "encoder").values():
        assert layer.weight_log_deviation.exp().mean().item() == pytest.approx(0.1 * layer.in_features**-0.5)
        assert layer.weight.std().item() == pytest.approx((3.0 * layer.in_features) ** -0.5, rel=0.05)
    assert math.isfinite(information(model).item())
