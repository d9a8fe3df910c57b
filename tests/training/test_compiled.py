"""The compiled update: what the eager one gives, to rounding; where it is used, and who refuses it."""

from __future__ import annotations

import math
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rayfe.backend.inline import InlineBackend
from rayfe.cli.job_command import main
from rayfe.config import DataConfig, EquilibrationConfig, ModelConfig, RunConfig, configure
from rayfe.data.datasets import load
from rayfe.data.device_path import DeviceExamples, Still
from rayfe.data.paths import load_path
from rayfe.data.randomness import generator
from rayfe.exceptions import UsageError
from rayfe.model.mlp import MLP
from rayfe.model.objective import draw_noise
from rayfe.model.posterior import Widths
from rayfe.model.protocol import build
from rayfe.records import EquilibrateRequest, Point, Replica, StepKey, Weights
from rayfe.run.choices import settled
from rayfe.storage.store import Store
from rayfe.training import compiled_update, machine
from rayfe.training.compiled_update import WIDE, _in_another_thread, rounded_product
from rayfe.training.compiler import compiler
from rayfe.training.replicas import Looped
from rayfe.training.train import DrawnNoise, Probe, Trained, Training, train
from rayfe.training.update import Descent, why_not_compiled

needs_compiler = pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")
UPDATES = 200


@pytest.fixture(autouse=True)
def no_code_of_other_tests() -> None:
    torch._dynamo.reset()


def trained(
    config: EquilibrationConfig, *, compiled: bool, annealed: bool, dtype: torch.dtype, dropout: float = 0.0, count: int = 1
) -> tuple[Trained, tuple[Weights, ...]]:
    """A training of UPDATES updates, and the weights of its models."""
    rng = generator("cpu", "examples")
    x, y = torch.rand(600, 64, generator=rng, dtype=dtype), torch.randint(10, (600,), generator=rng)
    model = ModelConfig(hidden=16, latent=4, dropout=dropout)
    models = [build(model, input_shape=(64,), classes=10, seed=seed).to(dtype) for seed in range(count)]
    replicas = Looped(models, compiled=compiled)
    noise = draw_noise(generator("cpu", 1), n=50, widths=Widths(latent=4), decoder_draws=2, head_draws=8, dtype=dtype)
    examples = DeviceExamples(x=x[:50], y=y[:50])
    training = Training(
        replicas=replicas,
        points=[Point(lam=0.5, gamma=4.0 + i) for i in range(count)],
        updates=UPDATES,
        learning_rate=lambda u: 3e-3 * (1.0 - 0.9 * u),
        config=config,
        preconditioner=None,
        probe=Probe(examples=examples, noise=noise, updates=frozenset([50]), names=tuple(map(str, range(count)))),
        annealed=annealed,
    )
    batches = Still(DeviceExamples(x=x, y=y)).batches(0.0, 48, updates=UPDATES, rng=generator("cpu", 2))
    found = train(training, batches, DrawnNoise(generator("cpu", 3), Widths(latent=4)))
    return found, replicas.weights()


@needs_compiler
@pytest.mark.parametrize(
    "optimizer, schedule, annealed, dropout, count",
    [("soap", "average", False, 0.0, 1), ("soap", "average", True, 0.1, 1), ("adam", "paper", False, 0.1, 2)],
)
def test_a_compiled_training_is_the_eager_one(
    optimizer: Any, schedule: Any, annealed: bool, dropout: float, count: int
) -> None:
    config = EquilibrationConfig(optimizer=optimizer, schedule=schedule)
    (eager, weights), (code, others) = (
        trained(config, compiled=compiled, annealed=annealed, dtype=torch.float64, dropout=dropout, count=count)
        for compiled in (False, True)
    )
    for one, other in zip(weights, others, strict=True):
        assert one.keys() == other.keys()  # statistics of batch-norm too
        for name, value in one.items():
            np.testing.assert_allclose(other[name], value, rtol=1e-9, atol=1e-10, err_msg=name)
    assert eager.preconditioner is not None and code.preconditioner is not None
    assert eager.preconditioner.keys() == code.preconditioner.keys()
    for name, value in eager.preconditioner.items():
        np.testing.assert_allclose(code.preconditioner[name], value, rtol=1e-6, atol=1e-8 * np.abs(value).max(), err_msg=name)
    assert [reading.F for reading in code.readings] == pytest.approx([reading.F for reading in eager.readings], rel=1e-10)


@needs_compiler
def test_in_float32_it_is_the_eager_one_to_rounding() -> None:
    config = EquilibrationConfig(optimizer="soap", schedule="average")
    ends = [trained(config, compiled=compiled, annealed=False, dtype=torch.float32) for compiled in (False, True)]
    for name, value in ends[0][1][0].items():
        np.testing.assert_allclose(ends[1][1][0][name], value, rtol=1e-4, atol=1e-4, err_msg=name)
    assert ends[1][0].readings[-1].F == pytest.approx(ends[0][0].readings[-1].F, rel=1e-6)


