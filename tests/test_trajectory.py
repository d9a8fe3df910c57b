"""Walks on closed-form surfaces: the whole machine with known answers."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import RenewalConfig, RunConfig, StencilConfig
from rayfe.driver import advance, open_trajectory
from rayfe.records import EquilibrateRequest, Outcome
from rayfe.store import Store, load_rows
from rayfe.surface.reference import HyperbolicSurface, LogSurface, PowerSurface
from rayfe.trajectory.base import WalkFailed

A = PowerSurface(kappa=10.0, a=1 / 3, b=1 / 3)
B = HyperbolicSurface(c=0.3)
C = LogSurface(a=2.0, b=3.0, p=1.0, q=0.5, r=2.0)


def walk(folder, backend, **options):
    """Rows of one walk from (0.25, 4), driven to its end."""
    config = RunConfig(**({"lam": (0.25,), "gamma": (4.0,), "steps": 100} | options))
    (start,) = config.trajectories().values()
    store = Store(str(folder))
    trajectory = open_trajectory(config, start, store)
    while trajectory.finished is None:
        advance(trajectory, backend, store)
    return store.rows(start.name), trajectory.finished


@pytest.mark.parametrize("surface", [A, B], ids=["A", "B"])
@pytest.mark.parametrize("stencil", ["iso", "paper"])
def test_iso_c_walk_follows_the_exact_line(tmp_path, surface, stencil):
    rows, end = walk(tmp_path, AnalyticBackend(surface), stencil=stencil)
    C0 = surface.C(0.25, 4.0)
    assert end == "lam_end"
    assert rows[-1].lam == 3.5
    for row in rows:
        assert row.accepted
        assert row.C == pytest.approx(C0, rel=2e-3)
        assert row.gamma == pytest.approx(surface.gamma_on_iso_c(row.lam, C0), rel=1e-2)
        assert row.F == row.R + row.lam * row.D + row.gamma * row.C
    D, R = [row.D for row in rows], [row.R for row in rows]
    assert D == sorted(D, reverse=True)
    assert R == sorted(R)


def test_lam_grows_by_at_most_the_step_length(tmp_path):
    rows, _ = walk(tmp_path, AnalyticBackend(A), step_length=0.1)
    steps = [math.log(b.lam / a.lam) for a, b in zip(rows, rows[1:], strict=False)]
    assert max(steps) <= 0.1 + 1e-12
    assert all(row.step_length == pytest.approx(step) for row, step in zip(rows[1:], steps, strict=True))


def error_of_euler(folder, length, delta=1e-4):
    """Relative error of gamma at lam = 3.5 of the paper's scheme: no settle, no predictor, a stencil at every step."""
    rows, _ = walk(
        folder,
        AnalyticBackend(A),
        stencil="paper",
        settle=False,
        predictor=False,
        refresh=1,
        step_length=length,
        neighbours=StencilConfig(gamma_delta=delta, lam_delta=delta),
    )
    return rows[-1].gamma / A.gamma_on_iso_c(3.5, A.C(0.25, 4.0)) - 1.0


def test_the_papers_scheme_is_of_first_order(tmp_path):
    total = math.log(14.0)
    coarse, fine = (abs(error_of_euler(tmp_path / str(n), total / n + 1e-12)) for n in (20, 40))
    assert coarse > 0.02
    assert coarse / fine == pytest.approx(2.0, rel=0.15)


def test_gamma_reaches_zero_by_name_where_it_should(tmp_path):
    start = RunConfig().trajectories().popitem()[1]
    C0 = C.C(start.lam, start.gamma)
    rows, end = walk(tmp_path, AnalyticBackend(C), lam_end=50.0)
    assert end == "gamma_zero"
    assert not rows[-1].accepted
    assert rows[-1].reason == "gamma_zero"
    assert rows[-1].lam == pytest.approx(C.gamma_zero_at(C0), rel=0.03)
    assert all(row.accepted for row in rows[:-1])


def test_a_surface_without_response_ends_gamma_blind(tmp_path):
    class Flat(PowerSurface):
        def C(self, lam, gamma):
            return 1.0

    rows, end = walk(tmp_path, AnalyticBackend(Flat(kappa=1.0, a=0.3, b=0.3)))
    assert end == "gamma_blind"
    assert rows[-1].outcome == Outcome.SINGULAR
    assert len(rows) == 2


class FailsOnce(AnalyticBackend):
    """Answers NONFINITE at the first attempt of step 2."""

    def equilibrate(self, request: EquilibrateRequest):
        answer = super().equilibrate(request)
        if request.key.step == 2 and request.key.attempt == 0:
            return dataclasses.replace(answer, outcome=Outcome.NONFINITE, weights=())
        return answer


def test_a_numerical_failure_halves_the_step_and_restarts_from_the_last_accepted_weights(tmp_path):
    rows, end = walk(tmp_path, FailsOnce(A))
    failed = next(row for row in rows if not row.accepted)
    again = rows[rows.index(failed) + 1]
    assert end == "lam_end"
    assert (failed.step, failed.attempt, failed.outcome, failed.reason) == (2, 0, "NONFINITE", "nonfinite")
    assert (again.step, again.attempt, again.accepted) == (2, 1, True)
    assert again.step_length == pytest.approx(0.5 * failed.step_length)
    assert again.response_age == 0
    assert again.examples > failed.examples > rows[1].examples


