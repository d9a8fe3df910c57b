"""AnalyticBackend answers as its surface says, moves as its lag says, and answers the same twice."""

from __future__ import annotations

import dataclasses
import math
import pickle
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayfe.backend.analytic import EXAMPLES, AnalyticBackend
from rayfe.records import (
    EquilibrateRequest,
    Held,
    MeasureRequest,
    Outcome,
    Point,
    Reading,
    Replica,
    SettleRequest,
    Split,
    StepKey,
)
from rayfe.surface.closed_form import HyperbolicSurface, LogSurface, PowerSurface, Surface

SURFACES = [
    PowerSurface(kappa=20.0, a=1 / 3, b=1 / 3),
    HyperbolicSurface(c=0.4),
    LogSurface(a=3.0, b=8.0, p=0.5, q=0.3, r=2.0),
]
KEY = StepKey(trajectory="lam0.25-gamma4-seed0", seed=0, step=3, attempt=0)
surfaces = st.sampled_from(SURFACES)
multipliers = st.floats(0.1, 10.0)
lags = st.floats(0.0, 1.0)
ACCURACY = 5e-4


def model(lam: float, gamma: float) -> dict[str, np.ndarray]:
    return {"multipliers": np.array([lam, gamma])}


def replica(lam: float, gamma: float, *, start: dict[str, np.ndarray] | None = None, name: str = "centre") -> Replica:
    return Replica(name=name, point=Point(lam=lam, gamma=gamma), weights=start)


def equilibrate(*replicas: Replica) -> EquilibrateRequest:
    return EquilibrateRequest(key=KEY, replicas=replicas)


def measure(*replicas: Replica, seed: int = 0, purpose: str = "test") -> MeasureRequest:
    key = dataclasses.replace(KEY, seed=seed)
    return MeasureRequest(key=key, replicas=replicas, splits=(Split.TRAIN, Split.VALIDATION), purpose=purpose)


def settle(surface: Surface, lam: float, gamma: float, *, off: float, width: float) -> SettleRequest:
    """A settle of a model at (lam, gamma) for the loss of a model at gamma (1 + off)."""
    C = surface.C(lam, gamma * (1 + off))
    return SettleRequest(
        key=KEY,
        weights=model(lam, gamma),
        tangents={"gamma": model(0.0, 1.0)},
        point=Point(lam=lam, gamma=gamma),
        held=(Held(C=1.0),),
        targets=(C,),
        scales=(C,),
        jacobian=((surface.C_gamma(lam, gamma),),),
        reach={"gamma": width * gamma},
    )


def test_a_new_model_is_at_equilibrium_at_its_point() -> None:
    for lag in (0.0, 0.5):
        answer = AnalyticBackend(SURFACES[0], lag=lag).equilibrate(equilibrate(replica(0.25, 4.0)))
        assert answer.outcome is Outcome.OK
        np.testing.assert_array_equal(answer.weights[0]["multipliers"], [0.25, 4.0])
        assert answer.preconditioner is None


@given(surfaces, lags, multipliers, multipliers, multipliers, multipliers)
def test_lag_leaves_that_part_of_the_way_undone(
    surface: Surface, lag: float, lam: float, gamma: float, start_lam: float, start_gamma: float
) -> None:
    start = model(start_lam, start_gamma)
    request = equilibrate(replica(lam, gamma, start=start), replica(lam, 1.1 * gamma, start=start, name="gamma+"))
    answer = AnalyticBackend(surface, lag=lag).equilibrate(request)
    for weights, asked in zip(answer.weights, ([lam, gamma], [lam, 1.1 * gamma]), strict=True):
        undone = weights["multipliers"] - asked
        np.testing.assert_allclose(undone, lag * (start["multipliers"] - asked), atol=1e-12)
    assert answer.examples == 2 * EXAMPLES
    np.testing.assert_array_equal(start["multipliers"], [start_lam, start_gamma])


