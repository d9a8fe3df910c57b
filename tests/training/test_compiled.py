"""Compiled functionals: what the plain ones give, to rounding, and a compiler is asked for before any work."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rayfe.backend.inline import InlineBackend
from rayfe.cli.job_command import main
from rayfe.config import DataConfig, EquilibrationConfig, ModelConfig, configure
from rayfe.data.datasets import load
from rayfe.data.randomness import generator
from rayfe.model.objective import draw_noise
from rayfe.model.protocol import build
from rayfe.records import EquilibrateRequest, Point, Replica, StepKey
from rayfe.training.compiler import compiler
from rayfe.training.replicas import Looped

needs_compiler = pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")


@needs_compiler
def test_compiled_functionals_have_the_values_gradients_and_statistics_of_plain_ones() -> None:
    x, y = torch.rand(32, 64, generator=generator("cpu", 1)), torch.arange(32) % 10
    noise = draw_noise(generator("cpu", 0), n=32, latent=4, decoder_draws=1, head_draws=4, dtype=torch.float32)
    found = []
    for compiled in (False, True):
        models = [build(ModelConfig(hidden=8, latent=4), input_shape=(64,), classes=10, seed=seed) for seed in (1, 2)]
        replicas = Looped(models, compiled=compiled)
        functionals = replicas.functionals(x, y, noise, predict=False)
        (functionals.R.sum() + functionals.D.sum() + functionals.C.sum()).backward()
        gradients = {name: value.grad for name, value in replicas.parameters().items()}
        found.append((functionals, gradients, replicas.tensors()))
    for plain, fast in zip(found[0][0], found[1][0], strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5)
    for plain, fast in zip(found[0][1:], found[1][1:], strict=True):
        for name, value in plain.items():
            torch.testing.assert_close(fast[name], value, rtol=1e-4, atol=1e-4, msg=name)
    assert any(float(value.abs().max()) > 0 for value in found[1][1].values())


@needs_compiler
def test_a_training_by_the_option_ends_where_the_plain_one_does() -> None:
    ends = []
    for compiled in (False, True):
        equilibration = EquilibrationConfig(epochs=1, batch=64, compile=compiled)
        config = configure(
            threads=1,
            data=DataConfig(name="digits"),
            model=ModelConfig(hidden=8, latent=4),
            equilibration=equilibration,
        )
        replica = Replica(name="centre", point=Point(lam=0.25, gamma=4.0), weights=None)
        key = StepKey(trajectory="t", seed=0, step=1, attempt=0)
        trained = InlineBackend(config, load(config.data)).equilibrate(EquilibrateRequest(key=key, replicas=(replica,)))
        ends.append(trained.readings[-1].F)
    assert ends[1] == pytest.approx(ends[0], rel=1e-4)
    assert ends[1] != ends[0]  # other code: sums are rounded otherwise


def test_without_a_compiler_the_option_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rayfe.run.job.compiler", lambda: None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    out = tmp_path / "run"
    code = main("isoc", ["digits-smoke", "--backend", "inline", "--equilibration.compile", "--out", str(out)])
    assert code == 2
    assert "--equilibration.compile: on a CPU this needs a C++ compiler" in capsys.readouterr().err
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
