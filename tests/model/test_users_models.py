"""Models as people write them: each is accepted and what is stored of it is the model, or one line refuses it before any work."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from rayfe.backend.inline import InlineBackend
from rayfe.config import EquilibrationConfig, ImplicitConfig, MeasureConfig, ModelConfig, RunConfig
from rayfe.config.user_code import name_of
from rayfe.data.device_path import DeviceExamples
from rayfe.data.examples import Dataset, Examples
from rayfe.data.paths import PathData
from rayfe.exceptions import UsageError, WalkFailed
from rayfe.model.objective import draw_noise, rate
from rayfe.model.protocol import build, build_checked
from rayfe.model.weights import frozen, load_weights, weights_of
from rayfe.records import (
    DifferentiateRequest,
    EquilibrateRequest,
    MeasureRequest,
    Point,
    Replica,
    Split,
    StepKey,
    TakeUpRequest,
)
from rayfe.run.job import check_model
from rayfe.training.exact_derivatives import Curvature, Half

N, SIDE, PIXELS, LATENT, CLASSES = 32, 4, 16, 3, 3


def data() -> Dataset:
    rng = np.random.default_rng(0)
    y = np.arange(N) % CLASSES
    x = (60 * y[:, None, None, None] + rng.integers(0, 100, (N, 1, SIDE, SIDE))).astype(np.uint8)
    examples = Examples(x=x, y=y)
    return Dataset(name="users", train=examples, validation=examples, class_names=("a", "b", "c"))


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


# --- accepted -----------------------------------------------------------------------------------------------------


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
]


# --- refused ------------------------------------------------------------------------------------------------------


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


class DrawsByNumpy(Net):
    def features(self, x: Tensor) -> Tensor:
        return super().features(x) * (1.0 + np.random.default_rng().random() * self.training)


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


class OneVariance(Net):
    def encode(self, x: Tensor) -> Any:
        mean, log_variance = super().encode(x)
        return mean, log_variance[:1]


class FlatReconstruction(Net):
    def decode(self, z: Tensor) -> Any:
        return self.decoder(z)


class HalfOutputs(Net):
    def decode(self, z: Tensor) -> Any:
        return super().decode(z).half()


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
    NumpyProjection: r"encode give other values in a new model with the stored weights: not stored is projection",
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
    DrawsByRandom: "encode gives other values in training mode",
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
    OneVariance: r"encode \(log_variance\) returns shape \(1, 3\)",
    FlatReconstruction: r"decode returns shape \(\d, 16\)",
    HalfOutputs: "decode returns torch.float16, expected torch.float32",
    NoClassify: "lacks the method classify",
}


def config_of(cls: type, **fields: Any) -> RunConfig:
    return RunConfig(
        model=ModelConfig(name=name_of(cls, "model.name")),
        equilibration=EquilibrationConfig(batch=8, epochs=1.0, first_epochs=2),
        measure=MeasureConfig(head_draws=16, probe_size=8),
        implicit=ImplicitConfig(examples=16, iterations=2),
        device="cpu",
        **fields,
    )


@pytest.mark.parametrize("cls", REFUSED, ids=lambda cls: cls.__name__)
def test_refused_by_one_line_before_any_work(cls: type) -> None:
    with pytest.raises(UsageError, match=REFUSED[cls]) as caught:
        build_checked(ModelConfig(name=name_of(cls, "model.name")), data())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cls", ACCEPTED, ids=lambda cls: cls.__name__)
def test_accepted_and_a_new_model_with_the_stored_weights_is_the_model_that_was_read(cls: type) -> None:
    config = config_of(cls, derivatives="implicit")
    try:
        check_model(config, PathData(kind="still", source=data()))
    except UsageError as error:  # said before any work, with its fix
        assert "--replicas-per-evaluator 1" in str(error)
        config = dataclasses.replace(config, replicas_per_evaluator=1)
        check_model(config, PathData(kind="still", source=data()))
    backend, point = InlineBackend(config, data()), Point(lam=1.0, gamma=2.0)
    key = StepKey(trajectory="a", step=0, attempt=0, seed=0)
    new = tuple(Replica(name=name, point=point, weights=None) for name in ("gamma-", "gamma+"))
    trained = backend.equilibrate(EquilibrateRequest(key=key, replicas=new))
    replica = Replica(name="settled", point=point, weights=trained.weights[0])
    read = backend.measure(MeasureRequest(key=key, replicas=(replica,), splits=(Split.TRAIN,), purpose="test", certify=True))
    stored = read.weights[0]
    fresh = build(config.model, input_shape=(1, SIDE, SIDE), classes=CLASSES, seed=99).eval()
    load_weights(fresh, stored)
    with torch.no_grad():
        mean, log_variance = fresh.encode(torch.from_numpy(data().train.x).float() / 255)
    (training,) = read.readings
    assert float(rate(mean, log_variance).mean()) == pytest.approx(training.R, rel=1e-4, abs=1e-5)
    still = frozen(fresh)
    assert all(np.array_equal(stored[name], trained.weights[1][name]) for name in still)
    exact = backend.differentiate(DifferentiateRequest(key=key, point=point, weights=stored))
    assert not any(exact.tangents["gamma"][name].any() for name in still)
    renewed = dataclasses.replace(replica, weights=stored, renewed=0.5)
    after = backend.equilibrate(EquilibrateRequest(key=key, replicas=(renewed,))).weights[0]
    assert all(np.array_equal(stored[name], after[name]) for name in still)
    assert any(not np.array_equal(stored[name], after[name]) for name in stored)


def test_derivatives_are_of_the_weights_that_are_trained() -> None:
    model = FrozenDecoderAndClassifier()
    trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
    x, y = torch.rand(8, 1, SIDE, SIDE), torch.arange(8) % CLASSES
    rng = torch.Generator().manual_seed(0)
    noise = draw_noise(rng, n=8, latent=LATENT, decoder_draws=2, head_draws=2, dtype=torch.float32)
    half = Half(examples=DeviceExamples(x=x, y=y), noise=noise, weights=torch.full((8,), 1 / 8))
    curvature = Curvature(model, (half,), Point(lam=1.0, gamma=2.0), damping=0.1)
    gradient = curvature.gradient((half,))
    assert len(gradient) == trained < sum(value.numel() for value in model.parameters())
    assert len(curvature.product(gradient)) == trained


def test_no_dimension_is_taken_up_where_the_decoder_is_frozen() -> None:
    backend = InlineBackend(config_of(FrozenDecoderAndClassifier), data())
    stored = weights_of(FrozenDecoderAndClassifier())
    key = StepKey(trajectory="a", step=0, attempt=0, seed=0)
    found = backend.take_up(TakeUpRequest(key=key, point=Point(lam=100.0, gamma=2.0), weights=stored))
    assert found.dims == () and found.weights is stored


class ChangesLate(Net):
    """Passes all trials, which are shorter than its warm-up."""

    def __init__(self, **_: object) -> None:
        super().__init__()
        self.register_buffer("updates", torch.tensor(0))

    def classify(self, z: Tensor) -> Any:
        if self.training:
            self.updates.add_(1)
        return self.classifier(z) * (1.0 + 5.0 * (self.updates > 6))


def test_a_walk_fails_where_its_first_stored_model_is_not_the_one_that_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(ChangesLate)
    build_checked(config.model, data())
    backend, point = InlineBackend(config, data()), Point(lam=1.0, gamma=2.0)
    key = StepKey(trajectory="a", step=0, attempt=0, seed=0)
    replica = Replica(name="settled", point=point, weights=None)
    (weights,) = backend.equilibrate(EquilibrateRequest(key=key, replicas=(replica,))).weights
    request = MeasureRequest(
        key=key, replicas=(dataclasses.replace(replica, weights=weights),), splits=(Split.TRAIN,), purpose="test", certify=True
    )
    backend.measure(request)  # each new model is before its warm-up: what is stored is what is read
    monkeypatch.setattr(ChangesLate, "classify", lambda self, z: self.classifier(z) * next(numbers))
    numbers = iter(np.linspace(1, 9, 1000).tolist())
    with pytest.raises(WalkFailed, match=r"read back, the model that would be stored has C = .* trained .*; keep all"):
        backend.measure(request)
