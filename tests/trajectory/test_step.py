"""One step: training in rounds, the response that it measures or carries, and what a numerical failure leads to."""

import dataclasses

import numpy as np
import pytest

from analytic_walks import A, B, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import StencilConfig, configure
from rayfe.exceptions import UsageError, WalkFailed
from rayfe.records import EquilibrateRequest, Outcome


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


def test_where_C_lies_outside_the_chart_the_model_is_trained_on_from_its_bound(tmp_path):
    """A training or two more than a step whose chart reaches far enough, and no stencil or rejected attempt."""
    steps = {
        delta: walk(tmp_path / str(delta), AnalyticBackend(B), step_length=0.4, neighbours=StencilConfig(gamma_delta=delta))[0]
        for delta in (0.005, 0.3)
    }
    narrow, wide = steps.values()
    assert all(row.accepted for row in narrow)
    assert all(row.C == pytest.approx(B.C(0.25, 4.0), rel=2e-3) for row in narrow)
    assert [row.gamma for row in narrow] == pytest.approx([row.gamma for row in wide], rel=5e-3)
    spent = np.diff([row.examples for row in narrow]) / np.diff([row.examples for row in wide])
    assert (spent > 1.2).sum() >= 4
    assert spent.max() < 2.2  # a stencil has three models


class AlwaysFails(AnalyticBackend):
    def equilibrate(self, request: EquilibrateRequest):
        answer = super().equilibrate(request)
        return dataclasses.replace(answer, outcome=Outcome.NONFINITE, weights=()) if request.key.step else answer


def test_a_walk_that_cannot_go_on_fails_with_the_reason(tmp_path):
    with pytest.raises(WalkFailed, match="a number became infinite or undefined"):
        walk(tmp_path, AlwaysFails(A))


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


@pytest.mark.parametrize("process", ["iso-classification", "iso-functional"])
def test_exact_derivatives_walk_without_neighbours_and_say_how_far_from_equilibrium_they_are(tmp_path, process):
    options = {"process": process, "derivatives": "implicit", "refresh": 2, "steps": 10, "lam": (0.5,), "gamma": (2.0,)}
    options |= {"functional": (1.0, 0.5, 1.0)} if process == "iso-functional" else {}
    options |= {"tolerance": 1e-3, "step_length": 0.1}
    rows, _ = walk(tmp_path / "exact", AnalyticBackend(A), **options)
    assert all(row.D_lam == pytest.approx(A.D_lam(row.lam, row.gamma), rel=0.1) for row in rows if row.response_age == 0)
    assert all(abs(row.held_drift) < 1e-3 for row in rows[1:] if row.accepted)
    assert {row.decrement is None for row in rows if row.response_age == 0} == {False}
    lagging, _ = walk(tmp_path / "lagging", AnalyticBackend(A, lag=0.3), **options)
    assert max(row.decrement for row in lagging if row.decrement is not None) > 1e-6
    assert max(row.decrement for row in rows if row.decrement is not None) < 1e-9


def test_exact_derivatives_in_t_do_not_exist_and_are_refused():
    with pytest.raises(UsageError, match="derivatives='implicit': is for walks"):
        configure(process="constant-rate", derivatives="implicit")
