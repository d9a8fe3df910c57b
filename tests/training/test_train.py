"""Replicas, the training loop and measuring, on small real models and scikit-learn's digits."""

import dataclasses

import numpy as np
import pytest
import torch

from rayfe.backend.inline import InlineBackend
from rayfe.backend.models import Models
from rayfe.config import DataConfig, EquilibrationConfig, MeasureConfig, ModelConfig, configure
from rayfe.data.datasets import load
from rayfe.data.randomness import generator
from rayfe.model.objective import draw_noise
from rayfe.model.posterior import Widths
from rayfe.model.protocol import build
from rayfe.model.weights import load_weights, weights_of
from rayfe.records import (
    Annealing,
    EquilibrateRequest,
    Held,
    MeasureRequest,
    Outcome,
    Point,
    Replica,
    SettleRequest,
    Split,
    StepKey,
)
from rayfe.surface.response import first_law_residual, response_of
from rayfe.training.replicas import Looped, Stacked

KEY = StepKey(trajectory="t", seed=3, step=1, attempt=0)
WHOLE = Annealing(epochs=5.0, begin=0.0, end=5.0)
POINT = Point(lam=0.25, gamma=4.0)


def small_config(**equilibration):
    options = {"first_epochs": 5, "epochs": 2, "batch": 64, "first_schedule": "linear", "first_learning_rate": 1e-2}
    return configure(
        threads=1,
        data=DataConfig(name="digits"),
        model=ModelConfig(hidden=24, latent=4),
        equilibration=EquilibrationConfig(**(options | equilibration)),
        measure=MeasureConfig(head_draws=32),
    )


@pytest.fixture(scope="module")
def digits():
    return load(DataConfig(name="digits"))


@pytest.fixture(scope="module")
def backend(digits):
    return InlineBackend(small_config(), digits, dtype=torch.float64)


@pytest.fixture(scope="module")
def started(backend):
    """Weights after a short first equilibrium."""
    request = EquilibrateRequest(
        key=KEY,
        replicas=(Replica(name="centre", point=POINT, weights=None),),
        annealing=WHOLE,
    )
    return backend.equilibrate(request)


def stencil(weights, delta=0.4):
    points = {"centre": POINT, "gamma+": Point(lam=0.25, gamma=4 + delta), "gamma-": Point(lam=0.25, gamma=4 - delta)}
    points |= {"lam+": Point(lam=0.275, gamma=4), "lam-": Point(lam=0.225, gamma=4)}
    return tuple(Replica(name=name, point=point, weights=weights) for name, point in points.items())


def test_the_first_equilibrium_lowers_the_free_energy_and_is_read_fifty_times(started):
    F = [reading.F for reading in started.readings]
    assert started.outcome is Outcome.OK
    assert F[-1] < 0.75 * F[0]
    assert 45 <= len(F) <= 52


def test_stacked_replicas_equal_separately_trained_models(backend, started, digits):
    replicas = stencil(started.weights[0])
    together = backend.equilibrate(EquilibrateRequest(key=KEY, replicas=replicas, preconditioner=started.preconditioner))
    for replica, weights in zip(replicas, together.weights, strict=True):
        alone = backend.equilibrate(
            EquilibrateRequest(key=KEY, replicas=(replica,), preconditioner=started.preconditioner)
        ).weights[0]
        for name, value in alone.items():
            np.testing.assert_allclose(weights[name], value, rtol=1e-6, atol=1e-9, err_msg=f"{replica.name} {name}")


def test_looped_and_stacked_replicas_read_the_same(digits):
    models = [build(ModelConfig(hidden=8, latent=4), input_shape=(64,), classes=10, seed=i).double() for i in range(2)]
    x = torch.from_numpy(digits.train.x[:32].reshape(32, 64)).double()
    y = torch.from_numpy(digits.train.y[:32])
    noise = draw_noise(generator("cpu", 0), n=32, widths=Widths(latent=4), decoder_draws=1, head_draws=4, dtype=torch.float64)
    import copy

    looped, stacked = Looped(copy.deepcopy(models)), Stacked(copy.deepcopy(models))
    for a, b in zip(looped.functionals(x, y, noise), stacked.functionals(x, y, noise), strict=True):
        torch.testing.assert_close(a, b)
    for a, b in zip(looped.weights(), stacked.weights(), strict=True):
        assert a.keys() == b.keys()
        assert all(np.allclose(a[name], b[name]) for name in a)


