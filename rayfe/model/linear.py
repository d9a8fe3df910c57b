"""The linear model, whose equilibrium surface is known exactly (`surface.linear_gaussian`)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rayfe.config import ModelConfig
from rayfe.model.mlp import make_classifier


class Linear(nn.Module):
    """Encoder mean W x + b with one variance a dimension of z for all x; linear decoder; the classifier of `config`.

    Examples are flat, (N, features). Outputs of the decoder are real numbers, not confined to [0, 1].
    """

    def __init__(self, *, input_shape: tuple[int, ...], classes: int, config: ModelConfig) -> None:
        super().__init__()
        self.latent = config.latent
        (features,) = input_shape
        self.encoder = nn.Linear(features, config.latent)
        self.log_variance = nn.Parameter(torch.zeros(config.latent))
        self.decoder = nn.Linear(config.latent, features)
        self.classifier = make_classifier(classes, config)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.encoder(x)
        return mean, self.log_variance.expand_as(mean)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def classify(self, z: Tensor) -> Tensor:
        return self.classifier(z)
