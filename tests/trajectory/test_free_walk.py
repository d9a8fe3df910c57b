"""Walks that hold nothing: lam moves, gamma stays, no column of what is held is filled, and they go on where they stopped."""

from __future__ import annotations

import dataclasses
import math

import pytest

from analytic_walks import A, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import configure
from rayfe.exceptions import UsageError
from rayfe.figures.book import draw_all
from rayfe.records import Equilibrated, EquilibrateRequest, MeasureRequest, Outcome
from rayfe.results.walk_summary import summarize, verdict, warnings
from rayfe.storage.store import Store, load_readings, load_rows
from rayfe.trajectory.driver import advance, open_trajectory
from rayfe.trajectory.standing import standing

HELD = ("C_target", "held_drift", "drift_se", "C_before_settle", "settle_shift", "C_gamma", "C_lam", "response_age", "held_on")


class Counting(AnalyticBackend):
    """Remembers what it was asked."""

    asked: list[type] = []

    def answer(self, request):
        self.asked.append(type(request))
        return super().answer(request)


def test_lam_goes_to_its_end_at_constant_gamma_and_nothing_is_held(tmp_path):
    rows, end = walk(tmp_path, AnalyticBackend(A), process="fixed-gamma", step_length=0.3)
    assert (end, rows[-1].lam) == ("lam_end", 3.5)
    assert {row.gamma for row in rows} == {4.0}
    for before, row in zip(rows, rows[1:], strict=False):
        assert row.F == pytest.approx(A.F(row.lam, 4.0))
        assert row.step_length == pytest.approx(math.log(row.lam / before.lam))
        assert abs(row.first_law_residual) < 0.03 * abs(row.R - before.R)
    assert all(getattr(row, name) is None for row in rows for name in HELD)


def test_it_goes_down_as_well_as_up(tmp_path):
    rows, _ = walk(tmp_path, AnalyticBackend(A), process="fixed-gamma", lam=(3.5,), lam_end=0.25)
    assert all(after.lam < before.lam for before, after in zip(rows, rows[1:], strict=False))


def test_each_step_trains_one_model_once_and_settles_nothing(tmp_path):
    Counting.asked = []
    rows, _ = walk(tmp_path, Counting(A), process="fixed-gamma", step_length=0.5)
    assert Counting.asked == [EquilibrateRequest] + [EquilibrateRequest, MeasureRequest] * len(rows)


def test_a_step_that_diverges_is_halved_and_a_walk_goes_on_from_its_store(tmp_path):
    class Once(AnalyticBackend):
        failed = False

        def equilibrate(self, request):
            if request.key.step == 2 and request.key.attempt == 0:
                return Equilibrated(outcome=Outcome.NONFINITE, weights=(), preconditioner=None, readings=(), examples=1.0)
            return super().equilibrate(request)

    whole, _ = walk(tmp_path / "whole", Once(A), process="fixed-gamma", step_length=0.5)
    assert [(row.step, row.accepted, row.reason) for row in whole[2:4]] == [(2, False, "nonfinite"), (2, True, None)]
    assert whole[3].step_length == pytest.approx(0.25)
    config = configure(process="fixed-gamma", step_length=0.5, lam=(0.25,), gamma=(4.0,))
    (start,), store = config.trajectories().values(), Store(str(tmp_path / "parts"))
    while (trajectory := open_trajectory(config, start, store)).finished is None:
        advance(trajectory, Once(A), store)
    again = store.rows(start.name)
    assert [dataclasses.replace(row, seconds=0.0) for row in again] == [dataclasses.replace(row, seconds=0.0) for row in whole]


def test_a_model_that_cannot_be_read_is_not_accepted(tmp_path):
    class Unread(AnalyticBackend):
        def measure(self, request):
            answer = super().measure(request)
            if (request.key.step, request.key.attempt) != (2, 0):
                return answer
            return dataclasses.replace(answer, readings=tuple(dataclasses.replace(r, D=math.nan) for r in answer.readings))

    rows, end = walk(tmp_path, Unread(A), process="fixed-gamma", step_length=0.5)
    assert end == "lam_end"
    assert [(row.outcome, row.accepted, row.reason) for row in rows[2:4]] == [
        ("NONFINITE", False, "nonfinite"),
        ("OK", True, None),
    ]
    assert rows[3].step_length == pytest.approx(0.25)


def test_summary_figures_and_standing_speak_of_nothing_held(tmp_path):
    rows, _ = walk(tmp_path, AnalyticBackend(A), process="fixed-gamma", step_length=0.5)
    config, frame = configure(process="fixed-gamma", step_length=0.5), load_rows(tmp_path)
    (line,) = summarize(frame, config.asked.tolerance).to_dict("records")
    assert verdict(line).startswith("nothing is held; R rose")
    assert "nan" not in verdict(line)
    assert warnings(line) == []
    names = set(draw_all(frame, load_readings(tmp_path)))
    assert "dimensions.png" in names
    assert not names & {"constraint.png", "fig2b_multipliers.png"}
    assert standing(rows, config).where == "lam_end 3.5"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"gamma": (-1.0,)}, "gamma"),
        ({"gamma": (math.nan,)}, "gamma"),
        ({"stencil": "paper"}, "stencil"),
        ({"derivatives": "implicit"}, "derivatives"),
        ({"settle": False}, "settle"),
        ({"both_ways": True}, "both_ways"),
        ({"hold": "control"}, "hold"),
        ({"seek": ("C=0.1", "R=12")}, "process"),
        ({"lam": (3.5,)}, "lam"),
    ],
)
def test_what_does_not_go_with_it_is_refused(options, field):
    with pytest.raises(UsageError) as refused:
        configure(process="fixed-gamma", **options)
    assert refused.value.name == field


@pytest.mark.parametrize("process", ["iso-classification", "iso-functional", "constant-rate"])
def test_gamma_may_be_0_nowhere_else(process):
    assert configure(process="fixed-gamma", gamma=(0.0,)).gamma == (0.0,)
    with pytest.raises(UsageError, match="give process='fixed-gamma' to go without labels"):
        configure(process=process, gamma=(0.0,), stencil="paper")
