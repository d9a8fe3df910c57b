"""The paper's model for CIFAR-10: a ResNet-18 encoder, a deconvolutional decoder and one linear classifier (App. A)."""

from __future__ import annotations

from torch import Tensor, nn

from rayfe.config import ModelConfig
from rayfe.exceptions import UsageError
from rayfe.model.mlp import make_classifier

REDUCTION = 8
"""Height and width shrink by this much in the encoder and grow by it in the decoder."""


class ResNet(nn.Module):
    """Pre-activation ResNet-18 of `config.width` channels, and a decoder of one linear layer and four transposed convolutions.

    Examples are images (N, C, H, W) with H and W divisible by 8; 8 x 8 is the smallest. As for CIFAR-10 in He et al.
    (arXiv:1603.05027) the first convolution is 3 x 3 and nothing is pooled before the last stage. Stages have width, 2,
    4 and 8 width channels and two blocks each. The decoder mirrors them, after Noh et al. (arXiv:1505.04366).

    Raises:
        UsageError: model.name; the examples are not such images.
    """

    def __init__(self, *, input_shape: tuple[int, ...], classes: int, config: ModelConfig) -> None:
        super().__init__()
        self.latent = config.latent
        channels, height, width = _image(input_shape)
        self.encoder = _encoder(channels, config)
        self.decoder = _decoder(channels, height // REDUCTION, width // REDUCTION, config)
        self.classifier = make_classifier(classes, config)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # Pixels are centred here: the sum of the residual blocks is not normalised before its end.
        mean, log_variance = self.encoder(4.0 * (x - 0.5)).chunk(2, dim=-1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def classify(self, z: Tensor) -> Tensor:
        return self.classifier(z)


class Block(nn.Module):
    """x + f(x), f of two convolutions, each after batch-norm and ReLU; (N, before, H, W) -> (N, after, H/stride, W/stride).

    Where the shape changes, x is replaced by a 1 x 1 convolution of its first batch-norm and ReLU.
    """

    def __init__(self, before: int, after: int, *, stride: int) -> None:
        super().__init__()
        self.activation = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU())
        self.residual = nn.Sequential(
            _convolution(before, after, stride=stride), nn.BatchNorm2d(after), nn.ReLU(), _convolution(after, after)
        )
        self.shortcut = None if before == after and stride == 1 else _convolution(before, after, kernel=1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        active = self.activation(x)
        return (x if self.shortcut is None else self.shortcut(active)) + self.residual(active)


def _image(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) != 3 or shape[1] % REDUCTION or shape[2] % REDUCTION:
        fix = f"takes images (C, H, W) with H and W divisible by {REDUCTION}, but the data's are {shape}; give mlp or pad them"
        raise UsageError("model.name", "resnet", fix)
    return shape[0], shape[1], shape[2]


def _encoder(channels: int, config: ModelConfig) -> nn.Sequential:
    layers: list[nn.Module] = [_convolution(channels, config.width)]
    before = config.width
    for stride, factor in ((1, 1), (2, 2), (2, 4), (2, 8)):
        after = factor * config.width
        layers += [Block(before, after, stride=stride), Block(after, after, stride=1)]
        before = after
    layers += [nn.BatchNorm2d(before), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 2 * config.latent)]
    return nn.Sequential(*layers)


def _decoder(channels: int, height: int, width: int, config: ModelConfig) -> nn.Sequential:
    """Linear layer to (8 width, H/8, W/8), three transposed convolutions that double H and W, one that gives the image."""
    stages = [8 * config.width, 4 * config.width, 2 * config.width, config.width]
    layers: list[nn.Module] = [
        nn.Linear(config.latent, stages[0] * height * width, bias=False),
        nn.Unflatten(-1, (stages[0], height, width)),
    ]
    for before, after in zip(stages, stages[1:], strict=False):
        layers += [nn.BatchNorm2d(before), nn.ReLU(), _doubling(before, after)]
    layers += [nn.BatchNorm2d(stages[-1]), nn.ReLU(), _image_layer(stages[-1], channels), nn.Sigmoid()]
    return nn.Sequential(*layers)


def _convolution(before: int, after: int, *, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """Without bias (see mlp.py), and initialised to keep the variance through a ReLU."""
    layer = nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return layer


def _doubling(before: int, after: int) -> nn.ConvTranspose2d:
    layer = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)
    nn.init.normal_(layer.weight, std=(2.0 / (4 * before)) ** 0.5)  # 4 of the 16 weights of a channel meet at a pixel
    return layer


def _image_layer(before: int, channels: int) -> nn.ConvTranspose2d:
    """Starts near grey: torch takes the outputs of a transposed convolution for its inputs, and the sigmoid would saturate."""
    layer = nn.ConvTranspose2d(before, channels, 3, padding=1)
    nn.init.normal_(layer.weight, std=(1.0 / (9 * before)) ** 0.5)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
