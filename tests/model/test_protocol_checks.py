"""A model of the user's own that breaks the protocol is refused before any training, by method and expected shapes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rayfe.cli.job_command import main
from rayfe.config import EquilibrationConfig, ModelConfig, RunConfig, configure
from rayfe.config.user_code import name_of
from rayfe.data.examples import Dataset, Examples
from rayfe.data.paths import PathData
from rayfe.exceptions import UsageError
from rayfe.model.gradient_checks import check_trainable, check_types
from rayfe.model.protocol import build, build_checked
from rayfe.run.model_checks import check_model
from rayfe.training.replicas import check_stacked

N, FEATURES, LATENT, CLASSES = 4, 6, 3, 2
X = torch.linspace(0, 1, N * FEATURES).reshape(N, FEATURES)
Y = torch.tensor([0, 1, 0, 1])


class Sound(nn.Module):
    """Meets the protocol; what is wrong with the others they override."""

    latent: Any = LATENT

    def __init__(self, **_: object) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(FEATURES, 2 * LATENT), nn.Linear(LATENT, FEATURES)
        self.classifier = nn.Linear(LATENT, CLASSES)

    def encode(self, x: Tensor) -> Any:
        return self.encoder(x).chunk(2, dim=-1)

    def decode(self, z: Tensor) -> Any:
        return self.decoder(z)

    def classify(self, z: Tensor) -> Any:
        return self.classifier(z)


class NoLatent(Sound):
    latent = None


class OneTensor(Sound):
    def encode(self, x: Tensor) -> Any:
        return self.encoder(x)


class Output(Sound):
    def encode(self, x: Tensor) -> Any:
        return SimpleNamespace(last_hidden_state=self.encoder(x), pooler_output=self.encoder(x))


class ThreeOutputs(Sound):
    def encode(self, x: Tensor) -> Any:
        mean, log_variance = self.encoder(x).chunk(2, dim=-1)
        return mean, log_variance, mean


class WideVariance(Sound):
    def encode(self, x: Tensor) -> Any:
        return self.encoder(x)[:, :LATENT], self.encoder(x)


class Fails(Sound):
    def decode(self, z: Tensor) -> Any:
        return self.decoder(z.flatten())


class WrongShape(Sound):
    def decode(self, z: Tensor) -> Any:
        return self.decoder(z)[:, :4]


class Numpy(Sound):
    def classify(self, z: Tensor) -> Any:
        return self.classifier(z).detach().numpy()


class Double(Sound):
    def classify(self, z: Tensor) -> Any:
        return self.classifier(z).double()


class Probability(Sound):
    def classify(self, z: Tensor) -> Any:
        return self.classifier(z).softmax(-1)[:, 0]


class Infinite(Sound):
    def decode(self, z: Tensor) -> Any:
        return self.decoder(z) / 0.0


class Detached(Sound):
    def decode(self, z: Tensor) -> Any:
        return self.decoder(z).detach()


class Shared(Sound):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.other = self.decoder


class DoubleWeights(Sound):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.double()


class InfiniteGradient(Sound):
    def decode(self, z: Tensor) -> Any:
        return self.decoder((z - z).abs().sqrt())


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (NoLatent, "integer attribute `latent`"),
        (OneTensor, r"encode returns one tensor of shape \(4, 6\).*two tensors \(mean, log_variance\), each of shape \(4, 3\)"),
        (Output, r"encode returns SimpleNamespace.*expected two tensors \(mean, log_variance\)"),
        (ThreeOutputs, "encode returns tuple of 3"),
        (WideVariance, r"encode \(log_variance\) returns shape \(4, 6\) for 4 examples, expected \(4, 3\)"),
        (Fails, r"decode fails for a tensor of shape \(4, 3\) \(RuntimeError: .*\), expected a tensor of shape \(4, 6\)"),
        (WrongShape, r"decode returns shape \(4, 4\) for 4 examples, expected \(4, 6\)"),
        (Numpy, r"classify returns ndarray, expected a tensor of shape \(4, 2\)"),
        (Double, "classify returns torch.float64, expected torch.float32"),
        (Probability, r"classify returns shape \(4,\).*expected \(4, 2\)"),
        (Infinite, "decode returns values that are not finite"),
        (Detached, "decode returns a tensor without a gradient.*detach"),
        (Shared, "decoder.weight and other.weight are one parameter"),
        (DoubleWeights, "encoder.weight is torch.float64, expected torch.float32"),
        (InfiniteGradient, "gradients that are not finite"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_each_fault_names_its_method_and_what_is_expected(cls: type[Sound], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        check_types(model := cls(), "own:Model")
        check_trainable(model, "own:Model", X, Y, CLASSES)
    assert caught.value.name == "model.name"
    assert "\n" not in str(caught.value)


class NoArguments(Sound):
    def __init__(self) -> None:
        super().__init__()


def test_a_constructor_that_takes_something_else_is_shown_how_it_is_called() -> None:
    said = r"cannot be built for examples of shape \(6,\) \(TypeError: .*input_shape.*called as Class\(input_shape=..., classes"
    with pytest.raises(UsageError, match=said):
        build(ModelConfig(name=name_of(NoArguments, "model.name")), input_shape=(FEATURES,), classes=CLASSES)


def own(kind: type[nn.Module]) -> tuple[RunConfig, PathData]:
    """A run of a model of the user's own, and its data."""
    config = configure(model=ModelConfig(name=name_of(kind, "model.name")), equilibration=EquilibrationConfig(batch=4))
    examples = Examples(x=X.numpy(), y=Y.numpy())
    return config, PathData(kind="still", source=Dataset(name="x", train=examples, validation=examples, class_names=("a", "b")))


