"""The perceptron's layers with and without dropout."""

import pytest
import torch

from rayfe.config import ModelConfig
from rayfe.model.mlp import CommonDropout
from rayfe.model.protocol import build

NAMES = [
    *("encoder.0.weight", "encoder.1.weight", "encoder.1.bias", "encoder.1.running_mean", "encoder.1.running_var"),
    *("encoder.1.num_batches_tracked", "encoder.3.weight", "encoder.3.bias"),
    *("decoder.0.weight", "decoder.1.weight", "decoder.1.bias", "decoder.1.running_mean", "decoder.1.running_var"),
    *("decoder.1.num_batches_tracked", "decoder.3.weight", "decoder.3.bias"),
    *("classifier.0.weight", "classifier.0.bias", "classifier.2.weight", "classifier.2.bias"),
]


def mlp(**options):
    return build(ModelConfig(hidden=12, latent=4, **options), input_shape=(16,), classes=3)


def test_without_dropout_modules_and_names_are_those_of_the_paper():
    """The names are in weight files: they must not change."""
    assert list(mlp().state_dict()) == NAMES
    assert [type(layer).__name__ for layer in mlp().encoder] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert [type(layer).__name__ for layer in mlp().decoder] == ["Linear", "BatchNorm1d", "ReLU", "Linear", "Sigmoid"]


def test_dropout_follows_the_hidden_layers_of_encoder_and_decoder_and_leaves_the_initial_weights():
    plain, dropping = mlp(), mlp(dropout=0.1)
    for layers in (dropping.encoder, dropping.decoder):
        assert [i for i, layer in enumerate(layers) if isinstance(layer, torch.nn.Dropout)] == [3]
        assert layers[3].p == 0.1
    assert not any(isinstance(layer, torch.nn.Dropout) for layer in dropping.classifier.modules())
    for a, b in zip(plain.parameters(), dropping.parameters(), strict=True):
        assert torch.equal(a, b)


def test_evaluation_mode_drops_nothing():
    x = torch.rand(6, 16)
    for a, b in zip(mlp().eval().encode(x), mlp(dropout=0.5).eval().encode(x), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_common_dropout_is_that_of_torch(p):
    x = torch.rand(200, 50, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        ours = CommonDropout(p)(x)
        torch.manual_seed(3)
        theirs = torch.nn.Dropout(p)(x)
    torch.testing.assert_close(ours, theirs)
    assert (ours == 0).float().mean().item() == pytest.approx(p, abs=0.02)
