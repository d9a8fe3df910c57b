"""Certificates on known surfaces: differences, C_gamma and errors against closed forms; what is asked, and what it may cost."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from rayfe.backend.analytic import EXAMPLES, MULTIPLIERS, AnalyticBackend
from rayfe.config import RunConfig, configure
from rayfe.records import (
    ANEW,
    ON,
    TOO_SHORT,
    CertificateRecord,
    Equilibrated,
    EquilibrateRequest,
    MeasureRequest,
    Outcome,
    Request,
    Split,
    StepRecord,
)
from rayfe.records.columns import number
from rayfe.surface.closed_form import LogSurface, MovingPowerSurface, PowerSurface, Surface
from rayfe.surface.equivalence import over_seeds
from rayfe.trajectory import certification
from rayfe.trajectory.certification import SEEDS, CertificateEffort, certificate
from rayfe.trajectory.driver import answered

A = PowerSurface(kappa=10.0, a=1 / 3, b=1 / 3)
CONFIG = configure()


@pytest.fixture(autouse=True)
def probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that it costs nearly nothing."""
    monkeypatch.setattr(certification, "PROBE", 10)


LONG = CertificateEffort(method=ON, epochs=5.0)


def row_at(lam: float, gamma: float, *, t: float = 0.0, seed: int = 0, **columns: Any) -> StepRecord:
    return StepRecord(
        trajectory="walk",
        step=3,
        attempt=0,
        accepted=True,
        outcome="OK",
        process="iso-classification",
        lam=lam,
        gamma=gamma,
        t=t,
        examples=1e6,
        seconds=1.0,
        seed=seed,
        state="states/walk/3.safetensors",
        state_sha256="0" * 64,
        **columns,
    )


def certified(
    backend: AnalyticBackend,
    model: tuple[float, float],
    effort: CertificateEffort = LONG,
    config: RunConfig = CONFIG,
    **row: Any,
) -> CertificateRecord:
    """The certificate at (1, 4) of a model that is at equilibrium at the multipliers `model`."""
    weights = {MULTIPLIERS: np.array(model)}
    return answered(certificate(config, row_at(1.0, 4.0, **row), weights, effort), backend)


def J(surface: Surface, model: tuple[float, float]) -> float:
    return surface.R(*model) + 1.0 * surface.D(*model) + 4.0 * surface.C(*model)


@pytest.mark.parametrize("method", [ON, ANEW])
def test_a_model_at_equilibrium_is_nowhere_off(method: str) -> None:
    found = certified(AnalyticBackend(A), (1.0, 4.0), dataclasses.replace(LONG, method=method))
    assert (found.outcome, found.method, found.seeds, found.epochs) == ("OK", method, SEEDS, 5.0)
    assert (found.dF, found.dR, found.dD, found.dC, found.dgamma) == (0.0,) * 5
    assert (found.dF_se, found.dR_se, found.dD_se, found.dC_se) == (0.0,) * 4
    assert (found.R, found.D, found.C) == tuple(getattr(A, name)(1.0, 4.0) for name in "RDC")
    assert (found.lowest_R, found.lowest_D, found.lowest_C) == (found.R, found.D, found.C)


def test_differences_are_those_of_the_surface_and_F_is_second_order() -> None:
    model = (1.02, 4.3)
    found = certified(AnalyticBackend(A), model)
    for name in "RDC":
        assert getattr(found, f"d{name}") == pytest.approx(getattr(A, name)(*model) - getattr(A, name)(1.0, 4.0))
    assert found.dF == pytest.approx(J(A, model) - A.F(1.0, 4.0))
    assert found.dF == pytest.approx(found.dR + found.dD + 4.0 * found.dC)
    assert 0.0 < found.dF / found.F < 0.1 * abs(found.dC / found.C)
    assert found.C_gamma == pytest.approx((A.C(1.0, 4.4) - A.C(1.0, 3.6)) / 0.8)
    assert found.dgamma == pytest.approx(found.dC / abs(found.C_gamma))


def test_dgamma_says_by_how_much_gamma_is_wrong_for_the_C_that_the_model_has() -> None:
    """A model at equilibrium at gamma 3.9 that calls itself one of gamma 4."""
    found = certified(AnalyticBackend(A), (1.0, 3.9))
    assert found.dgamma == pytest.approx(4.0 - 3.9, rel=0.05)


def test_training_on_that_lags_itself_shows_a_part_of_the_distance_and_training_anew_all_of_it() -> None:
    backend = AnalyticBackend(A, lag=0.6)
    on, anew = (certified(backend, (1.0, 5.0), dataclasses.replace(LONG, method=method)) for method in (ON, ANEW))
    exact = A.C(1.0, 5.0) - A.C(1.0, 4.0)
    assert anew.dC == pytest.approx(exact)
    assert on.dC == pytest.approx(A.C(1.0, 5.0) - A.C(1.0, 4.6))
    assert 0.3 < on.dC / exact < 0.5