@given(surfaces, lags, multipliers, multipliers, multipliers, multipliers)
def test_probe_J_falls_towards_F_and_never_below(
    surface: Surface, lag: float, lam: float, gamma: float, start_lam: float, start_gamma: float
) -> None:
    request = equilibrate(replica(lam, gamma, start=model(start_lam, start_gamma)))
    before, after = AnalyticBackend(surface, lag=lag).equilibrate(request).readings
    assert (before.update, after.update) == (0, 1)
    assert before.split is after.split is Split.PROBE
    assert before.point == after.point == Point(lam=lam, gamma=gamma)
    rounding = 1e-12 * (abs(before.R) + lam * before.D + gamma * before.C)
    assert surface.F(lam, gamma) - rounding <= after.F
    # With w = point + lag (start - point) the first law gives dJ/dlag = -lag (start - point)' Hess F (start - point) >= 0.
    assert before.F + rounding >= after.F


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: type(surface).__name__)
@pytest.mark.parametrize("lam, gamma", [(math.nan, 4.0), (0.25, math.inf), (0.25, math.nan), (0.0, 4.0), (-1.0, 4.0)])
def test_a_point_off_the_surface_is_nonfinite(surface: Surface, lam: float, gamma: float) -> None:
    request = equilibrate(replica(0.25, 4.0), replica(lam, gamma, start=model(0.25, 4.0)))
    answer = AnalyticBackend(surface, lag=0.9).equilibrate(request)
    assert answer.outcome is Outcome.NONFINITE
    assert answer.weights == answer.readings == ()


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: type(surface).__name__)
def test_negative_gamma_is_nonfinite_except_on_the_log_surface(surface: Surface) -> None:
    outcome = AnalyticBackend(surface).equilibrate(equilibrate(replica(1.0, -0.1))).outcome
    assert outcome is (Outcome.OK if isinstance(surface, LogSurface) else Outcome.NONFINITE)


def test_a_start_that_is_not_finite_is_nonfinite() -> None:
    request = equilibrate(replica(0.25, 4.0, start=model(math.nan, 4.0)))
    assert AnalyticBackend(SURFACES[0]).equilibrate(request).outcome is Outcome.NONFINITE


@given(surfaces, multipliers, multipliers)
def test_without_noise_readings_are_the_surface_at_the_weights(surface: Surface, lam: float, gamma: float) -> None:
    asked = replica(1.0, 1.0, start=model(lam, gamma))
    answer = AnalyticBackend(surface).measure(measure(asked))
    assert [reading.split for reading in answer.readings] == [Split.TRAIN, Split.VALIDATION]
    for reading in answer.readings:
        assert (surface.R(lam, gamma), surface.D(lam, gamma), surface.C(lam, gamma)) == (reading.R, reading.D, reading.C)
        assert reading.point == asked.point
        assert reading.accuracy == 1.0
        assert (reading.R_se, reading.D_se, reading.C_se) == (0.0, 0.0, 0.0)
    np.testing.assert_array_equal(answer.weights[0]["multipliers"], [lam, gamma])


def relative_errors(backend: AnalyticBackend, purpose: str, seed: int) -> Reading:
    return backend.measure(measure(replica(0.25, 4.0), seed=seed, purpose=purpose)).readings[0]


def test_noise_has_the_size_that_the_standard_errors_state() -> None:
    surface, noise = SURFACES[0], 1e-3
    backend = AnalyticBackend(surface, noise=noise)
    readings = [relative_errors(backend, "test", seed) for seed in range(300)]
    for name, exact in (("C", surface.C(0.25, 4.0)), ("D", surface.D(0.25, 4.0))):
        errors = np.array([getattr(reading, name) for reading in readings]) / exact - 1
        stated = np.array([getattr(reading, f"{name}_se") for reading in readings]) / exact
        # 300 normal errors: standard error of their spread 4 %, of their mean 6 % of the spread.
        assert errors.std() == pytest.approx(noise, rel=0.15)
        assert abs(errors.mean()) < 0.25 * noise
        assert stated.mean() == pytest.approx(noise, rel=0.05)
        blocks = np.array([getattr(reading, f"{name}_noise") for reading in readings])
        np.testing.assert_allclose(np.sqrt((blocks**2).sum(1)) / exact, stated)
    assert {reading.R for reading in readings} == {surface.R(0.25, 4.0)}


def test_replicas_share_noise_but_purposes_splits_and_seeds_do_not() -> None:
    surface = SURFACES[0]
    backend = AnalyticBackend(surface, noise=1e-3)

    def errors(purpose: str, seed: int) -> list[float]:
        request = measure(replica(0.25, 4.0), replica(0.25, 4.4, name="gamma+"), seed=seed, purpose=purpose)
        readings = backend.measure(request).readings
        return [reading.C / surface.C(reading.point.lam, reading.point.gamma) - 1 for reading in readings]

    train, validation, plus_train, plus_validation = errors("test", 0)
    assert [train, validation] == pytest.approx([plus_train, plus_validation], rel=1e-9)
    others = [validation, errors("settle", 0)[0], errors("test", 1)[0]]
    assert all(abs(train - other) > 1e-6 for other in others)


