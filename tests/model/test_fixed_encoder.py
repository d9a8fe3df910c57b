"""A model with another model's encoder: what stays, what is trained, and whether decoder and classifier are two problems."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from accepted_models import PIXELS
from rayfe.config import ModelConfig
from rayfe.model.fixed_encoder import FixedEncoder, after_encoder
from rayfe.model.mlp import MLP
from rayfe.model.protocol import build
from rayfe.model.weights import weights_of

CONFIG = ModelConfig(hidden=8, latent=2, dropout=0.5)


class SharedLayer(nn.Module):
    """Decoder and classifier begin with one layer."""

    latent = 2

    def __init__(self, **_: object) -> None:
        super().__init__()
        self.encoder, self.common = nn.Linear(PIXELS, 4), nn.Linear(2, 6)
        self.decoder, self.classifier = nn.Linear(6, PIXELS), nn.Linear(6, 3)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x.flatten(1)).chunk(2, dim=-1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(self.common(z).relu()).sigmoid()

    def classify(self, z: Tensor) -> Tensor:
        return self.classifier(self.common(z).relu())


def mlp() -> MLP:
    return MLP(input_shape=(6,), classes=3, config=CONFIG)


def test_training_moves_decoder_and_classifier_and_nothing_else() -> None:
    torch.manual_seed(0)
    stored, model = mlp(), FixedEncoder(mlp(), mlp())
    model.encoder.load_state_dict(stored.state_dict())
    x, before = torch.rand(16, 6), weights_of(model)
    wanted = stored.eval().encode(x)
    optimizer = torch.optim.Adam([value for value in model.parameters() if value.requires_grad], lr=0.1)
    for _ in range(3):
        mean, log_variance = model.train().encode(x)
        loss = (model.decode(mean) - x).square().mean() + model.classify(mean).square().mean() + mean.sum() + log_variance.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch.testing.assert_close(
            (mean, log_variance), wanted, rtol=0.0, atol=0.0
        )  # in training, too: no dropout, its statistics
    after = weights_of(model)
    moved = {name for name in after if (after[name] != before[name]).any()}
    assert {name.split(".")[1] for name in moved} == {"decoder", "classifier"}
    assert not [name for name in moved if name.startswith("encoder.")]


def test_the_marginal_stays_with_the_encoder_and_likelihood_and_task_are_new() -> None:
    config = replace(CONFIG, marginal="gaussian", likelihood="gaussian-learnt", task="regression")
    rest, stored = (build(config, input_shape=(6,), classes=3) for _ in range(2))
    model = FixedEncoder(rest, stored)
    assert (model.marginal, model.likelihood, model.task) == (stored.marginal, rest.likelihood, rest.task)
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert {name.split(".")[1] for name in trained} == {"decoder", "classifier", "likelihood", "task"}
    assert not [name for name in trained if name.startswith("encoder.")]


def test_decoder_and_classifier_of_an_mlp_share_nothing_and_those_of_a_common_layer_do() -> None:
    decoder, classifier = after_encoder(mlp())
    assert not decoder & classifier
    assert {name.partition(".")[0] for name in decoder} == {"decoder"}
    assert {name.partition(".")[0] for name in classifier} == {"classifier"}
    decoder, classifier = after_encoder(SharedLayer())
    assert decoder & classifier == {"common.weight", "common.bias"}


def test_what_is_frozen_is_shared_by_nobody() -> None:
    model = SharedLayer()
    model.common.requires_grad_(False)
    decoder, classifier = after_encoder(model)
    assert not decoder & classifier
    model.decoder.requires_grad_(False)
    assert after_encoder(model) == (frozenset(), classifier)
