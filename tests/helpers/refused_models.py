"""Models as people write them, each with one fault, and what they are told."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from accepted_models import CLASSES, LATENT, PIXELS, SIDE, Convolutional, Net


class ListOfLayers(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.blocks = [nn.Linear(8, 8)]

    def features(self, x: Tensor) -> Tensor:
        return self.blocks[0](super().features(x))


class DictOfParameters(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.scales = {"a": nn.Parameter(torch.ones(8))}

    def features(self, x: Tensor) -> Tensor:
        return self.scales["a"] * super().features(x)


class PlainTensor(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.mask = torch.ones(8)

    def features(self, x: Tensor) -> Tensor:
        return self.mask * super().features(x)


class NumpyProjection(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.projection = np.random.default_rng().normal(size=(PIXELS, PIXELS)).astype(np.float32)  # torch draws none of it

    def features(self, x: Tensor) -> Tensor:
        return self.hidden(x.flatten(1) @ torch.from_numpy(self.projection)).relu()


class RandomOrder(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.register_buffer("order", torch.randperm(PIXELS))

    def features(self, x: Tensor) -> Tensor:
        return self.hidden(x.flatten(1)[:, self.order]).relu()


class RandomOutsideTheState(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.register_buffer("noise", torch.randn(PIXELS), persistent=False)

    def features(self, x: Tensor) -> Tensor:
        return self.hidden(x.flatten(1) * self.noise).relu()


class CountsUpdates(Net):
    calls = 0

    def features(self, x: Tensor) -> Tensor:
        self.calls += self.training
        return super().features(x) * (1.0 + self.calls)


class CountsInABuffer(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.register_buffer("updates", torch.tensor(0))

    def features(self, x: Tensor) -> Tensor:
        if self.training:
            self.updates += 1
        return super().features(x) * (1.0 + self.updates)


class NumpyWeights(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.hidden.weight.data = torch.tensor(np.random.default_rng().normal(size=(8, PIXELS)), dtype=torch.float32)


class ExtraState(Net):
    def get_extra_state(self) -> Any:
        return {"epoch": 3}

    def set_extra_state(self, state: Any) -> None:
        pass


class NoStatistics(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(8, track_running_stats=False)

    def features(self, x: Tensor) -> Tensor:
        return self.norm(super().features(x))


class FrozenStatistics(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(8)

    def features(self, x: Tensor) -> Tensor:
        return self.norm(super().features(x))

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        self.norm.eval()
        return self


class View(Convolutional):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.convolution, self.layer = nn.Conv2d(1, 3, 3, padding=1), nn.Linear(48, 8)

    def features(self, x: Tensor) -> Tensor:
        return self.layer(self.convolution(x).view(len(x), -1))


class InPlace(Net):
    def features(self, x: Tensor) -> Tensor:
        x -= 0.5
        return super().features(x)


class InPlaceLayer(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.classifier = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(LATENT, CLASSES))


class AlwaysDrops(Net):
    def features(self, x: Tensor) -> Tensor:
        return nnf.dropout(super().features(x), 0.2)


NUMPY = np.random.default_rng(0)


class DrawsByNumpy(Net):
    def features(self, x: Tensor) -> Tensor:
        return super().features(x) * (1.0 + NUMPY.random() * self.training)


class DrawsByRandom(Net):
    def features(self, x: Tensor) -> Tensor:
        return super().features(x) * (random.random() if self.training else 1.0)


class GeneratorOfItsOwn(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.rng = torch.Generator().manual_seed(0)

    def features(self, x: Tensor) -> Tensor:
        h = super().features(x)
        return h + torch.randn(h.shape, generator=self.rng) if self.training else h


class OfTheBatch(Net):
    def features(self, x: Tensor) -> Tensor:
        h = super().features(x)
        return h - h.mean(0)


class Squeezes(Net):
    def classify(self, z: Tensor) -> Any:
        return self.classifier(z).squeeze()


class OfAtLeastTwo(Net):
    def features(self, x: Tensor) -> Tensor:
        h = super().features(x)
        return h / h.detach()[:2].abs().sum(0)[None].expand(2, -1)[len(x) > 1 and 0 : 1].sum() if len(x) > 1 else 1 / 0


class FixedBatch(Net):
    def decode(self, z: Tensor) -> Any:
        return self.decoder(z).reshape(2, 1, SIDE, SIDE)


class BufferOfEvaluation(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))

    def features(self, x: Tensor) -> Tensor:
        h = super().features(x)
        self.mean.mul_(0.9).add_(h.detach().mean(0), alpha=0.1)
        return h


class Softmax(Net):
    def classify(self, z: Tensor) -> Any:
        return self.classifier(z).softmax(-1)


class Sigmoid(Net):
    def classify(self, z: Tensor) -> Any:
        return self.classifier(z).sigmoid()


class Deviation(Net):
    def encode(self, x: Tensor) -> Any:
        mean, raw = super().encode(x)
        return mean, nnf.softplus(raw)


class Variance(Net):
    def encode(self, x: Tensor) -> Any:
        mean, raw = super().encode(x)
        return mean, raw.exp()


class Sphere(Net):
    def encode(self, x: Tensor) -> Any:
        mean, _ = super().encode(x)
        return nnf.normalize(mean, dim=-1), 0.0 * mean - 2.0


class FrozenWholly(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.hidden.requires_grad_(False)
        self.head.requires_grad_(False)


class Distribution(Net):
    def encode(self, x: Tensor) -> Any:
        mean, log_variance = super().encode(x)
        return torch.distributions.Normal(mean, (0.5 * log_variance).exp())


class FlatReconstruction(Net):
    def decode(self, z: Tensor) -> Any:
        return self.decoder(z)


class NoClassify(nn.Module):
    latent = LATENT

    def __init__(self, **_: object) -> None:
        super().__init__()
        self.layer = nn.Linear(PIXELS, 2 * LATENT)

    def encode(self, x: Tensor) -> Any:
        return self.layer(x.flatten(1)).chunk(2, dim=-1)

    def decode(self, z: Tensor) -> Any:
        return z


REFUSED = {
    ListOfLayers: r"blocks is a list of layers.*use torch.nn.ModuleList",
    DictOfParameters: r"scales is a dict of layers or parameters.*use torch.nn.ParameterList or its Dict",
    PlainTensor: r'mask is a tensor that is neither a parameter nor a buffer.*register_buffer\("mask"',
    NumpyProjection: r"encode gives other values in a new model with the stored weights: not stored is projection",
    RandomOrder: r"not stored is order \(torch.int64\); make it a buffer of floats",
    RandomOutsideTheState: r"not stored is noise \(torch.float32, persistent=False\)",
    CountsUpdates: "encode gives other values in training mode when called again",
    CountsInABuffer: r"not stored is updates \(torch.int64\)",
    NumpyWeights: "hidden.weight is another one when it is built again from the same torch seed",
    ExtraState: "_extra_state is state that is no tensor",
    NoStatistics: "norm has no running statistics.*leave track_running_stats as it is",
    FrozenStatistics: "norm stays in evaluation mode.*use a fixed scale and shift",
    View: r"encode fails .*Use .reshape\(...\) instead",
    InPlace: "encode changes its argument in place; write x = x - 0.5 for x -= 0.5",
    InPlaceLayer: "classify .*replace the inplace operation",
    AlwaysDrops: "encode gives other values in evaluation mode when called again",
    DrawsByNumpy: "encode gives other values in training mode.*not by numpy",
    DrawsByRandom: "draws random numbers of Python or numpy in training mode; draw by torch's",
    GeneratorOfItsOwn: "encode gives other values in training mode.*a generator of its own",
    OfTheBatch: "encode gives an example other values alone than in a batch",
    Squeezes: r"classify returns shape \(\) for one example alone; leave squeeze",
    OfAtLeastTwo: "encode fails for one example alone .*any number",
    FixedBatch: "decode (fails|returns shape)",
    BufferOfEvaluation: "mean changes in evaluation mode; change it only where self.training",
    Softmax: "classify returns numbers between 0 and 1.*return logits, without softmax",
    Sigmoid: "classify returns numbers between 0 and 1",
    Deviation: "second output is positive for all weights, like a variance; return its logarithm",
    Variance: "second output is positive for all weights",
    Sphere: "same rate R for all weights, so there is nothing to trade",
    FrozenWholly: r"encode returns a tensor without a gradient; compute it from trained parameters",
    Distribution: r"encode returns Normal.*expected two tensors \(mean, log_variance\)",
    FlatReconstruction: r"decode returns shape \(\d, 16\)",
    NoClassify: "lacks the method classify",
}
