"""Models as people write them that are no functions of weights and example, or whose gradients miss something, and what they are told."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from accepted_models import PIXELS, Net

OUTSIDE = nn.Linear(8, 8)
ORDER = torch.arange(PIXELS - 1, -1, -1)


class LayerOfTheModule(Net):
    def features(self, x: Tensor) -> Tensor:
        return OUTSIDE(super().features(x))


class LayerInAClosure(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        layer = nn.Linear(8, 8)
        self.activation = lambda h: layer(h)

    def features(self, x: Tensor) -> Tensor:
        return self.activation(super().features(x))


class LayerInEachCall(Net):
    def features(self, x: Tensor) -> Tensor:
        return nn.Linear(8, 8)(super().features(x))


class TensorOfTheModule(Net):
    def features(self, x: Tensor) -> Tensor:
        return self.hidden(x.flatten(1)[:, ORDER]).relu()


class TensorOfTheClass(Net):
    order = torch.arange(PIXELS)

    def features(self, x: Tensor) -> Tensor:
        return self.hidden(x.flatten(1)[:, self.order]).relu()


class ComplexWeights(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.filter = nn.Parameter(torch.randn(PIXELS, dtype=torch.cfloat))


class ComplexBuffer(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.register_buffer("filter", torch.randn(PIXELS, dtype=torch.cfloat))


class DoubleParameter(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(8, dtype=torch.float64))


class Compiled(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.hidden = torch.jit.script(self.hidden)


class StateLeftOut(Net):
    def state_dict(self, *args: Any, **options: Any) -> Any:
        return {name: value for name, value in super().state_dict(*args, **options).items() if "hidden" not in name}


class EvalReturnsNothing(Net):
    def eval(self) -> Any:
        super().eval()


class NoGradient(Net):
    def features(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().features(x)


class DetachedFeatures(Net):
    def features(self, x: Tensor) -> Tensor:
        return super().features(x).detach()


class Reentrant(Net):
    def features(self, x: Tensor) -> Tensor:
        return checkpoint(super().features, x, use_reentrant=True)


class Probe(Net):
    def classify(self, z: Tensor) -> Any:
        return super().classify(z.detach())


class SparseGradient(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 8, sparse=True)

    def features(self, x: Tensor) -> Tensor:
        return super().features(x) + self.table((3 * x.flatten(1)[:, 0]).long().clamp(0, 3))


class OfBytes(Net):
    def decode(self, z: Tensor) -> Any:
        return 255.0 * super().decode(z)


class Logarithm(Net):
    """-inf where a pixel is 0, which one example in the data has."""

    def features(self, x: Tensor) -> Tensor:
        return super().features(x.log())


class NoLatentDimension(Net):
    latent = 0


class SkipConnection(Net):
    def encode(self, x: Tensor) -> Any:
        self.skip = x
        return super().encode(x)

    def decode(self, z: Tensor) -> Any:
        return (super().decode(z) + self.skip) / 2.0


class RemembersFeatures(Net):
    def encode(self, x: Tensor) -> Any:
        self.seen = super().features(x)
        return super().encode(x)

    def classify(self, z: Tensor) -> Any:
        return super().classify(z) * (1.0 + self.seen.mean())


class StateFromCallToCall(Net):
    last = None

    def features(self, x: Tensor) -> Tensor:
        h = super().features(x)
        before, self.last = self.last, h.detach()
        return h if before is None else h + 0.1 * before.mean()


class SortsTheBatch(Net):
    def features(self, x: Tensor) -> Tensor:
        h = super().features(x)
        return h[h.sum(1).argsort()]


class AtMostSixteen(Net):
    def features(self, x: Tensor) -> Tensor:
        return super().features(x) + torch.zeros(16, 8)[: len(x)]


class OneLayerTwice(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(8)

    def features(self, x: Tensor) -> Tensor:
        return self.norm(self.norm(super().features(x)).relu())


class DropsByRandom(Net):
    """Gives the same values most of the time."""

    def features(self, x: Tensor) -> Tensor:
        return super().features(x) * (not (self.training and random.random() < 1e-9))


class DropsInPlace(Net):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.3, inplace=True)

    def features(self, x: Tensor) -> Tensor:
        return super().features(self.drop(x))


REFUSED_CALLS = {
    LayerOfTheModule: r"depend on a parameter of shape \(8, 8\) that is none of the model's.*make its layer an attribute",
    LayerInAClosure: r"a parameter of shape \(8, 8\) that is none of the model's",
    LayerInEachCall: "that is none of the model's",
    TensorOfTheModule: r'ORDER is a tensor that is neither a parameter nor a buffer.*register_buffer\("ORDER"',
    TensorOfTheClass: r'order is a tensor that is neither.*register_buffer\("order"',
    ComplexWeights: r"filter is torch.complex64, expected torch.float32",
    ComplexBuffer: r"filter is torch.complex64, which is not stored; keep its real and imaginary part",
    DoubleParameter: r"scale is torch.float64, expected torch.float32",
    Compiled: r"hidden is compiled by torch.jit.*use the module itself",
    StateLeftOut: r"hidden.weight is not in its state_dict\(\), so it is not stored",
    EvalReturnsNothing: r"eval\(\) of the model does not return it; end it with: return self",
    NoGradient: r"outputs depend on hidden.weight, but no gradient arrives there.*or freeze it: requires_grad_\(False\)",
    DetachedFeatures: r"outputs depend on hidden.weight, but no gradient arrives there",
    Reentrant: r"outputs depend on hidden.weight, but no gradient arrives there",
    Probe: r"classify has no gradient in its argument, so the encoder learns nothing from it; leave out detach",
    SparseGradient: r"table.weight has a sparse gradient.*sparse=False",
    OfBytes: r"decode of a new model returns \d+ where x is at most 0.\d+; return x on the scale of the data",
    Logarithm: r"encode returns values that are not finite for examples of the data",
    NoLatentDimension: r"an integer attribute `latent` of at least 1",
    SkipConnection: r"decode fails for two examples .*it must take any number of them, at any time",
    RemembersFeatures: r"classify gives other values after encode was called for other examples; keep nothing",
    StateFromCallToCall: r"encode gives other values after encode was called for other examples",
    SortsTheBatch: r"encode gives (an example|examples) other values",
    AtMostSixteen: r"encode fails for 100 examples .*any number",
    OneLayerTwice: r"encode calls norm more than once, but it has one set of statistics",
    DropsByRandom: r"draws random numbers of Python or numpy in training mode",
    DropsInPlace: r"encode changes its argument in place",
}
