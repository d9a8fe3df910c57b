"""What every backend promises: analytic, inline, and both behind the pool of Ray actors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rayfe.backend.analytic import AnalyticBackend
from rayfe.backend.inline import InlineBackend
from rayfe.config import DataConfig, EquilibrationConfig, MeasureConfig, ModelConfig, configure
from rayfe.data.datasets import load
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
from rayfe.surface.closed_form import PowerSurface

WHOLE = Annealing(epochs=4.0, begin=0.0, end=4.0)
KEY = StepKey(trajectory="lam0.25-gamma4-seed0", seed=0, step=1, attempt=0)
POINTS = {name: Point(lam=0.25, gamma=gamma) for name, gamma in (("centre", 4.0), ("gamma+", 4.4), ("gamma-", 3.6))}
CONFIG = configure(
    threads=1,
    replicas_per_evaluator=2,
    data=DataConfig(name="digits"),
    model=ModelConfig(hidden=16, latent=4),
    equilibration=EquilibrationConfig(first_epochs=4, epochs=2, batch=64),
    measure=MeasureConfig(head_draws=16),
)


def make_analytic(config, dataset):
    return AnalyticBackend(PowerSurface(kappa=10.0, a=1 / 3, b=1 / 3), lag=0.2, noise=1e-3)


def pooled(factory, dataset):
    from rayfe.on_ray.evaluator import share
    from rayfe.on_ray.pool import start_pool
    from rayfe.on_ray.pool_backend import PoolBackend

    return PoolBackend(start_pool(factory, CONFIG, share(dataset), evaluators=2), per_part=CONFIG.per_part)


@pytest.fixture(
    scope="module",
    params=[
        "analytic",
        "inline",
        pytest.param("ray-analytic", marks=pytest.mark.ray),
        pytest.param("ray", marks=pytest.mark.ray),
    ],
)
def backend(request):
    dataset = load(CONFIG.data)
    match request.param:
        case "analytic":
            return make_analytic(CONFIG, None)
        case "inline":
            return InlineBackend(CONFIG, dataset)
    request.getfixturevalue("ray_session")
    if request.param == "ray":
        from rayfe.on_ray.evaluator import make_inline

        return pooled(make_inline, dataset)
    import sys

    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
    return pooled(make_analytic, None)


@pytest.fixture(scope="module")
def start(backend):
    request = EquilibrateRequest(
        key=KEY,
        replicas=(Replica(name="centre", point=POINTS["centre"], weights=None),),
        annealing=WHOLE,
    )
    return backend.equilibrate(request).weights[0]


def stencil(start):
    return EquilibrateRequest(
        key=KEY, replicas=tuple(Replica(name=name, point=point, weights=start) for name, point in POINTS.items())
    )


def same(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_equilibrating_twice_gives_the_same_bytes_and_leaves_the_start_alone(backend, start):
    before = {name: np.array(value) for name, value in start.items()}
    first, again = (backend.equilibrate(stencil(start)) for _ in range(2))
    assert first.outcome is Outcome.OK
    assert first.readings == again.readings
    assert all(same(a, b) for a, b in zip(first.weights, again.weights, strict=True))
    assert same(before, start)


def test_answers_come_in_the_order_of_the_replicas(backend, start):
    answer = backend.equilibrate(stencil(start))
    assert len(answer.weights) == 3
    last = [reading.replica for reading in answer.readings if reading.update == max(r.update for r in answer.readings)]
    assert last == list(POINTS)
    assert not same(answer.weights[1], answer.weights[2])
    assert answer.examples > 0


def test_a_certificate_bounds_F_and_changes_nothing_else_of_a_measurement(backend, start):
    replica = dataclasses.replace(stencil(start).replicas[0], weights=start)
    plain = MeasureRequest(key=KEY, replicas=(replica,), splits=(Split.TRAIN, Split.VALIDATION), purpose="test")
    before, after = backend.measure(plain), backend.measure(dataclasses.replace(plain, certify=True))
    found = after.readings[0].certificate
    assert found.J_K <= after.readings[0].F + 1e-9
    assert 0.0 < found.J_K_ess <= 1.0
    assert found.grad_norm >= 0.0
    assert [
        dataclasses.replace(reading, certificate=None, label_entropy=None, R_dims=None) for reading in after.readings
    ] == list(before.readings)
    assert same(after.weights[0], before.weights[0])
    assert after.examples >= before.examples
    assert backend.measure(dataclasses.replace(plain, certify=True)).readings == after.readings


def test_measuring_reads_every_replica_on_every_split(backend, start):
    replicas = stencil(start).replicas
    request = MeasureRequest(key=KEY, replicas=replicas, splits=(Split.TRAIN, Split.VALIDATION), purpose="test")
    answer = backend.measure(request)
    assert [(r.replica, r.split) for r in answer.readings] == [(n, s) for n in POINTS for s in request.splits]
    for reading in answer.readings:
        point = reading.point
        assert reading.F == reading.R + point.lam * reading.D + point.gamma * reading.C
        assert reading.C_se > 0
    assert backend.measure(request).readings == answer.readings
    assert len(answer.weights) == 3


def test_draws_depend_on_the_purpose_and_not_on_the_step(backend, start):
    def C(purpose, step):
        key = dataclasses.replace(KEY, step=step)
        replicas = stencil(start).replicas[:1]
        request = MeasureRequest(key=key, replicas=replicas, splits=(Split.TRAIN,), purpose=purpose)
        return backend.measure(request).readings[0].C

    assert C("test", 1) == C("test", 2) != C("settle", 1)


def test_settle_respects_its_bounds(backend, start):
    up, down = backend.equilibrate(stencil(start)).weights[1:]
    tangent = {name: (up[name] - down[name]) / 0.8 for name in up}
    request = SettleRequest(
        key=KEY,
        weights=start,
        tangents={"gamma": tangent},
        point=POINTS["centre"],
        held=(Held(C=1.0),),
        targets=(1e-6,),
        scales=(1.0,),
        jacobian=((-0.1,),),
        reach={"gamma": 0.01},
    )
    answer = backend.settle(request)
    assert -0.01 <= answer.shift["gamma"] <= 0.01
    assert abs(answer.after.C - 1e-6) <= abs(answer.before.C - 1e-6)
    assert answer.weights.keys() == start.keys()


@pytest.mark.ray
def test_ray_and_this_process_answer_with_the_same_bytes(ray_session):
    from rayfe.on_ray.evaluator import make_inline

    dataset = load(CONFIG.data)
    answers = []
    for backend in (InlineBackend(CONFIG, dataset), pooled(make_inline, dataset)):
        first = EquilibrateRequest(
            key=KEY,
            replicas=(Replica(name="centre", point=POINTS["centre"], weights=None),),
            annealing=WHOLE,
        )
        answers.append(backend.equilibrate(stencil(backend.equilibrate(first).weights[0])))
    assert answers[0].readings == answers[1].readings
    assert all(same(a, b) for a, b in zip(answers[0].weights, answers[1].weights, strict=True))