class AlwaysFails(AnalyticBackend):
    def equilibrate(self, request: EquilibrateRequest):
        answer = super().equilibrate(request)
        return dataclasses.replace(answer, outcome=Outcome.NONFINITE, weights=()) if request.key.step else answer


def test_a_walk_that_cannot_go_on_fails_with_the_reason(tmp_path):
    with pytest.raises(WalkFailed, match="nonfinite"):
        walk(tmp_path, AlwaysFails(A))


def test_a_lag_shows_as_excess_over_earlier_models_only_if_they_are_better(tmp_path):
    rows, _ = walk(tmp_path / "exact", AnalyticBackend(A))
    assert max(row.excess for row in rows) == pytest.approx(0.0, abs=1e-12)


def test_the_response_is_carried_between_refreshes(tmp_path):
    rows, _ = walk(tmp_path, AnalyticBackend(A), refresh=4)
    assert [row.response_age for row in rows[:9]] == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert rows[1].C_gamma == rows[0].C_gamma != rows[4].C_gamma
    assert rows[0].D_lam is None


def test_the_papers_stencil_measures_maxwell_and_concavity(tmp_path):
    rows, _ = walk(tmp_path, AnalyticBackend(A), stencil="paper", refresh=1)
    assert all(abs(row.maxwell_gap) < 0.02 * abs(row.C_lam) for row in rows)
    assert all(row.hess_max_eig < 0 for row in rows)
    assert all(abs(row.first_law_residual) < 1e-2 for row in rows[1:])


@pytest.mark.parametrize("stop_at", [0, 1, 4, 7])
def test_n_steps_and_then_more_equal_all_steps_at_once(tmp_path, stop_at):
    backend = AnalyticBackend(A, lag=0.3, noise=1e-4)
    whole, _ = walk(tmp_path / "whole", backend, steps=10)
    if stop_at:
        walk(tmp_path / "parts", backend, steps=stop_at)
    parts, _ = walk(tmp_path / "parts", backend, steps=10)
    frames = [load_rows(str(tmp_path / name)).drop(columns="seconds") for name in ("whole", "parts")]
    pd.testing.assert_frame_equal(*frames, check_exact=True)
    assert len(whole) == len(parts) == 11


def test_a_finished_walk_attempts_nothing(tmp_path):
    rows, end = walk(tmp_path, AnalyticBackend(C), lam_end=50.0)
    again, same = walk(tmp_path, AnalyticBackend(C), lam_end=50.0, steps=500)
    assert again == rows
    assert same == end


class Branches(AnalyticBackend):
    """A surface of two branches: a model renewed at lam >= 1 has 10 % less D and R + lam D than the old one's."""

    BETTER = PowerSurface(kappa=9.0, a=1 / 3, b=1 / 3)

    def equilibrate(self, request: EquilibrateRequest):
        answer = super().equilibrate(request)
        marks = [self._renewed(replica) for replica in request.replicas]
        weights = [w | {"better": np.array([float(mark)])} for w, mark in zip(answer.weights, marks, strict=True)]
        return dataclasses.replace(answer, weights=tuple(weights))

    def _renewed(self, replica):
        before = replica.weights is not None and replica.weights.get("better", np.zeros(1))[0] > 0.5
        return before or (replica.renewed > 0 and replica.point.lam >= 1.0)

    def measure(self, request):
        answers = [dataclasses.replace(self, surface=self.BETTER) if self._renewed(r) else self for r in request.replicas]
        parts = [
            AnalyticBackend.measure(answer, dataclasses.replace(request, replicas=(replica,)))
            for answer, replica in zip(answers, request.replicas, strict=True)
        ]
        return dataclasses.replace(
            parts[0],
            readings=tuple(reading for part in parts for reading in part.readings),
            weights=tuple(dict(replica.weights) for replica in request.replicas),
        )

    def settle(self, request):
        better = request.weights["better"][0] > 0.5
        return AnalyticBackend.settle(dataclasses.replace(self, surface=self.BETTER) if better else self, request)


def test_a_renewal_is_kept_where_it_is_better_and_the_walk_goes_on_from_it(tmp_path):
    rows, end = walk(tmp_path, Branches(A), renewal=RenewalConfig(every=0.5))
    C0 = A.C(0.25, 4.0)
    rejected = [row for row in rows if row.reason == "renewal"]
    kept = [row for row in rows if row.accepted and row.step_length == 0.0]
    assert end == "lam_end"
    (first,) = kept
    assert [row.lam < first.lam for row in rejected] == [True, True, False, False]
    before = rows[rows.index(first) - 1]
    assert first.lam == before.lam >= 1.0
    assert first.R + first.lam * first.D < before.R + before.lam * before.D
    for row in rows:
        assert row.C == pytest.approx(C0, rel=5e-3)
    assert rows[-1].gamma == pytest.approx(Branches.BETTER.gamma_on_iso_c(3.5, C0), rel=1e-2)


def test_where_there_is_one_branch_every_renewal_is_rejected_and_nothing_else_changes(tmp_path):
    plain, _ = walk(tmp_path / "plain", AnalyticBackend(A))
    tried, _ = walk(tmp_path / "tried", AnalyticBackend(A), renewal=RenewalConfig(every=0.5))
    accepted = [row for row in tried if row.accepted]
    assert len(tried) > len(accepted)
    assert [(row.lam, row.gamma, row.C) for row in accepted] == [(row.lam, row.gamma, row.C) for row in plain]
