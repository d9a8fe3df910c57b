"""An encoder from elsewhere: one that returns an object with `last_hidden_state` and `pooler_output`, as Hugging Face's do.

    python analysis/tutorials/own_encoder.py
    python analysis/tutorials/own_encoder.py --small              # seconds

Such an encoder becomes a Gaussian one by a linear layer on its pooled output. `Encoder` below stands for it and needs no
further package: with transformers it would be `AutoModel.from_pretrained(...)`, called with `pixel_values=`. What the encoder's
image processor does to pixels (here: to mean 0 and half-width 1) belongs inside the model, since rayfe hands it [0, 1].

All parameters are trained. To keep a pretrained part as it is, take it out of the optimiser with `requires_grad_(False)`; its
dropout should be 0, so that R, D and C of training are those of evaluation.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import rayfe
from rayfe.config import EquilibrationConfig, MeasureConfig, ModelConfig


@dataclass
class EncoderOutput:
    """What the encoder returns."""

    last_hidden_state: Tensor  # (N, tokens, width)
    pooler_output: Tensor  # (N, width)


class Encoder(nn.Module):
    """A small vision transformer: patches of two by two pixels, one layer of attention, the mean over tokens."""

    def __init__(self, *, side: int, width: int = 32) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, kernel_size=2, stride=2)
        self.position = nn.Parameter(0.02 * torch.randn((side // 2) ** 2, width))
        self.layer = nn.TransformerEncoderLayer(width, nhead=4, dim_feedforward=64, dropout=0.0, batch_first=True)

    def forward(self, pixel_values: Tensor) -> EncoderOutput:
        tokens = self.patches(pixel_values).flatten(2).transpose(1, 2) + self.position
        hidden = self.layer(tokens)
        return EncoderOutput(last_hidden_state=hidden, pooler_output=hidden.mean(1))


class Wrapped(nn.Module):
    """The encoder with what it lacks: mean and log-variance of z, a decoder and a classifier."""

    latent = 8

    def __init__(self, *, input_shape: tuple[int, ...], classes: int, config: ModelConfig) -> None:
        super().__init__()
        channels, height, width = input_shape
        self.backbone = Encoder(side=height)
        self.to_z = nn.Linear(32, 2 * self.latent)
        pixels = channels * height * width
        self.decoder = nn.Sequential(
            *(nn.Linear(self.latent, 64), nn.ReLU(), nn.Linear(64, pixels), nn.Sigmoid(), nn.Unflatten(1, input_shape))
        )
        self.classifier = nn.Linear(self.latent, classes)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        output = self.backbone(pixel_values=2.0 * x - 1.0)
        mean, log_variance = self.to_z(output.pooler_output).chunk(2, dim=-1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def classify(self, z: Tensor) -> Tensor:
        return self.classifier(z)


def main() -> None:
    """Walk on scikit-learn's digits."""
    parser = argparse.ArgumentParser(description="An encoder from elsewhere.")
    parser.add_argument("--small", action="store_true", help="little training")
    parser.add_argument("--out", help="the run's folder")
    options = parser.parse_args()
    first, each = (15, 1) if options.small else (200, 25)  # epochs of the start, and of a step
    run = rayfe.walk(
        "digits-smoke",
        model=Wrapped,
        steps=1 if options.small else 6,
        settle=not options.small,
        equilibration=EquilibrationConfig(
            first_schedule="linear", first_learning_rate=5e-3, learning_rate=2e-3, batch=128, first_epochs=first, epochs=each
        ),
        measure=MeasureConfig(head_draws=16 if options.small else 128),
        out=options.out,
    )
    print(run.accepted[["lam", "gamma", "R", "D", "C", "val_accuracy"]].round(3))


if __name__ == "__main__":
    main()