def test_a_certificate_at_t_is_one_of_the_surface_at_t() -> None:
    surface = MovingPowerSurface(kappa=10.0, a=0.3, b=1 / 3, kappa_t=3.0, a_t=0.1)
    found = certified(AnalyticBackend(surface), (1.0, 4.0), t=0.5)
    assert found.t == 0.5
    assert (found.C, found.dC) == (surface.at(0.5).C(1.0, 4.0), 0.0)


def test_where_control_images_are_held_gamma_is_of_their_loss_and_F_of_the_training_images() -> None:
    config = configure(CONFIG, hold="control")
    found = certified(AnalyticBackend(A, unseen=0.1), (1.0, 4.3), config=config)
    plain = certified(AnalyticBackend(A, unseen=0.1), (1.0, 4.3))
    assert (found.held_on, plain.held_on) == ("control", "train")
    assert (found.dC, found.dF, plain.control_dC) == (plain.dC, plain.dF, None)

    def control(lam: float, gamma: float) -> float:
        return A.C(lam, gamma) * (1.0 + 0.1 * A.R(lam, gamma))

    assert found.control_C == pytest.approx(control(1.0, 4.0))
    assert found.control_dC == pytest.approx(control(1.0, 4.3) - control(1.0, 4.0))
    assert found.C_gamma == pytest.approx((control(1.0, 4.4) - control(1.0, 3.6)) / 0.8)
    assert found.dgamma is None or found.dgamma == pytest.approx(found.control_dC / abs(found.C_gamma))


def test_without_labels_there_is_no_neighbour_in_gamma() -> None:
    surface = LogSurface(a=2.0, b=3.0, p=1.0, q=0.5, r=2.0)
    weights = {MULTIPLIERS: np.array([1.1, 0.0])}
    found = answered(certificate(CONFIG, row_at(1.0, 0.0), weights, LONG), AnalyticBackend(surface))
    assert found.dD == pytest.approx(surface.D(1.1, 0.0) - surface.D(1.0, 0.0))
    assert (found.C_gamma, found.dgamma) == (None, None)


@pytest.mark.parametrize("name", ["R", "D", "C", "gamma"])
def test_errors_cover_what_other_seeds_would_have_given(name: str) -> None:
    """400 rows, eight seeds each: the mean square of the error in units of its standard error is that of Student's t.

    F is second order in what seeds do, so its error is not normal.
    """
    backend, effort = AnalyticBackend(A, training_noise=0.02), dataclasses.replace(LONG, seeds=8)
    lines = [certified(backend, (1.05, 4.4), effort, seed=seed) for seed in range(400)]
    values = np.array([getattr(line, f"d{name}") for line in lines])
    errors = np.array([getattr(line, f"d{name}_se") for line in lines])
    off = (values - values.mean()) / errors
    assert np.mean(off**2) == pytest.approx(7 / 5, rel=0.3)


def test_draws_that_all_models_share_cancel_in_the_differences() -> None:
    found = certified(AnalyticBackend(A, noise=0.05), (1.0, 4.0))
    assert (found.dC, found.dC_se) == (0.0, 0.0)
    off = certified(AnalyticBackend(A, noise=0.05), (1.0, 5.0))
    assert 0.0 < off.dC_se < 0.2 * 0.05 * off.C  # relative noise: what is left is that of the difference


def test_C_gamma_that_is_not_below_zero_compares_no_gamma() -> None:
    """Neighbours whose order is turned round, as by noise."""

    class Turned(AnalyticBackend):
        def measure(self, request: MeasureRequest):
            names = [replica.name for replica in request.replicas]
            if names != ["gamma+", "gamma-"]:
                return super().measure(request)
            higher, lower = request.replicas
            turned = (
                dataclasses.replace(higher, weights=lower.weights),
                dataclasses.replace(lower, weights=higher.weights),
            )
            return super().measure(dataclasses.replace(request, replicas=turned))

    found = certified(Turned(A), (1.0, 4.3))
    assert found.C_gamma > 0.0
    assert (found.dgamma, found.dgamma_se) == (None, None)
    assert found.dC < 0.0


@pytest.mark.parametrize(("seeds", "least"), [(2, 12.71), (3, 4.3)])
def test_gamma_is_compared_only_where_C_gamma_is_below_zero_by_its_interval_over_seeds(seeds: int, least: float) -> None:
    effort = dataclasses.replace(LONG, seeds=seeds)
    backend = AnalyticBackend(A, training_noise=0.8)
    lines = [certified(backend, (1.05, 4.4), effort, seed=seed) for seed in range(60)]
    sure = [-number(line.C_gamma) / number(line.C_gamma_se) for line in lines]
    assert [line.dgamma is not None for line in lines] == [one > over_seeds(seeds) for one in sure]
    assert any(2.0 < one < least for one in sure)  # two standard errors would have let these pass
    assert over_seeds(seeds) == pytest.approx(least, rel=2e-3)


