"""The envelope of stored models: the excess over it, and steps that start from an earlier model or another run's."""

import dataclasses
import shutil

import numpy as np
import pytest

from analytic_walks import A, Branches, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.records import EquilibrateRequest
from rayfe.storage.store import Store
from rayfe.surface.closed_form import PowerSurface


def test_a_lag_shows_as_excess_over_earlier_models_only_if_they_are_better(tmp_path):
    rows, _ = walk(tmp_path / "exact", AnalyticBackend(A))
    assert max(row.excess for row in rows) == pytest.approx(0.0, abs=1e-12)


class Falls(Branches):
    """Training at step 4 falls into a branch with 10 % more D and C, which models trained from there do not leave."""

    BETTER = PowerSurface(kappa=11.0, a=1 / 3, b=1 / 3)

    def equilibrate(self, request: EquilibrateRequest):
        answer = AnalyticBackend.equilibrate(self, request)
        marks = [request.key.step == 4 or self._renewed(replica) for replica in request.replicas]
        weights = [w | {"better": np.array([float(mark)])} for w, mark in zip(answer.weights, marks, strict=True)]
        return dataclasses.replace(answer, weights=tuple(weights))

    def _renewed(self, replica):
        return replica.weights is not None and replica.weights.get("better", np.zeros(1))[0] > 0.5


def test_a_step_starts_from_the_earlier_model_that_the_envelope_says_is_better(tmp_path):
    plain, _ = walk(tmp_path / "plain", Falls(A))
    restarted, end = walk(tmp_path / "restarted", Falls(A), restart=0.01)
    C0 = A.C(0.25, 4.0)
    assert end == "lam_end"
    found = {row.step: row.restarted_from for row in restarted if row.accepted}
    assert found.pop(5) == 3
    assert set(found.values()) == {None}
    assert {row.restarted_from for row in plain} == {None}
    for row in restarted:
        assert not row.accepted or row.C == pytest.approx(C0, rel=5e-3)
    assert restarted[-1].F == pytest.approx(A.F(3.5, A.gamma_on_iso_c(3.5, C0)), rel=5e-3)
    assert plain[-1].F > 1.05 * restarted[-1].F
    walk(tmp_path / "parts", Falls(A), restart=0.01, steps=4)
    parts, _ = walk(tmp_path / "parts", Falls(A), restart=0.01)
    assert [dataclasses.replace(row, seconds=0.0) for row in parts] == [
        dataclasses.replace(row, seconds=0.0) for row in restarted
    ]


class HandsOn(Falls):
    """Leaves second moments and how far its last iterate was ahead; keeps what each step's training was given."""

    given: dict[int, set[str]] = {}  # of the one walk of its test

    def equilibrate(self, request: EquilibrateRequest):
        self.given[request.key.step] = set(request.preconditioner or {})
        left = {"second_moment/w": np.ones(1), "ahead/w": np.ones(1)}
        return dataclasses.replace(super().equilibrate(request), preconditioner=left)


def test_an_earlier_model_does_not_start_ahead_of_itself_by_what_another_one_was(tmp_path):
    backend = HandsOn(A)
    rows, _ = walk(tmp_path / "run", backend, restart=0.01)
    assert {row.step: row.restarted_from for row in rows if row.accepted}[5] == 3
    assert backend.given.pop(5) == {"second_moment/w"}
    del backend.given[0]
    assert set(map(frozenset, backend.given.values())) == {frozenset({"second_moment/w", "ahead/w"})}


class Misses(Falls):
    """The model of step 4 alone misses what a dimension of z could carry."""

    def _certified(self, request, model, reading):
        found = super()._certified(request, model, reading)
        if found.certificate is None:
            return found
        missed = 1e9 if request.key.step == 4 else 0.0
        return dataclasses.replace(found, R_dims=(0.0, 1.0), certificate=dataclasses.replace(found.certificate, missed=missed))


def test_an_earlier_model_takes_up_what_it_missed_itself_and_not_what_the_last_one_did(tmp_path):
    """No dimension of a model on a closed surface can take anything up: 0 where it was asked to."""
    plain, _ = walk(tmp_path / "plain", Misses(A), steps=5)
    restarted, _ = walk(tmp_path / "restarted", Misses(A), restart=0.01, steps=5)
    assert (plain[-1].step, plain[-1].restarted_from, plain[-1].taken_up) == (5, None, 0)
    assert (restarted[-1].step, restarted[-1].restarted_from, restarted[-1].taken_up) == (5, 3, None)


def test_models_of_other_runs_bound_F_and_are_started_from(tmp_path):
    walk(tmp_path / "other", AnalyticBackend(A), steps=12)
    Store(tmp_path / "other").create({})
    known = {"known_runs": (str(tmp_path / "other"),)}
    told, _ = walk(tmp_path / "told", Falls(A), steps=5, **known)
    (at,) = [row for row in told if row.step == 4 and row.accepted]
    assert at.excess == pytest.approx(at.F - A.F(at.lam, at.gamma), rel=0.05)
    assert {row.restarted_from for row in told} == {None}
    restarted, _ = walk(tmp_path / "restarted", Falls(A), restart=0.01, **known)
    (back,) = [row for row in restarted if row.restarted_run and row.accepted]
    assert (back.step, back.restarted_run) == (5, "other lam0.25-gamma4-seed0")
    assert back.restarted_from == 5  # the other walk was at this place by then, this one's own models only near
    assert back.F == pytest.approx(A.F(back.lam, back.gamma), rel=1e-3)
    shutil.rmtree(tmp_path / "other")
    with pytest.raises(FileNotFoundError, match="no run at .*other"):
        walk(tmp_path / "told", Falls(A), steps=6, **known)


def test_on_one_branch_nothing_is_better_than_the_last_model_by_much(tmp_path):
    rows, _ = walk(tmp_path, AnalyticBackend(A, lag=0.2), restart=0.01)
    assert {row.restarted_from for row in rows} == {None}
