"""The paper's model for MNIST: multi-layer perceptrons with batch-norm (App. A)."""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from rayfe.config import ModelConfig
from rayfe.model.task import task_class


class MLP(nn.Module):
    """Encoder `features-hidden-latent`, decoder `latent-hidden-features`, classifier with one hidden layer or none.

    Examples are flat, (N, features). With `config.dropout` the hidden layers of encoder and decoder are followed by
    dropout (G.1: 784-400-64 with 0.1); without it there is no such module. Parts whose weights are random (`config.posterior`)
    have a bias instead of batch-norm.
    """

    def __init__(self, *, input_shape: tuple[int, ...], classes: int, config: ModelConfig) -> None:
        super().__init__()
        self.latent = config.latent
        (features,) = input_shape

        def dropout() -> list[nn.Module]:
            return [CommonDropout(config.dropout)] if config.dropout else []

        def hidden(inputs: int, *, random: bool) -> list[nn.Module]:
            if random:
                return [nn.Linear(inputs, config.hidden), nn.ReLU()]
            # No bias before batch-norm: its gradient is zero, and Adam would turn the rounding noise into full steps.
            return [nn.Linear(inputs, config.hidden, bias=False), nn.BatchNorm1d(config.hidden), nn.ReLU()]

        self.encoder = nn.Sequential(
            *hidden(features, random=config.posterior == "all"),
            *dropout(),
            nn.Linear(config.hidden, 2 * config.latent),
        )
        self.decoder = nn.Sequential(
            *hidden(config.latent, random=config.posterior in ("decoder", "all")),
            *dropout(),
            nn.Linear(config.hidden, features),
            nn.Sigmoid(),
        )
        self.classifier = make_classifier(classes, config)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, dim=-1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def classify(self, z: Tensor) -> Tensor:
        return self.classifier(z)


class CommonDropout(nn.Dropout):
    """Dropout whose mask is drawn apart from its input.

    Under torch.func.vmap the mask then has no dimension of replicas: it is drawn once for all of them, by the kernel
    that also draws it for a model alone, on every device (torch's own rule under vmap may use another one).
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * nnf.dropout(torch.ones(x.shape, dtype=x.dtype, device=x.device), self.p)


class Logits(nn.Linear):
    """A linear layer without what its outputs would have in common.

    That changes no probability, so nothing keeps it small: an optimizer turns the rounding noise of its gradient into
    full steps, and large common logits round the differences that count.
    """

    def forward(self, input: Tensor) -> Tensor:
        return nnf.linear(input, self.weight - self.weight.mean(0), self.bias - self.bias.mean())


def make_classifier(classes: int, config: ModelConfig) -> nn.Module:
    """z (N, latent) -> predictions (N, classes): one linear layer, or two with `config.classifier_hidden` units between."""
    last = Logits if task_class(config).relative else nn.Linear
    if not config.classifier_hidden:
        return last(config.latent, classes)
    return nn.Sequential(nn.Linear(config.latent, config.classifier_hidden), nn.ReLU(), last(config.classifier_hidden, classes))
