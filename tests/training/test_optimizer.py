"""SOAP against its definition, Adam and a problem it is made for; averages of late iterates; what trainings hand on."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from rayfe.backend.inline import InlineBackend
from rayfe.config import DataConfig, EquilibrationConfig, MeasureConfig, ModelConfig, RunConfig, configure
from rayfe.data.datasets import load
from rayfe.data.device_path import DeviceExamples
from rayfe.data.randomness import generator
from rayfe.model.objective import draw_noise
from rayfe.model.posterior import Widths
from rayfe.model.protocol import build
from rayfe.records import Annealing, EquilibrateRequest, Point, Replica, StepKey
from rayfe.records.weights import unpack
from rayfe.training.optimizer import go_ahead, left_by, make_optimizer, unrotated
from rayfe.training.replicas import Looped, Stacked
from rayfe.training.schedule import constant_rate
from rayfe.training.soap import BETA, MEMORY, SAMPLED, Soap
from rayfe.training.train import set_rate
from rayfe.training.update import Descent

SOAP = EquilibrationConfig(optimizer="soap")
KEY = StepKey(trajectory="t", seed=3, step=1, attempt=0)


def soap(parameter: torch.Tensor, *, renews: bool = False, beta: float = 0.99) -> Soap:
    return Soap({"w": parameter}, {"w": "w"}, stacked=False, beta=beta, renews=renews)


def gradients(count: int, shape: tuple[int, ...]) -> list[torch.Tensor]:
    rng = generator("cpu", "gradients")
    mix = torch.randn(shape[0], shape[0], generator=rng, dtype=torch.float64)
    return [torch.einsum("ab,b...->a...", mix, torch.randn(shape, generator=rng, dtype=torch.float64)) for _ in range(count)]


def take(optimizer: torch.optim.Optimizer, parameter: torch.Tensor, gradient: torch.Tensor, rate: float = 0.1) -> None:
    parameter.grad = gradient.clone()
    optimizer.param_groups[0]["lr"] = rate
    optimizer.step()


@pytest.mark.parametrize("shape", [(5,), (3, 7), (7, 3), (4, 2, 3, 3)])
def test_soap_without_a_basis_is_adam(shape: tuple[int, ...]) -> None:
    own, other = (torch.ones(shape, dtype=torch.float64, requires_grad=True) for _ in range(2))
    mine, adam = soap(own), torch.optim.Adam([other], lr=0.1, betas=(BETA, 0.99))
    for gradient in gradients(7, shape):
        take(mine, own, gradient)
        take(adam, other, gradient)
    torch.testing.assert_close(own, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 7), (7, 3)])
def test_an_update_is_adams_in_the_eigenbasis_of_the_gradients_on_the_smaller_side(shape: tuple[int, int]) -> None:
    parameter = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    optimizer = soap(parameter)
    seen = gradients(SAMPLED + 1, shape)
    for gradient in seen[:SAMPLED]:
        take(optimizer, parameter, gradient)
    before = parameter.detach().clone()
    G = seen[0]  # the only sample so far
    square = G @ G.T if shape[0] < shape[1] else G.T @ G
    Q = torch.linalg.eigh((1.0 - MEMORY) * square)[1]
    optimizer.renew()
    torch.testing.assert_close(parameter.detach(), before)
    moment, second = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
    for gradient in seen[:SAMPLED]:
        moment, second = BETA * moment + (1 - BETA) * gradient, 0.99 * second + 0.01 * gradient**2
    left = shape[0] < shape[1]
    moment, second = (Q.T @ moment, (Q.T) ** 2 @ second) if left else (moment @ Q, second @ Q**2)
    rotated = Q.T @ seen[SAMPLED] if left else seen[SAMPLED] @ Q
    moment, second = BETA * moment + (1 - BETA) * rotated, 0.99 * second + 0.01 * rotated**2
    n = SAMPLED + 1
    step = (moment / (1 - BETA**n)) / ((second / (1 - 0.99**n)).sqrt() + 1e-8)
    take(optimizer, parameter, seen[SAMPLED])
    torch.testing.assert_close(parameter.detach(), before - 0.1 * (Q @ step if left else step @ Q.T), rtol=1e-9, atol=1e-12)


def test_soap_is_faster_than_adam_where_inputs_of_a_regression_are_correlated() -> None:
    rng = generator("cpu", "correlated")
    Q = torch.linalg.qr(torch.randn(12, 12, generator=rng, dtype=torch.float64))[0]
    mix = Q * torch.logspace(0, -2, 12, dtype=torch.float64)
    wanted = torch.randn(30, 12, generator=rng, dtype=torch.float64)

    def loss_after(*, rotated: bool, rate: float) -> float:
        w = torch.zeros(30, 12, dtype=torch.float64, requires_grad=True)
        optimizer: torch.optim.Optimizer = soap(w, renews=True) if rotated else torch.optim.Adam([w], betas=(BETA, 0.99))
        for update in range(400):
            x = torch.randn(32, 12, generator=rng, dtype=torch.float64) @ mix.T
            noise = 0.1 * torch.randn(32, 30, generator=rng, dtype=torch.float64)
            gradient = ((w.detach() - wanted) @ x.T - noise.T) @ x / 32
            take(optimizer, w, gradient, rate=rate * (1 - update / 400))
        return float((((w.detach() - wanted) @ mix) ** 2).sum())

    best = {way: min(loss_after(rotated=way, rate=rate) for rate in (0.05, 0.1)) for way in (True, False)}
    assert best[True] < 0.8 * best[False]


def test_second_moments_return_from_a_basis_in_which_they_are_uncorrelated() -> None:
    rng = np.random.default_rng(0)
    for rows, columns in ((4, 9), (9, 4)):
        size = min(rows, columns)
        Q = np.linalg.qr(rng.normal(size=(size, size)))[0]
        draws = rng.normal(size=(200_000, rows, columns)) * rng.uniform(0.1, 3.0, (rows, columns))
        own = Q @ draws if rows < columns else draws @ Q.T
        np.testing.assert_allclose(unrotated((draws**2).mean(0), Q), (own**2).mean(0), rtol=0.05)


def test_renewing_without_a_gradient_changes_nothing() -> None:
    optimizer = soap(torch.ones(3, 4, requires_grad=True))
    optimizer.renew()
    (basis,) = optimizer.bases.values()
    assert torch.equal(basis.vectors, torch.eye(3))


# --- averages ---------------------------------------------------------------------------------------------------------


def small(**equilibration: object) -> RunConfig:
    options = {"epochs": 2, "batch": 64, "first_schedule": "linear", "first_learning_rate": 1e-2, "learning_rate": 5e-3}
    training = EquilibrationConfig(**(options | {"optimizer": "soap", "schedule": "average"} | equilibration))  # type: ignore[arg-type]
    return configure(
        threads=1,
        data=DataConfig(name="digits"),
        model=ModelConfig(hidden=24, latent=4),
        equilibration=training,
        measure=MeasureConfig(head_draws=32),
    )


@pytest.fixture(scope="module")
def backend() -> InlineBackend:
    return InlineBackend(small(), load(DataConfig(name="digits")), dtype=torch.float64)


def requested(**fields: object) -> EquilibrateRequest:
    points = {"centre": 4.0, "gamma+": 4.4, "gamma-": 3.6}
    weights = fields.pop("weights", None)
    replicas = tuple(Replica(name=name, point=Point(lam=0.25, gamma=gamma), weights=weights) for name, gamma in points.items())  # type: ignore[arg-type]
    return EquilibrateRequest(key=KEY, replicas=replicas, **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def first(backend: InlineBackend):
    request = requested(annealing=Annealing(epochs=5.0, begin=0.0, end=5.0))
    return backend.equilibrate(dataclasses.replace(request, replicas=request.replicas[:1]))


def test_stacked_replicas_share_the_bases_of_the_first_and_equal_separate_ones(backend: InlineBackend, first) -> None:
    request = requested(weights=first.weights[0], preconditioner=first.preconditioner)
    together = backend.equilibrate(request)
    for replica, weights in zip(request.replicas, together.weights, strict=True):
        alone = backend.equilibrate(dataclasses.replace(request, replicas=(replica,)))
        for name, value in alone.weights[0].items():
            np.testing.assert_allclose(weights[name], value, rtol=1e-6, atol=1e-9, err_msg=f"{replica.name} {name}")
    again = backend.equilibrate(requested(weights=together.weights[0], preconditioner=together.preconditioner))
    assert again.readings[-1].F < first.readings[-1].F


@pytest.mark.parametrize("optimizer", ["adam", "soap"])
def test_the_result_is_the_mean_of_late_iterates_and_the_next_training_begins_at_the_last_one(optimizer: Any) -> None:
    model = build(ModelConfig(hidden=8, latent=4), input_shape=(64,), classes=10, seed=0).double()
    replicas, seen = Looped([model]), []
    config = EquilibrationConfig(optimizer=optimizer, schedule="average")
    descent = Descent(replicas, [Point(lam=0.25, gamma=4.0)], config, None, updates=8, annealed=False)
    batch = DeviceExamples(x=torch.rand(32, 64, generator=generator("cpu", 0)).double(), y=torch.arange(32) % 10)
    set_rate(descent.optimizer, 1e-2)
    for update in range(8):
        noise = draw_noise(
            generator("cpu", update), n=32, widths=Widths(latent=4), decoder_draws=1, head_draws=2, dtype=torch.float64
        )
        descent.update(update, batch, noise, seed=0)
        seen.append([parameter.detach().clone() for parameter in model.parameters()])
    left = descent.finish()
    for parameter, *late in zip(model.parameters(), *seen[2:], strict=True):
        torch.testing.assert_close(parameter.detach(), torch.stack(late).mean(0))
    go_ahead(replicas, left)
    for parameter, last in zip(model.parameters(), seen[-1], strict=True):
        torch.testing.assert_close(parameter.detach(), last)


def test_averaging_is_nearer_to_equilibrium_than_the_papers_schedule_at_equal_updates(first) -> None:
    data = load(DataConfig(name="digits"))

    def F(**equilibration: object) -> float:
        own, weights, left = InlineBackend(small(**equilibration), data), first.weights[0], first.preconditioner
        for step in range(4):
            request = dataclasses.replace(
                requested(weights=weights, preconditioner=left), key=dataclasses.replace(KEY, step=step)
            )
            found = own.equilibrate(dataclasses.replace(request, replicas=request.replicas[:1]))
            weights, left = found.weights[0], found.preconditioner
        return found.readings[-1].F

    assert F() < F(schedule="paper") - 0.01


def test_an_adam_goes_on_where_soap_left_and_soap_where_adam_did() -> None:
    x, y = torch.rand(32, 64, dtype=torch.float64), torch.arange(32) % 10
    noise = draw_noise(generator("cpu", 0), n=32, widths=Widths(latent=4), decoder_draws=1, head_draws=4, dtype=torch.float64)
    model = build(ModelConfig(hidden=8, latent=4), input_shape=(64,), classes=10, seed=0).double()
    for before, after in (("soap", "adam"), ("adam", "soap")):
        replicas = Stacked([copy.deepcopy(model), copy.deepcopy(model)])
        optimizer = make_optimizer(replicas, None, EquilibrationConfig(optimizer=before), renews=True)  # type: ignore[arg-type]
        for _ in range(30):
            optimizer.zero_grad()
            R, D, C, _ = replicas.functionals(x, y, noise)
            (R + D + C).sum().backward()
            optimizer.step()
        left = left_by(optimizer, replicas)
        taken = make_optimizer(Looped([copy.deepcopy(model)]), left, EquilibrationConfig(optimizer=after))  # type: ignore[arg-type]
        adam = taken.adam if isinstance(taken, Soap) else taken
        sums = {float(state["exp_avg_sq"].sum()) for state in adam.state.values()}
        kept = {float(value.sum()) for value in unpack(left, "second_moment").values()}
        assert sorted(sums) == pytest.approx(sorted(kept), rel=1e-6)  # a rotation keeps the sum of squares


@pytest.mark.parametrize("kind", ["adam", "soap"])
def test_parameters_that_are_kept_as_they_are_have_nothing_to_hand_on(kind: Any) -> None:
    x, y = torch.rand(32, 64), torch.arange(32) % 10
    noise = draw_noise(generator("cpu", 0), n=32, widths=Widths(latent=4), decoder_draws=1, head_draws=4, dtype=torch.float32)
    model = build(ModelConfig(hidden=8, latent=4), input_shape=(64,), classes=10, seed=0)
    model.encoder.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    replicas = Looped([model])
    optimizer = make_optimizer(replicas, None, EquilibrationConfig(optimizer=kind))
    optimizer.param_groups[0]["lr"] = 0.01
    for _ in range(3):
        optimizer.zero_grad()
        replicas.functionals(x, y, noise).D.sum().backward()
        optimizer.step()
    make_optimizer(replicas, left_by(optimizer, replicas), EquilibrationConfig(optimizer=kind))
    for name, value in model.named_parameters():
        moved = not torch.equal(value, before[name])
        assert moved == name.startswith("decoder"), name  # D does not depend on the classifier


def test_rates() -> None:
    assert [constant_rate(u, maximum=2.0) for u in (0.0, 0.025, 0.05, 0.5, 1.0)] == pytest.approx([0.0, 1.0, 2.0, 2.0, 2.0])