PARTS = [
    {"marginal": "mixture", "likelihood": "discretised-logistic", "task": "regression"},
    {"marginal": "gaussian", "likelihood": "laplace", "task": "multi-label"},
]


@pytest.mark.parametrize("parts", PARTS, ids=lambda parts: parts["marginal"])
def test_an_update_of_other_parts_is_the_eager_one_as_one_piece(parts: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    made = compiled_update._compiled
    monkeypatch.setattr(compiled_update, "_compiled", lambda backend: made("eager"))  # the same piece, without machine code
    rng = generator("cpu", "examples")
    batch = DeviceExamples(x=torch.rand(20, 6, generator=rng).double(), y=torch.randint(2, (20, 3), generator=rng).double())
    noise = draw_noise(rng, n=20, widths=Widths(latent=4), decoder_draws=1, head_draws=2, dtype=torch.float64)
    ends = []
    for compiled in (False, True):
        model = build(ModelConfig(hidden=8, latent=4, **parts), input_shape=(6,), classes=3).double()
        replicas, points = Looped([model], compiled=compiled), [Point(lam=0.5, gamma=4.0)]
        descent = Descent(replicas, points, EquilibrationConfig(optimizer="adam"), None, updates=3, annealed=False)
        descent.optimizer.param_groups[0]["lr"] = 1e-2
        first = {name: value.copy() for name, value in replicas.weights()[0].items()}
        for number in range(3):
            descent.update(number, batch, noise, seed=0)
        descent.write_back()
        ends.append(replicas.weights()[0])
    for name, value in ends[0].items():
        np.testing.assert_allclose(ends[1][name], value, rtol=1e-9, atol=1e-10, err_msg=name)
        assert not name.startswith(("marginal", "likelihood", "task")) or not np.array_equal(value, first[name])


def equilibrated(compile: Any, hidden: int) -> float:
    """F after an epoch of the digits."""
    config = configure(
        threads=1,
        data=DataConfig(name="digits"),
        model=ModelConfig(hidden=hidden, latent=4),
        equilibration=EquilibrationConfig(epochs=1, batch=64, optimizer="soap", compile=compile),
    )
    replica = Replica(name="centre", point=Point(lam=0.25, gamma=4.0), weights=None)
    key = StepKey(trajectory="t", seed=0, step=1, attempt=0)
    found = InlineBackend(config, load(config.data)).equilibrate(EquilibrateRequest(key=key, replicas=(replica,)))
    return found.readings[-1].F


@needs_compiler
def test_a_training_by_the_option_ends_where_the_plain_one_does() -> None:
    plain, other = equilibrated("never", 8), equilibrated("update", 8)
    assert other == pytest.approx(plain, rel=1e-4)
    assert other != plain  # other code: sums are rounded otherwise


def test_products_of_bfloat16_numbers_move_the_end_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_update, "_compiled", lambda backend: compiled_update._update)  # the same, not compiled
    monkeypatch.setattr(machine, "check_cpu", lambda equilibration: None)
    plain, same, rounded = (equilibrated(way, WIDE) for way in ("never", "always", "bf16"))
    assert same == pytest.approx(plain, rel=1e-6)
    assert rounded == pytest.approx(plain, rel=1e-3)
    assert rounded != same


@pytest.mark.parametrize("columns, rounded", [(WIDE, True), (WIDE - 1, False)])
def test_a_product_with_a_large_matrix_is_one_of_bfloat16_numbers(columns: int, rounded: bool) -> None:
    rng = generator("cpu", "products")
    a, b = (torch.randn(shape, generator=rng).requires_grad_() for shape in ((5, 80), (80, columns)))
    product = rounded_product(a, b)
    product.sum().backward()
    exact_a, exact_b = (value.detach().bfloat16().double() if rounded else value.detach().double() for value in (a, b))
    exact = exact_a @ exact_b
    accuracy = 2**-8 if rounded else 1e-6
    assert product.dtype == torch.float32
    assert float((product.detach() - exact).abs().max() / exact.abs().max()) < accuracy
    assert a.grad is not None
    torch.testing.assert_close(a.grad.double(), exact_b.sum(1).expand(5, -1), rtol=accuracy, atol=accuracy)


def test_a_signal_ends_the_wait_for_the_compiler_at_once() -> None:
    class Stopped(Exception):
        pass

    def stop(number: int, frame: object) -> None:
        raise Stopped

    compiled = threading.Event()

    def compiles() -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGUSR2)
        compiled.wait(200)
        return torch.ones(())

    before = signal.signal(signal.SIGUSR2, stop)
    try:
        with pytest.raises(Stopped):
            _in_another_thread(compiles)
        assert not compiled.is_set()
    finally:
        compiled.set()
        signal.signal(signal.SIGUSR2, before)


