"""Training and reading random weights: a minimum that is known, replicas that share noise, readings that depend on nothing else."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

import rayfe
from rayfe.config import EquilibrationConfig, MeasureConfig, ModelConfig
from rayfe.data.device_path import DeviceExamples, Still
from rayfe.data.randomness import derived_seed, generator
from rayfe.model.objective import draw_noise
from rayfe.model.posterior import information, widths_of
from rayfe.model.protocol import build
from rayfe.records import Point, Split
from rayfe.training import compiled_update
from rayfe.training.drawing import Effort, drawing_of
from rayfe.training.fleet import why_not_in_slots
from rayfe.training.reading import WantedReading, read_together
from rayfe.training.replicas import Looped, Multipliers, Stacked
from rayfe.training.update import Descent

POSTERIORS = ("classifier", "decoder", "all")


class OneWeight(nn.Module):
    """z = x + noise of unit variance, x_hat = w z with one random weight w: J is quadratic in w."""

    latent = 1

    def __init__(self, *, input_shape: Any, classes: int, config: ModelConfig) -> None:
        super().__init__()
        self.decoder = nn.Linear(1, 1, bias=False)
        self.classifier = nn.Linear(1, classes)

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, torch.zeros_like(x)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return self.decoder(z)

    def classify(self, z: torch.Tensor) -> torch.Tensor:
        return self.classifier(z)


@pytest.mark.parametrize(("lam", "sigma"), [(1.0, 0.5), (0.3, 2.0)])
def test_training_finds_the_exact_posterior_of_a_quadratic_loss(lam: float, sigma: float) -> None:
    """The minimum of E[lam D] + sigma S is N(mu, s^2) proportional to m(w) exp(-lam D / sigma): temperature sigma. With D the mean of
    (x - w z)^2 and m = N(0, 1): 1 / s^2 = 2 lam E[z^2] / sigma + 1, and mu = s^2 2 lam E[x z] / sigma."""
    x = torch.linspace(0.1, 1.5, 400, dtype=torch.float64)[:, None]
    y = torch.zeros(400, dtype=torch.long)
    model = build(ModelConfig(latent=1, posterior="decoder"), input_shape=(1,), classes=2, cls=OneWeight).double()
    replicas, at = Looped([model]), Multipliers(*torch.tensor([[lam], [0.0], [sigma]], dtype=torch.float64))
    optimizer = torch.optim.Adam(model.decoder.parameters(), lr=0.05)
    updates, rng = 800, torch.Generator().manual_seed(0)
    for update in range(updates):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * (1.0 - update / updates)
        noise = draw_noise(rng, n=400, widths=widths_of(model), decoder_draws=2, head_draws=2, dtype=torch.float64)
        optimizer.zero_grad()
        replicas.loss(x, y, noise, at, seed=0).sum().backward()
        optimizer.step()
    square = x.square().mean().item()
    variance = 1.0 / (2.0 * lam * (square + 1.0) / sigma + 1.0)
    mean = variance * 2.0 * lam * square / sigma
    assert model.decoder.weight.item() == pytest.approx(mean, rel=0.02)
    assert math.exp(2.0 * model.decoder.weight_log_deviation.item()) == pytest.approx(variance, rel=0.02)
    assert information(model).item() == pytest.approx(0.5 * (variance + mean**2 - 1.0 - math.log(variance)), rel=0.03)


def small(posterior: str, seed: int = 0) -> Any:
    config = ModelConfig(hidden=8, latent=3, posterior=posterior)
    return build(config, input_shape=(20,), classes=3, seed=seed).double()


def batch() -> DeviceExamples:
    rng = generator("cpu", "examples")
    return DeviceExamples(x=torch.rand(30, 20, generator=rng).double(), y=torch.randint(3, (30,), generator=rng))


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_stacked_replicas_have_the_loss_and_gradients_of_single_ones(posterior: str) -> None:
    examples, models = batch(), [small(posterior, seed) for seed in range(2)]
    noise = draw_noise(
        generator("cpu", 1), n=30, widths=widths_of(models[0]), decoder_draws=1, head_draws=4, dtype=torch.float64
    )
    at, found = Multipliers(*torch.tensor([[0.5, 0.7], [4.0, 3.0], [1e-3, 2e-2]], dtype=torch.float64)), []
    for replicas in (Looped(models), Stacked([small(posterior, seed) for seed in range(2)])):
        loss = replicas.loss(examples.x, examples.y, noise, at, seed=0)
        loss.sum().backward()
        gradients = {
            replicas.name(key): value.grad for key, value in replicas.parameters().items() if key.startswith(("0/", "model."))
        }
        found.append((loss.detach(), {name: value[0] if replicas.stacked else value for name, value in gradients.items()}))
    torch.testing.assert_close(found[0][0], found[1][0])
    assert found[0][1].keys() == found[1][1].keys()
    for name, value in found[0][1].items():
        torch.testing.assert_close(value, found[1][1][name], msg=name)
    assert any(name.endswith("log_deviation") for name in found[0][1])


def test_replicas_at_one_point_stay_the_same_model() -> None:
    """They share the noise of the weights."""
    examples, replicas = batch(), Stacked([small("all"), small("all")])
    points = [Point(lam=0.5, gamma=4.0, sigma=1e-2)] * 2
    descent = Descent(replicas, points, EquilibrationConfig(optimizer="soap"), None, updates=5, annealed=False)
    descent.optimizer.param_groups[0]["lr"] = 1e-2
    for number in range(5):
        noise = draw_noise(
            generator("cpu", number), n=30, widths=widths_of(small("all")), decoder_draws=1, head_draws=4, dtype=torch.float64
        )
        descent.update(number, examples, noise, seed=0)
    one, other = replicas.weights()
    for name, value in one.items():
        torch.testing.assert_close(torch.from_numpy(value), torch.from_numpy(other[name]), msg=name)


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_an_update_is_the_eager_one_as_one_piece(posterior: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = compiled_update._compiled
    monkeypatch.setattr(compiled_update, "_compiled", lambda backend: made("eager"))  # the same piece, without machine code
    examples, ends = batch(), []
    for compiled in (False, True):
        model = small(posterior)
        replicas, points = Looped([model], compiled=compiled), [Point(lam=0.5, gamma=4.0, sigma=1e-2)]
        descent = Descent(replicas, points, EquilibrationConfig(optimizer="soap"), None, updates=3, annealed=False)
        descent.optimizer.param_groups[0]["lr"] = 1e-2
        for number in range(3):
            noise = draw_noise(
                generator("cpu", number), n=30, widths=widths_of(model), decoder_draws=1, head_draws=4, dtype=torch.float64
            )
            descent.update(number, examples, noise, seed=0)
        descent.write_back()
        ends.append(replicas.weights()[0])
    for name, value in ends[0].items():
        torch.testing.assert_close(torch.from_numpy(ends[1][name]), torch.from_numpy(value), rtol=1e-9, atol=1e-10, msg=name)


def read(models: list[Any], examples: DeviceExamples, *, chunk: int, key: str = "key") -> list[Any]:
    drawing = drawing_of(MeasureConfig(head_draws=32), models[0], examples.x[:1], images=len(examples.x))
    drawing = type(drawing)(
        head_draws=drawing.head_draws, decoder_draws=2, chunk=chunk, random_encoder=drawing.random_encoder, whole=drawing.whole
    )
    wanted = WantedReading(
        t=0.0, key=partial(derived_seed, key), replica="centre", split=Split.TRAIN, point=Point(lam=0.5, gamma=4.0, sigma=1e-3)
    )
    asked = [(model.eval(), wanted) for model in models]
    return read_together(asked, Still(examples), drawing=drawing, effort=Effort(draw_sets=2, decoder_sets=1))


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_readings_depend_neither_on_chunks_nor_on_company(posterior: str) -> None:
    examples, model = batch(), small(posterior)
    (whole,), (parts,), (first, _) = (
        read([model], examples, chunk=1000),
        read([model], examples, chunk=7),
        read([model, small(posterior, 1)], examples, chunk=1000),
    )
    for other in (parts, first):
        assert [other.R, other.D, other.C, other.S] == pytest.approx([whole.R, whole.D, whole.C, whole.S], rel=1e-10)
        assert [other.R_se, other.D_se, other.C_se] == pytest.approx([whole.R_se, whole.D_se, whole.C_se], rel=1e-8)
    assert whole.S == pytest.approx(information(model).item())
    assert pytest.approx(whole.R + 0.5 * whole.D + 4.0 * whole.C + 1e-3 * whole.S) == whole.F
    assert (whole.R_se > 0.0) == (posterior == "all")


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_standard_errors_are_those_of_readings_with_other_draws(posterior: str) -> None:
    examples, model = batch(), small(posterior)
    with torch.no_grad():  # as far from certain as the prior
        for name, value in model.named_parameters():
            if name.endswith("log_deviation"):
                value.add_(math.log(10.0))
    readings = [read([model], examples, chunk=1000, key=f"key {i}")[0] for i in range(40)]
    for name in ("D", "C") + (("R",) if posterior == "all" else ()):
        values = torch.tensor([getattr(one, name) for one in readings])
        told = torch.tensor([getattr(one, f"{name}_se") for one in readings]).square().mean().sqrt()
        assert 0.7 < values.std() / told < 1.4, name


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_models_with_random_weights_train_in_slots(posterior: str) -> None:
    config = ModelConfig(hidden=8, latent=3, posterior=posterior)
    make = partial(build, config, input_shape=(20,), classes=3)
    examples = batch()
    assert why_not_in_slots(make, examples.x.float(), examples.y) is None


def few_digits(**options: Any) -> Any:
    fields = {
        "lam": 1.0,
        "steps": 2,
        "sigma": 1e-3,
        "sigma_end": 1e-2,
        "model": {"hidden": 16, "latent": 4, "posterior": "classifier"},
        "data": {"name": "digits", "train_size": 300},
        "equilibration": {"first_epochs": 40, "epochs": 8},
        "tolerance": 0.3,
        "certificate_share": 0.0,
        "threads": 1,
    }
    return rayfe.walk("digits-weights", quiet=True, **(fields | options))


def test_a_walk_that_was_interrupted_goes_on_with_the_same_rows(tmp_path: Any) -> None:
    whole = few_digits(out=tmp_path / "whole").rows
    few_digits(out=tmp_path / "parts", steps=1)
    parts = few_digits(out=tmp_path / "parts").rows
    columns = ["step", "accepted", "sigma", "gamma", "R", "D", "C", "S", "F", "val_C", "S_gamma"]
    assert whole[columns].equals(parts[columns])
    assert list(whole["sigma"])[0] == 1e-3
    last = whole[whole["accepted"]].iloc[-1]
    assert last["step"] >= 1
    assert last["F"] == pytest.approx(
        last["R"] + last["lam"] * last["D"] + last["gamma"] * last["C"] + last["sigma"] * last["S"]
    )
    assert whole["J_K"].isna().all()
    assert whole["R_dims"].isna().all()


def test_side_by_side_a_trajectory_is_what_it_is_with_another_company(tmp_path: Any) -> None:
    alone = few_digits(out=tmp_path / "alone", seed=0, steps=1, trajectories_per_evaluator=2).rows
    both = few_digits(out=tmp_path / "both", seed=[0, 1], steps=1, trajectories_per_evaluator=2).rows
    columns = ["sigma", "gamma", "R", "D", "C", "S", "F"]
    assert alone[columns].equals(both[both["seed"] == 0][columns].reset_index(drop=True))


def test_a_model_that_is_read_back_has_the_S_of_its_row_and_draws_nothing(tmp_path: Any) -> None:
    run = few_digits(out=tmp_path / "run", steps=0)
    model = rayfe.load_model(tmp_path / "run", step=0)
    assert information(model).item() == pytest.approx(run.rows["S"].iloc[0], rel=1e-5)
    x = torch.rand(5, 64)
    assert torch.equal(model.encode(x)[0], model.encode(x)[0])