class Branches(Sound):
    def classify(self, z: Tensor) -> Any:
        return self.classifier(z) if self.classifier.weight.sum().item() > 0 else -self.classifier(z)


def test_a_model_that_vmap_cannot_take_is_told_how_to_train_without_it() -> None:
    check_trainable(Branches(), "own:Model", X, Y, CLASSES)
    with pytest.raises(UsageError, match=r"stacked by torch.func.vmap \(RuntimeError: .*replicas_per_evaluator=1"):
        check_stacked([Branches(), Branches()], "own:Model", X, Y)
    check_stacked([Sound(), Sound()], "own:Model", X, Y)
    replicas, data = own(Branches)
    with pytest.raises(UsageError, match="replicas_per_evaluator=1"):
        check_model(replicas, data)
    check_model(configure(replicas, replicas_per_evaluator=1), data)


class Convolves(Branches):
    def __init__(self, **_: object) -> None:
        super().__init__()
        self.filter = nn.Conv1d(1, 1, 3, padding=1)

    def encode(self, x: Tensor) -> Any:
        return super().encode(self.filter(x[:, None])[:, 0])


def test_a_head_without_gpus_tries_what_the_gpus_of_the_cluster_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU trains the convolutions of a stencil in turn, a GPU stacks them."""
    config, data = own(Convolves)
    monkeypatch.setattr("rayfe.run.runner.trains_on_gpus", lambda config: False)
    check_model(config, data)
    monkeypatch.setattr("rayfe.run.runner.trains_on_gpus", lambda config: True)
    with pytest.raises(UsageError, match=r"stacked by torch.func.vmap"):
        check_model(config, data)


def test_a_sound_model_passes_and_keeps_its_weights() -> None:
    model = Sound()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    check_trainable(model, "own:Model", X, Y, CLASSES)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_built_in_models_pass_and_torchs_generator_is_left_alone() -> None:
    rng = np.random.default_rng(0)
    examples = Examples(x=rng.integers(0, 256, (8, 3, 8, 8)).astype(np.uint8), y=np.arange(8) % 2)
    dataset = Dataset(name="noise", train=examples, validation=examples, class_names=("a", "b"))
    state = torch.get_rng_state()
    for name in ("mlp", "resnet"):
        build_checked(ModelConfig(name=name, hidden=8, width=4, latent=4, dropout=0.1), dataset)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_faulty_model_ends_a_job_with_2_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "faulty.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n    latent = 4\n\n    def __init__(self, **_):\n        super().__init__()\n"
        "        self.layer = nn.Linear(64, 8)\n\n    def encode(self, x):\n        return self.layer(x.flatten(1))\n\n"
        "    def decode(self, z):\n        return z\n\n    def classify(self, z):\n        return z\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert main("isoc", ["digits-smoke", "--model.name", "faulty:Net", "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("--model.name faulty:Net: encode returns one tensor of shape (2, 8)")
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