def test_a_request_is_answered_the_same_way_twice(backend, started):
    request = EquilibrateRequest(key=KEY, replicas=stencil(started.weights[0])[:1])
    torch.manual_seed(0)
    first = backend.equilibrate(request)
    torch.manual_seed(1)
    again = backend.equilibrate(request)
    assert first.readings == again.readings
    assert all(np.array_equal(first.weights[0][name], again.weights[0][name]) for name in first.weights[0])


def test_another_step_has_other_batches(backend, started):
    request = EquilibrateRequest(key=KEY, replicas=stencil(started.weights[0])[:1])
    other = dataclasses.replace(request, key=dataclasses.replace(KEY, step=2))
    assert backend.equilibrate(request).readings[-1].F != backend.equilibrate(other).readings[-1].F


@pytest.mark.parametrize("optimizer", ["adam", "soap"])
def test_a_diverging_equilibration_is_an_outcome(digits, optimizer):
    wild = InlineBackend(small_config(first_learning_rate=1e29, optimizer=optimizer), digits)
    answer = wild.equilibrate(
        EquilibrateRequest(
            key=KEY,
            replicas=(Replica(name="centre", point=POINT, weights=None),),
            annealing=WHOLE,
        )
    )
    assert answer.outcome is Outcome.NONFINITE
    assert answer.weights == ()


@pytest.mark.parametrize("annealing", [None, WHOLE], ids=["step", "annealed"])
def test_a_part_of_the_rate_is_that_of_a_training_with_a_smaller_one(backend, started, digits, annealing):
    name = "first_learning_rate" if annealing else "learning_rate"
    smaller = small_config(**{name: 0.5 * getattr(small_config().equilibration, name)})
    half = InlineBackend(smaller, digits, dtype=torch.float64)
    request = EquilibrateRequest(key=KEY, replicas=stencil(started.weights[0])[:1], annealing=annealing)
    slower = backend.equilibrate(dataclasses.replace(request, rate=0.5)).weights[0]
    whole, smaller = (one.equilibrate(request).weights[0] for one in (backend, half))
    assert all(np.array_equal(slower[name], smaller[name]) for name in slower)
    assert not all(np.array_equal(slower[name], whole[name]) for name in slower)


def test_trainings_that_are_annealed_have_a_mini_batch_of_their_own(digits):
    backend, examples = InlineBackend(small_config(first_batch=32), digits), len(digits.train.y)
    new = EquilibrateRequest(key=KEY, replicas=(Replica(name="centre", point=POINT, weights=None),), annealing=WHOLE)
    first = backend.equilibrate(new)
    weights = dataclasses.replace(new.replicas[0], weights=first.weights[0])
    step = backend.equilibrate(EquilibrateRequest(key=KEY, replicas=(weights,)))
    assert first.readings[-1].update == round(5 * examples / 32)
    assert step.readings[-1].update == round(2 * examples / 64)


def test_examples_are_counted_by_replica(digits, started):
    request = EquilibrateRequest(key=KEY, replicas=stencil(started.weights[0])[:3])
    one = InlineBackend(small_config(), digits).equilibrate(request).examples
    n = len(digits.train.y)
    probe = 2 * 3 * n / 3
    updates = round(2 * n / 64)
    assert one == pytest.approx(updates * 64 * 3 + probe)


def measured(backend, replicas, weights, purpose="test"):
    replicas = tuple(dataclasses.replace(r, weights=w) for r, w in zip(replicas, weights, strict=True))
    return backend.measure(
        MeasureRequest(key=KEY, replicas=replicas, splits=(Split.TRAIN, Split.VALIDATION), purpose=purpose)
    ).readings


def test_standard_error_of_C_covers_the_spread_over_draws(backend, started):
    replica = Replica(name="centre", point=POINT, weights=started.weights[0])
    requests = [
        MeasureRequest(key=dataclasses.replace(KEY, seed=seed), replicas=(replica,), splits=(Split.TRAIN,), purpose="test")
        for seed in range(24)
    ]
    readings = [backend.measure(request).readings[0] for request in requests]
    for name in ("C", "D"):
        spread = np.std([getattr(reading, name) for reading in readings], ddof=1)
        stated = np.mean([getattr(reading, f"{name}_se") for reading in readings])
        assert 0.6 < stated / spread < 1.7
    # what differs in R is the decoder-independent batch-norm statistics only
    assert np.ptp([reading.R for reading in readings]) == pytest.approx(0.0, abs=1e-9)


