"""Models as people write them: each is accepted and what is stored of it is the model, or one line refuses it before any work."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from accepted_models import ACCEPTED, CLASSES, LATENT, SIDE, FrozenDecoderAndClassifier, Net
from models_of_calls import REFUSED_CALLS
from rayfe.backend.inline import InlineBackend
from rayfe.config import EquilibrationConfig, MeasureConfig, ModelConfig, RunConfig, configure
from rayfe.config.user_code import name_of
from rayfe.data.device_path import DeviceExamples
from rayfe.data.examples import Dataset, Examples
from rayfe.data.paths import PathData
from rayfe.exceptions import UsageError, WalkFailed
from rayfe.model.objective import draw_noise, rate
from rayfe.model.posterior import Widths
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
from rayfe.run.model_checks import check_model
from rayfe.training.exact_derivatives import Curvature, Half, Solve
from refused_models import REFUSED

N = 32


def data() -> Dataset:
    rng = np.random.default_rng(0)
    y = np.arange(N) % CLASSES
    x = (60 * y[:, None, None, None] + rng.integers(0, 100, (N, 1, SIDE, SIDE))).astype(np.uint8)
    examples = Examples(x=x, y=y)
    return Dataset(name="users", train=examples, validation=examples, class_names=("a", "b", "c"))


def config_of(cls: type, **fields: Any) -> RunConfig:
    return configure(
        model=ModelConfig(name=name_of(cls, "model.name")),
        equilibration=EquilibrationConfig(batch=8, epochs=1.0, first_epochs=2),
        measure=MeasureConfig(head_draws=16),
        **fields,
    )


@pytest.mark.parametrize(("cls", "said"), (REFUSED | REFUSED_CALLS).items(), ids=lambda value: getattr(value, "__name__", ""))
def test_refused_by_one_line_before_any_work(cls: type, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        build_checked(ModelConfig(name=name_of(cls, "model.name")), data())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cls", ACCEPTED, ids=lambda cls: cls.__name__)
def test_accepted_and_a_new_model_with_the_stored_weights_is_the_model_that_was_read(cls: type) -> None:
    config = config_of(cls, derivatives="implicit")
    try:
        check_model(config, PathData(kind="still", source=data()))
    except UsageError as error:  # said before any work, with its fix
        assert "replicas_per_evaluator=1" in str(error)
        config = configure(config, replicas_per_evaluator=1)
        check_model(config, PathData(kind="still", source=data()))
    backend, point = InlineBackend(config, data(), solve=Solve(examples=16, iterations=2)), Point(lam=1.0, gamma=2.0)
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
    noise = draw_noise(rng, n=8, widths=Widths(latent=LATENT), decoder_draws=2, head_draws=2, dtype=torch.float32)
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
    with pytest.raises(WalkFailed, match=r"read back, .* gives another .*; keep all"):
        backend.measure(request)
