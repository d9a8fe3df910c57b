"""Models as people write them, each sound in its way."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

SIDE, PIXELS, LATENT, CLASSES = 4, 16, 3, 3


class Net(nn.Module):
    """A sound model of images; others change one thing."""

    latent = LATENT

    def __init__(self, **_: object) -> None:
        super().__init__()
        self.hidden = nn.Linear(PIXELS, 8)
        self.head = nn.Linear(8, 2 * LATENT)
        self.decoder = nn.Linear(LATENT, PIXELS)
        self.classifier = nn.Linear(LATENT, CLASSES)

    def features(self, x: Tensor) -> Tensor:
        return self.hidden(x.flatten(1)).relu()

    def encode(self, x: Tensor) -> Any:
        return self.head(self.features(x)).chunk(2, dim=-1)

    def decode(self, z: Tensor) -> Any:
        return self.decoder(z).sigmoid().reshape(-1, 1, SIDE, SIDE)

    def classify(self, z: Tensor) -> Any:
        return self.classifier(z)


class Convolutional(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 8))

    def features(self, x: Tensor) -> Tensor:
        return self.hidden(x)


class Lazy(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.hidden, self.classifier = nn.LazyLinear(8), nn.LazyLinear(CLASSES)


class BuiltInTheFirstCall(Net):
    def features(self, x: Tensor) -> Tensor:
        if not hasattr(self, "extra"):
            self.extra = nn.Linear(8, 8)
        return self.extra(super().features(x))


class MethodsAreLayers(nn.Module):
    latent = LATENT

    def __init__(self, **_: object) -> None:
        super().__init__()
        self.layer = nn.Linear(PIXELS, 2 * LATENT)
        self.decode = nn.Sequential(nn.Linear(LATENT, PIXELS), nn.Unflatten(1, (1, SIDE, SIDE)))
        self.classify = nn.Linear(LATENT, CLASSES)

    def encode(self, x: Tensor) -> Any:
        return self.layer(x.flatten(1)).chunk(2, dim=-1)


class FrozenEncoder(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.hidden.requires_grad_(False)


class FrozenDecoderAndClassifier(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.decoder.requires_grad_(False)
        self.classifier.requires_grad_(False)


class ConstantOutsideTheState(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.register_buffer("shift", torch.linspace(-1, 1, PIXELS), persistent=False)

    def features(self, x: Tensor) -> Tensor:
        return self.hidden(x.flatten(1) + self.shift).relu()


class RandomFloatBuffer(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.register_buffer("projection", torch.randn(PIXELS, PIXELS))

    def features(self, x: Tensor) -> Tensor:
        return self.hidden(x.flatten(1) @ self.projection).relu()


class UnusedLayer(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.unused = nn.Linear(2, 2)


class Dropout(Net):
    def features(self, x: Tensor) -> Tensor:
        return nnf.dropout(super().features(x), 0.2, training=self.training)


class TiedByUse(Net):
    def decode(self, z: Tensor) -> Any:
        return (nnf.linear(z, self.head.weight[:LATENT].T) @ self.hidden.weight).reshape(-1, 1, SIDE, SIDE)


class WeightNorm(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.hidden = nn.utils.parametrizations.weight_norm(self.hidden)


class KeepsActivations(Net):
    def features(self, x: Tensor) -> Tensor:
        self.seen = super().features(x)
        return self.seen


class Hook(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.hidden.register_forward_hook(lambda layer, given, output: 2.0 * output)


class SeedsItself(Net):
    def __init__(self, **_: object) -> None:
        torch.manual_seed(7)
        super().__init__()


class LogProbabilities(Net):
    def classify(self, z: Tensor) -> Any:
        return self.classifier(z).log_softmax(-1)


class StartsAtThePrior(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        nn.init.zeros_(self.head.weight), nn.init.zeros_(self.head.bias)


class StartsPositive(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        nn.init.zeros_(self.head.weight), nn.init.constant_(self.head.bias, 0.5)
        nn.init.zeros_(self.classifier.weight), nn.init.constant_(self.classifier.bias, 0.5)


class Recurrent(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.hidden = nn.GRU(SIDE, 8, batch_first=True)

    def features(self, x: Tensor) -> Tensor:
        return self.hidden(x[:, 0])[0][:, -1]


class GroupAndLayerNorm(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        convolution = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.SiLU(), nn.Flatten())
        self.hidden = nn.Sequential(convolution, nn.Linear(4 * PIXELS, 8), nn.LayerNorm(8))

    def features(self, x: Tensor) -> Tensor:
        return self.hidden(x)


class SpectralNorm(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.hidden = nn.utils.parametrizations.spectral_norm(self.hidden)


class Transposed(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.decoder = nn.Sequential(
            nn.Linear(LATENT, 16), nn.Unflatten(1, (4, 2, 2)), nn.ConvTranspose2d(4, 1, 2, 2), nn.Sigmoid()
        )

    def decode(self, z: Tensor) -> Any:
        return self.decoder(z)


class Attention(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.attention = nn.TransformerEncoderLayer(SIDE, 2, 8, batch_first=True)

    def features(self, x: Tensor) -> Tensor:
        return super().features(self.attention(x[:, 0]))


class MixedPrecision(Net):
    def features(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return super().features(x).float()


class HalfBuffer(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.register_buffer("scale", torch.rand(8).half())

    def features(self, x: Tensor) -> Tensor:
        return (super().features(x) * self.scale).float()


class CompiledByDynamo(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.hidden = torch.compile(self.hidden, backend="eager")


class RunningMeanOfItsOwn(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))

    def features(self, x: Tensor) -> Tensor:
        h = super().features(x)
        if self.training:
            self.mean.mul_(0.9).add_(h.detach().mean(0), alpha=0.1)
        return h - self.mean


class RefersToItself(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.everything: list[Any] = [self]
        self.everything.append(self.everything)


class NoBounds(Net):
    def decode(self, z: Tensor) -> Any:
        return self.decoder(z).reshape(-1, 1, SIDE, SIDE)


ACCEPTED = [
    Net,
    Convolutional,
    Lazy,
    BuiltInTheFirstCall,
    MethodsAreLayers,
    FrozenEncoder,
    FrozenDecoderAndClassifier,
    ConstantOutsideTheState,
    RandomFloatBuffer,
    UnusedLayer,
    Dropout,
    TiedByUse,
    WeightNorm,
    KeepsActivations,
    Hook,
    SeedsItself,
    LogProbabilities,
    StartsAtThePrior,
    StartsPositive,
    Recurrent,
    GroupAndLayerNorm,
    SpectralNorm,
    Transposed,
    Attention,
    MixedPrecision,
    HalfBuffer,
    CompiledByDynamo,
    RunningMeanOfItsOwn,
    RefersToItself,
    NoBounds,
]
