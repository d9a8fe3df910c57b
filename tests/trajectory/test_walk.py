"""Walks at constant C: they follow the exact line, end by name, and do not depend on where they were stopped."""

import dataclasses
import math

import pandas as pd
import pytest

from analytic_walks import A, B, C, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import configure
from rayfe.records import Outcome
from rayfe.storage.store import load_rows
from rayfe.surface.closed_form import PowerSurface


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


def test_iso_classification_walks_down_as_well_as_up(tmp_path):
    rows, end = walk(tmp_path, AnalyticBackend(A), lam=(3.5,), lam_end=0.25)
    assert (end, rows[-1].lam) == ("lam_end", 0.25)
    assert rows[-1].gamma == pytest.approx(A.gamma_on_iso_c(0.25, A.C(3.5, 4.0)), rel=2e-3)
    assert all(after.D > before.D for before, after in zip(rows, rows[1:], strict=False))


def test_gamma_reaches_zero_by_name_where_it_should(tmp_path):
    start = configure().trajectories().popitem()[1]
    C0 = C.C(start.lam, start.gamma)
    rows, end = walk(tmp_path, AnalyticBackend(C), lam_end=50.0)
    assert end == "gamma_zero"
    assert not rows[-1].accepted
    assert rows[-1].reason == "gamma_zero"
    assert rows[-1].lam == pytest.approx(C.gamma_zero_at(C0), rel=0.03)
    assert all(row.accepted for row in rows[:-1])


def test_steps_that_were_shortened_for_gamma_alone_end_by_name(tmp_path):
    rows, end = walk(tmp_path, AnalyticBackend(C), lam=(2.0,), lam_end=50.0, step_length=1.3)
    assert end == "gamma_zero"
    assert any(row.step_length < 0.05 for row in rows[1:-1])


@pytest.mark.parametrize(("step", "purpose", "replica"), [(3, "test", "settled"), (5, "settle", "gamma+")])
def test_a_model_that_is_not_finite_in_evaluation_mode_is_tried_again(tmp_path, step, purpose, replica):
    class Overflows(AnalyticBackend):
        def measure(self, request):
            answer = super().measure(request)
            if (request.key.step, request.key.attempt, request.purpose) != (step, 0, purpose):
                return answer
            broken = (dataclasses.replace(one, C=math.nan) if one.replica == replica else one for one in answer.readings)
            return dataclasses.replace(answer, readings=tuple(broken))

    rows, end = walk(tmp_path, Overflows(A))
    (failed,) = (row for row in rows if not row.accepted)
    assert end == "lam_end"
    assert (failed.step, failed.outcome, failed.reason, failed.C) == (step, "NONFINITE", "nonfinite", None)


def test_a_surface_without_response_ends_gamma_blind(tmp_path):
    class Flat(PowerSurface):
        def C(self, lam, gamma):
            return 1.0

    rows, end = walk(tmp_path, AnalyticBackend(Flat(kappa=20.0, a=0.3, b=0.3)))
    assert end == "gamma_blind"
    assert rows[-1].outcome == Outcome.SINGULAR
    assert len(rows) == 2


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
