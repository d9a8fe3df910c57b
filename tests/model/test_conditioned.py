"""A conditioned model: what depends on the point, what it folds into, and which models are refused."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from rayfe.config import ModelConfig
from rayfe.exceptions import UsageError
from rayfe.model.conditioned import Conditioned, check_conditioned
from rayfe.model.objective import Objective, draw_noise
from rayfe.model.posterior import Widths
from rayfe.model.protocol import build, laid_out
from rayfe.model.weights import load_weights, weights_of
from rayfe.records import Box, Point

BOX = Box(lam=(0.25, 4.0), gamma=(2.0, 8.0))
POINT = Point(lam=0.7, gamma=5.0)
MODELS = {
    "mlp": (ModelConfig(hidden=12, latent=3, classifier_hidden=5), (20,)),
    "linear": (ModelConfig(name="linear", latent=3, classifier_hidden=0), (20,)),
    "resnet": (ModelConfig(name="resnet", width=2, latent=3, classifier_hidden=0), (1, 8, 8)),
}


def made(name: str, dtype: torch.dtype = torch.float64):
    """A new model and its class's shape of examples."""
    config, shape = MODELS[name]
    return laid_out(build(config, input_shape=shape, classes=4), torch.device("cpu"), dtype), shape


def disturbed(name: str):
    """A conditioned model as after a training: its network and its statistics are not those of the beginning."""
    model, shape = made(name)
    conditioned = Conditioned(model, BOX, seed=1)
    rng = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for value in conditioned.network.parameters():
            value.add_(torch.randn(value.shape, generator=rng, dtype=value.dtype))
        for key, value in model.named_buffers():
            if key.endswith(("running_mean", "running_var")):
                value.copy_(torch.rand(value.shape, generator=rng, dtype=value.dtype) + 0.5)
    return conditioned, shape


@pytest.mark.parametrize("name", MODELS)
def test_a_fold_gives_the_same_outputs(name: str) -> None:
    conditioned, shape = disturbed(name)
    rng = torch.Generator().manual_seed(3)
    x, y = torch.rand(6, *shape, generator=rng, dtype=torch.float64), torch.arange(6) % 4
    noise = draw_noise(rng, n=6, widths=Widths(latent=3), decoder_draws=1, head_draws=4, dtype=torch.float64)
    (moved,) = conditioned.parameters_at([POINT])
    named = {f"model.{key}": value for key, value in moved.items()}
    expected = functional_call(Objective(conditioned.model.eval()), named, (x, y, noise))
    folded, _ = made(name)
    load_weights(folded, conditioned.fold(POINT))
    found, plain = (Objective(model.eval())(x, y, noise) for model in (folded, conditioned.model))
    for value, wanted, unmoved in zip(found[:3], expected[:3], plain[:3], strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-12, atol=1e-12)
        assert not torch.allclose(wanted, unmoved, rtol=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_before_training_it_is_the_ordinary_model_everywhere(name: str) -> None:
    model, _ = made(name)
    for point in (BOX.at(-1.0, 1.0), POINT):
        folded = Conditioned(model, BOX, seed=0).fold(point)
        assert all((folded[key] == value).all() for key, value in weights_of(model).items())


def test_what_is_frozen_stays() -> None:
    conditioned, _ = disturbed("mlp")
    for value in conditioned.model.decoder.parameters():
        value.requires_grad_(False)
    again = Conditioned(conditioned.model, BOX, seed=0)
    (moved,) = again.parameters_at([POINT])
    assert moved and not any(key.startswith("decoder") for key in moved)


class Bare(nn.Module):
    """A model that has neither a bias nor batch-norm in the method that `without` names."""

    latent = 3

    def __init__(self, without: str) -> None:
        super().__init__()
        self.encoder, self.decoder, self.classifier = (
            nn.Linear(before, after, bias=without != method)
            for method, before, after in (("encode", 20, 6), ("decode", 3, 20), ("classify", 3, 4))
        )

    def encode(self, x):
        mean, log_variance = self.encoder(x).chunk(2, dim=-1)
        return mean, log_variance

    def decode(self, z):
        return self.decoder(z)

    def classify(self, z):
        return self.classifier(z)


@pytest.mark.parametrize("method", ["encode", "decode", "classify"])
def test_what_cannot_depend_on_the_point_is_refused_by_name(method: str) -> None:
    x = torch.rand(2, 20)
    check_conditioned(Bare("nothing"), "my:Bare", x)
    with pytest.raises(UsageError, match=f"model='my:Bare': {method} has no bias and no batch-norm") as refused:
        check_conditioned(Bare(method), "my:Bare", x)
    assert "\n" not in str(refused.value)


def test_a_box_and_its_coordinates() -> None:
    assert BOX.centre == Point(lam=pytest.approx(1.0), gamma=pytest.approx(4.0))
    assert BOX.at(-1.0, 1.0) == Point(lam=0.25, gamma=8.0)
    assert BOX.coordinates(BOX.at(0.3, -0.8)) == pytest.approx((0.3, -0.8))
    assert Box(lam=(2.0, 2.0), gamma=(1.0, 4.0)).coordinates(Point(lam=2.0, gamma=1.0)) == pytest.approx((0.0, -1.0))
