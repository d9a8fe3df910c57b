"""A model of your own: a convolutional VAE with a classifier, on images such as Fashion-MNIST.

    python analysis/tutorials/own_model.py --data fashion-mnist
    python analysis/tutorials/own_model.py --small                # a part of MNIST, seconds

Ten thousand images of Fashion-MNIST took five minutes on two cores.

rayfe needs a torch.nn.Module with four things: `latent`, the dimensions of z; `encode(x)`, the mean and the log-variance of the
Gaussian encoder; `decode(z)`, shaped like x; and `classify(z)`, one logit for each class. It is built as
`Class(input_shape=..., classes=..., config=...)`, where `config` is the ModelConfig of the run. Pixels are in [0, 1].

The model is looked at once before anything is trained: an error names the method, what it returned and what was expected.
"""

from __future__ import annotations

import argparse
import dataclasses

from torch import Tensor, nn

import rayfe
from rayfe.config import DataConfig, EquilibrationConfig, MeasureConfig, ModelConfig


class ConvNet(nn.Module):
    """Two convolutions down, two up, and a linear classifier on z."""

    latent = 12

    def __init__(self, *, input_shape: tuple[int, ...], classes: int, config: ModelConfig) -> None:
        super().__init__()
        channels, height, width = input_shape
        small = (32, height // 4, width // 4)
        size = small[0] * small[1] * small[2]
        # no bias where batch-norm follows: it would have no gradient
        self.encoder = nn.Sequential(
            *(nn.Conv2d(channels, 16, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 32, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(size, 2 * self.latent)),
        )
        self.decoder = nn.Sequential(
            *(nn.Linear(self.latent, size, bias=False), nn.BatchNorm1d(size), nn.ReLU(), nn.Unflatten(1, small)),
            *(nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.ConvTranspose2d(16, channels, 4, stride=2, padding=1), nn.Sigmoid()),
        )
        self.classifier = nn.Linear(self.latent, classes)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, dim=-1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def classify(self, z: Tensor) -> Tensor:
        return self.classifier(z)


def main() -> None:
    """Walk from (lam, gamma) = (0.25, 4) at constant classification loss, and take a model from the way."""
    parser = argparse.ArgumentParser(description="A convolutional model of your own.")
    parser.add_argument("--data", default="fashion-mnist", help="a data set by name")
    parser.add_argument("--small", action="store_true", help="a part of MNIST and little training")
    parser.add_argument("--out", help="the run's folder")
    options = parser.parse_args()
    data, steps = DataConfig(name=options.data, train_size=10_000), 10  # all of them without train_size
    training = EquilibrationConfig(
        first_epochs=40, first_schedule="linear", first_learning_rate=1e-2, epochs=3, learning_rate=6e-3, batch=512
    )
    measure = MeasureConfig(head_draws=64)
    if options.small:
        data, steps = DataConfig(name="mnist:0,1", train_size=400), 1
        training = dataclasses.replace(training, first_epochs=4, epochs=1, batch=100)
        measure = MeasureConfig(head_draws=8)
    run = rayfe.walk(
        model=ConvNet,
        data=data,
        lam=0.25,
        gamma=4.0,
        lam_end=3.5,
        steps=steps,
        equilibration=training,
        measure=measure,
        tolerance=0.02,
        settle=not options.small,
        threads=1 if options.small else 2,
        out=options.out,
    )

    # every accepted step has a row and a stored model
    print(run.accepted[["step", "lam", "gamma", "R", "D", "C", "val_accuracy"]])
    row = run.step(at={"D": 0.9 * run.accepted["D"].iloc[0]})  # the step whose distortion is nearest to this
    model = run.model(row.step)
    print(
        f"step {row.step} has R {row.R:.2f}, D {row.D:.2f}, C {row.C:.3f}, and {sum(p.numel() for p in model.parameters())} weights"
    )
    # in another process, where ConvNet is not defined by a script that runs: hand the class over
    same = rayfe.load_model(run.location, row.trajectory, row.step, model=ConvNet)
    assert same.state_dict().keys() == model.state_dict().keys()


if __name__ == "__main__":
    main()