# --- what is asked, and what it may cost -----------------------------------------------------------------------------------


class Listening(AnalyticBackend):
    """Remembers what it is asked."""

    def answer(self, request: Request):
        self.__dict__.setdefault("asked", []).append(request)
        return super().answer(request)


def asked(effort: CertificateEffort, config: RunConfig = CONFIG, **row: Any) -> tuple[CertificateRecord, list[Request]]:
    backend = Listening(A)
    return certified(backend, (1.0, 4.0), effort, config, **row), backend.__dict__.get("asked", [])


def test_on_begins_with_the_stored_weights_anew_with_none_and_no_seed_is_that_of_a_walk() -> None:
    for method, begins in ((ON, {MULTIPLIERS}), (ANEW, None)):
        _, requests = asked(CertificateEffort(method=method, seeds=3, epochs=5.0))
        trainings = [request for request in requests if isinstance(request, EquilibrateRequest)]
        assert len(trainings) == 3
        assert len({request.key for request in trainings}) == 3
        assert all(request.key.seed > 2**31 for request in trainings)
        for request in trainings:
            assert [replica.point.gamma for replica in request.replicas] == [4.0, 4.4, 3.6]
            assert all((r.weights and set(r.weights)) == begins for r in request.replicas)
            assert request.annealing is not None
            assert request.annealing.end == request.annealing.epochs  # annealed to its end
            assert request.annealing.end - request.annealing.begin == 5.0


@pytest.mark.parametrize(("columns", "sets"), [({}, (1, 1)), ({"draw_sets": 8, "decoder_sets": 4}, (8, 4))])
def test_all_models_are_read_with_the_draws_of_the_row(columns: dict[str, int], sets: tuple[int, int]) -> None:
    _, requests = asked(LONG, **columns)
    readings = [request for request in requests if isinstance(request, MeasureRequest)]
    assert {(request.draw_sets, request.decoder_sets) for request in readings} == {sets}
    assert {(request.key.trajectory, request.key.seed, request.purpose) for request in readings} == {("walk", 0, "test")}
    assert all(request.splits == (Split.TRAIN,) for request in readings)


@pytest.mark.parametrize("budget", [30_000.0, 100_000.0, 1e6])
def test_epochs_are_what_the_budget_pays_for_beside_the_readings(budget: float) -> None:
    """An epoch of 1,000 examples, 256 a batch; each of seven readings costs a third of an epoch, each probe a third of ten."""
    found, requests = asked(CertificateEffort(method=ON, budget=budget, epoch=1000))
    trained = 6 * found.epochs * 1000
    cost = trained + 7 * EXAMPLES / 3 + 2 * 6 * 10 / 3
    assert budget - 6 * 256 <= cost <= budget
    assert found.epochs * 1000 / 256 == pytest.approx(round(found.epochs * 1000 / 256))
    assert sum(isinstance(request, EquilibrateRequest) for request in requests) == SEEDS


@pytest.mark.parametrize(("budget", "requests"), [(0.0, 0), (900.0, 0), (2500.0, 1), (3700.0, 1)])
def test_a_budget_that_pays_for_no_update_says_so_and_asks_for_little(budget: float, requests: int) -> None:
    found, made = asked(CertificateEffort(method=ON, budget=budget, epoch=1000))
    assert (found.outcome, found.dF, len(made)) == (TOO_SHORT, None, requests)
    assert found.examples <= budget


def test_a_budget_that_does_not_pay_for_the_draws_of_the_row_asks_for_nothing() -> None:
    """Three readings of 1,000 examples, each by an encoder and 15 decoders: 8 forward passes or 2,667 examples."""
    for budget, requests in ((7900.0, 0), (8100.0, 1)):
        found, made = asked(CertificateEffort(method=ON, budget=budget, epoch=1000), decoder_sets=15)
        assert len(made[:1]) == requests
        assert found.budget == budget


def test_a_training_that_diverges_is_an_outcome() -> None:
    class Diverging(AnalyticBackend):
        def equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
            return Equilibrated(outcome=Outcome.NONFINITE, weights=(), preconditioner=None, readings=(), examples=7.0)

    found = certified(Diverging(A), (1.0, 4.0))
    assert (found.outcome, found.dC, found.examples) == ("NONFINITE", None, 7.0 + EXAMPLES / 3)


def test_a_model_that_cannot_be_read_is_an_outcome() -> None:
    class Blind(AnalyticBackend):
        def measure(self, request: MeasureRequest):
            answer = super().measure(request)
            bad = tuple(dataclasses.replace(r, C=math.nan) for r in answer.readings)
            return dataclasses.replace(answer, readings=bad)

    assert certified(Blind(A), (1.0, 4.0)).outcome == "NONFINITE"