def test_settle_and_test_draws_differ_and_depend_on_seed_and_split_alone(backend, started):
    replicas = stencil(started.weights[0])[:1]
    test, settle = (measured(backend, replicas, started.weights, purpose)[0] for purpose in ("test", "settle"))
    assert test.C != settle.C
    assert abs(test.C - settle.C) < 5 * (test.C_se + settle.C_se)
    other = dataclasses.replace(KEY, trajectory="another", step=9)
    request = MeasureRequest(
        key=other,
        replicas=(dataclasses.replace(replicas[0], weights=started.weights[0]),),
        splits=(Split.TRAIN,),
        purpose="test",
    )
    assert backend.measure(request).readings[0].C == test.C


def test_first_law_and_maxwell_hold_on_a_small_model(backend, started):
    """Check code and noise (MATH: both hold far from equilibrium, too): small neighbours, float64, same batches."""
    replicas = stencil(started.weights[0], delta=0.05)
    replicas = tuple(
        dataclasses.replace(r, point=Point(lam=0.25 + 0.01 * (r.point.lam - 0.25), gamma=r.point.gamma)) for r in replicas
    )
    trained = backend.equilibrate(EquilibrateRequest(key=KEY, replicas=replicas, preconditioner=started.preconditioner))
    readings = {r.replica: r for r in measured(backend, replicas, trained.weights) if r.split is Split.TRAIN}
    response = response_of(readings)
    change = abs(0.25 * (readings["gamma+"].D - readings["gamma-"].D)) + abs(4 * (readings["gamma+"].C - readings["gamma-"].C))
    assert abs(first_law_residual(readings["gamma-"], readings["gamma+"])) < 0.35 * change
    assert response.C_gamma < 0
    assert abs(response.maxwell_gap) < 0.35 * (abs(response.D_gamma) + abs(response.C_lam))


def test_settle_reaches_the_target_on_its_own_draws(backend, started):
    replicas = stencil(started.weights[0])[:3]
    trained = backend.equilibrate(EquilibrateRequest(key=KEY, replicas=replicas)).weights
    readings = {r.replica: r for r in measured(backend, replicas, trained, "settle") if r.split is Split.TRAIN}
    tangent = {name: (trained[1][name] - trained[2][name]) / 0.8 for name in trained[0]}
    target = 0.5 * (readings["centre"].C + readings["gamma+"].C)
    settled = backend.settle(
        SettleRequest(
            key=KEY,
            weights=trained[0],
            tangents={"gamma": tangent},
            point=POINT,
            held=(Held(C=1.0),),
            targets=(target,),
            scales=(target,),
            jacobian=(((readings["gamma+"].C - readings["gamma-"].C) / 0.8,),),
            reach={"gamma": 0.4},
        )
    )
    assert settled.before.C == pytest.approx(readings["centre"].C, rel=1e-9)
    assert settled.after.C == pytest.approx(target, rel=1e-3)
    assert 0.0 < settled.shift["gamma"] < 0.4


def test_weights_that_do_not_fit_are_refused():
    model = build(ModelConfig(hidden=8, latent=4), input_shape=(64,), classes=10)
    weights = dict(weights_of(model))
    del weights["encoder.0.weight"]
    with pytest.raises(ValueError, match="encoder.0.weight"):
        load_weights(model, weights)


class ByImage(Models):
    """As torch makes a model: the values of a channel lie together in memory, not those of a pixel."""

    def new(self, seed):
        return super().new(seed).to(memory_format=torch.contiguous_format)


def test_how_images_lie_in_memory_changes_no_update_also_with_a_carried_preconditioner(digits, monkeypatch):
    model = ModelConfig(name="resnet", width=2, latent=4, classifier_hidden=0)
    config = dataclasses.replace(small_config(epochs=0.3), model=model)
    by_pixel = InlineBackend(config, digits, dtype=torch.float64)
    monkeypatch.setattr("rayfe.backend.inline.Models", ByImage)
    by_image = InlineBackend(config, digits, dtype=torch.float64)
    replicas = (Replica(name="centre", point=POINT, weights=None),)
    first = by_pixel.equilibrate(
        EquilibrateRequest(key=KEY, replicas=replicas, annealing=dataclasses.replace(WHOLE, epochs=0.3, end=0.3))
    )
    request = EquilibrateRequest(key=KEY, replicas=stencil(first.weights[0]), preconditioner=first.preconditioner)
    for one, other in zip(by_pixel.equilibrate(request).weights, by_image.equilibrate(request).weights, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-6, atol=1e-9, err_msg=name)
