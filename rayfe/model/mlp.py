"""The paper's model for MNIST: multi-layer perceptrons with batch-norm (App. A)."""

from __future__ import annotations

from torch import Tensor, nn

from rayfe.config import ModelConfig


class MLP(nn.Module):
    """Encoder `features-hidden-latent`, decoder `latent-hidden-features`, classifier with one hidden layer or none.

    Examples are flat, (N, features).
    """

    def __init__(self, *, input_shape: tuple[int, ...], classes: int, config: ModelConfig) -> None:
        super().__init__()
        self.latent = config.latent
        (features,) = input_shape
        # No bias before batch-norm: its gradient is zero, and Adam would turn the rounding noise into full steps.
        self.encoder = nn.Sequential(
            nn.Linear(features, config.hidden, bias=False),
            nn.BatchNorm1d(config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, 2 * config.latent),
        )
        self.decoder = nn.Sequential(
            nn.Linear(config.latent, config.hidden, bias=False),
            nn.BatchNorm1d(config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, features),
            nn.Sigmoid(),
        )
        if config.classifier_hidden:
            self.classifier: nn.Module = nn.Sequential(
                nn.Linear(config.latent, config.classifier_hidden), nn.ReLU(), nn.Linear(config.classifier_hidden, classes)
            )
        else:
            self.classifier = nn.Linear(config.latent, classes)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, dim=-1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def classify(self, z: Tensor) -> Tensor:
        return self.classifier(z)