def test_what_goes_wrong_as_it_compiles_is_raised_where_it_is_wanted() -> None:
    def fails() -> torch.Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        _in_another_thread(fails)


# --- models that cannot be compiled, machines without a compiler ------------------------------------------------------


class Branching(MLP):
    """What it does depends on the values of its data."""

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, log_variance = super().encode(x)
        return (mean, log_variance) if float(mean.detach().abs().sum()) > 0.0 else (mean + 1.0, log_variance)


class BranchingOnImages(Branching):
    """The same as a model of the user's own has it: examples come in the shape of the data."""

    def __init__(self, *, input_shape: tuple[int, ...], classes: int, config: ModelConfig) -> None:
        super().__init__(input_shape=(math.prod(input_shape),), classes=classes, config=config)
        self.shape = input_shape

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return super().encode(x.flatten(1))

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return super().decode(z).view(-1, *self.shape)


@pytest.mark.parametrize("kind", [MLP, Branching])
def test_a_model_that_looks_at_its_values_is_told_from_one_that_can_be_compiled(kind: type[nn.Module]) -> None:
    model = build(ModelConfig(hidden=8, latent=4), input_shape=(64,), classes=10, cls=kind)
    why = why_not_compiled(model, torch.rand(8, 64), torch.arange(8) % 10)
    assert (why is None) == (kind is MLP)
    assert why is None or "\n" not in why


def digits(**equilibration: Any) -> RunConfig:
    return configure(
        backend="inline",
        data=DataConfig(name="digits"),
        model=ModelConfig(hidden=8, latent=4),
        equilibration=EquilibrationConfig(**equilibration),
    )


@pytest.mark.parametrize(
    "epochs, found, accurate, wanted, told",
    [
        (1.0, "/g++", True, "never", ""),
        (1e3, "/g++", True, "onednn", ""),
        (1e4, "/g++", True, "always", "updates are compiled"),
        (1e4, "/g++", False, "update", "updates are compiled"),
        (1e4, None, True, "onednn", "no C++ compiler"),
        (1e4, None, False, "never", "no C++ compiler"),
    ],
)
def test_auto_is_what_pays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: float, found: str | None, accurate: bool, wanted: str, told: str
) -> None:
    monkeypatch.setattr("rayfe.training.machine.compiler", lambda: found)
    monkeypatch.setattr("rayfe.training.machine.onednn_is_accurate", lambda: accurate)
    config, said = digits(first_epochs=epochs, epochs=1.0), []
    chosen = settled(config, Store(str(tmp_path / "run")), load_path(config), said.append)
    assert chosen.equilibration.compile == wanted
    assert len(said) == bool(told) and "".join(said).startswith(told)


def test_a_model_that_cannot_be_compiled_is_said_to_train_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rayfe.training.machine.compiler", lambda: "/g++")
    config = configure(digits(first_epochs=1e4), model={"name": f"{__name__}:BranchingOnImages"})
    said: list[str] = []
    chosen = settled(config, Store(str(tmp_path / "run")), load_path(config), said.append)
    assert not chosen.equilibration.compiled
    assert len(said) == 1 and said[0].startswith(
        f"updates are not compiled: the update of {__name__}:BranchingOnImages cannot be"
    )


def test_a_run_goes_on_as_it_began_and_another_way_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--equilibration.first-epochs", "1", "--equilibration.epochs", "1", "--certificate-share", "0"]
    words = ["digits-smoke", "--backend", "inline", *short, "--steps", "1", "--out", str(tmp_path / "run")]
    assert main("isoc", [*words, "--equilibration.compile", "never"]) == 0
    assert main("isoc", words) == 0
    capsys.readouterr()
    assert main("isoc", [*words, "--equilibration.compile", "always"]) == 2
    assert "--equilibration.compile always: the stored run has never" in capsys.readouterr().err


def test_an_evaluator_without_a_compiler_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rayfe.training.machine.compiler", lambda: None)
    with pytest.raises(UsageError, match="C\\+\\+ compiler"):
        InlineBackend(digits(compile="always"), load(DataConfig(name="digits")))


def test_without_a_compiler_the_option_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rayfe.training.machine.compiler", lambda: None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    out = tmp_path / "run"
    code = main("isoc", ["digits-smoke", "--backend", "inline", "--equilibration.compile", "always", "--out", str(out)])
    assert code == 2
    assert "--equilibration.compile always: on a CPU this needs a C++ compiler" in capsys.readouterr().err
    assert not (out / "steps").exists()


def test_the_compiler_that_CXX_names_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine++"
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    monkeypatch.setenv("CXX", str(mine))
    assert compiler() == str(mine)
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("PATH", "")
    assert compiler() is None