@given(surfaces, multipliers, multipliers, st.floats(-0.1, 0.1))
def test_settle_hits_a_target_within_its_bounds(surface: Surface, lam: float, gamma: float, off: float) -> None:
    request = settle(surface, lam, gamma, off=off, width=0.15)
    answer = AnalyticBackend(surface).settle(request)
    settled_lam, settled_gamma = answer.weights["multipliers"]
    assert (settled_lam, settled_gamma) == (lam, gamma + answer.shift["gamma"])
    assert answer.before.C == surface.C(lam, gamma)
    assert answer.after.C == pytest.approx(
        surface.C(settled_lam, settled_gamma), rel=2.5 * ACCURACY
    )  # the last move is not read
    assert answer.after.C == pytest.approx(request.targets[0], rel=ACCURACY)
    assert abs(answer.shift["gamma"]) <= request.reach["gamma"]


@given(surfaces, multipliers, multipliers, st.sampled_from([-0.5, 0.5]))
def test_settle_stops_at_a_bound_without_error(surface: Surface, lam: float, gamma: float, off: float) -> None:
    request = settle(surface, lam, gamma, off=off, width=0.01)
    answer = AnalyticBackend(surface).settle(request)
    assert answer.shift["gamma"] == math.copysign(request.reach["gamma"], off)
    assert abs(answer.after.C - request.targets[0]) < abs(answer.before.C - request.targets[0])


@given(surfaces, multipliers, multipliers)
def test_the_certificate_is_J_with_its_gradient_over_the_two_multipliers(surface: Surface, lam: float, gamma: float) -> None:
    def certificate(model_lam: float, model_gamma: float, *, certify: bool = True):
        request = measure(replica(lam, gamma, start=model(model_lam, model_gamma)))
        read = AnalyticBackend(surface).measure(dataclasses.replace(request, certify=certify)).readings
        return read[0], read[1]

    settled, validation = certificate(lam, gamma)
    assert settled.certificate.J_K == settled.F
    assert (settled.certificate.J_K_ess, settled.certificate.grad_norm) == (1.0, 0.0)
    assert validation.certificate is None
    assert certificate(lam, gamma, certify=False)[0].certificate is None
    off, step = (1.1 * lam, 0.9 * gamma), 1e-6
    slopes = [
        (certificate(off[0] + a, off[1] + b)[0].F - certificate(off[0] - a, off[1] - b)[0].F) / (2 * step)
        for a, b in ((step, 0.0), (0.0, step))
    ]
    assert certificate(*off)[0].certificate.grad_norm == pytest.approx(math.hypot(*slopes), rel=1e-4, abs=1e-6)


def test_settle_sees_the_draws_of_a_measurement_for_settling() -> None:
    surface = SURFACES[0]
    backend = AnalyticBackend(surface, noise=1e-3)
    answer = backend.settle(settle(surface, 0.25, 4.0, off=0.05, width=0.1))

    def seen(weights) -> float:
        return backend.measure(measure(replica(0.25, 4.0, start=weights), purpose="settle")).readings[0].C

    assert answer.before.C == pytest.approx(seen(model(0.25, 4.0)), rel=1e-12)
    assert answer.after.C == pytest.approx(seen(dict(answer.weights)), rel=2e-4)  # the last move is not read


@given(surfaces, st.booleans())
def test_same_request_same_answer_also_from_a_pickled_backend(surface: Surface, noisy: bool) -> None:
    backend = AnalyticBackend(surface, lag=0.2, noise=1e-3 if noisy else 0.0)
    copy = pickle.loads(pickle.dumps(backend))
    centre = replica(0.3, 4.2, start=model(0.25, 4.0))
    for request in (equilibrate(centre), measure(centre), settle(surface, 0.3, 4.0, off=0.05, width=0.1)):
        first = pickle.dumps(backend.answer(request))
        assert pickle.dumps(backend.answer(request)) == first
        assert pickle.dumps(copy.answer(pickle.loads(pickle.dumps(request)))) == first


def test_delay_is_slept() -> None:
    began = time.monotonic()
    AnalyticBackend(SURFACES[0], delay=0.05).equilibrate(equilibrate(replica(0.25, 4.0)))
    assert time.monotonic() - began >= 0.05


@pytest.mark.parametrize("wrong", [{"lag": -0.1}, {"lag": 1.1}, {"lag": math.nan}, {"delay": -1.0}, {"noise": math.inf}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AnalyticBackend(SURFACES[0], **wrong)
