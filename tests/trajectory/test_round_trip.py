"""There, back and there again: the same lam from the other side, and once more as long as that is lower."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from analytic_walks import A, Branches, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import RenewalConfig, configure
from rayfe.exceptions import UsageError
from rayfe.records import EquilibrateRequest, Outcome
from rayfe.results.error_bars import error_bars
from rayfe.results.frames import counted_steps
from rayfe.results.walk_summary import summarize, way_there
from rayfe.trajectory.round_trip import MET, RETURNED, current_way
from rayfe.trajectory.standing import seconds_left, standing, way_done


def ways(rows):
    """Accepted rows of the way there, of the way back, and of the way there again."""
    accepted = [row for row in rows if row.accepted]
    away = [abs(math.log(row.lam / accepted[0].lam)) for row in accepted]
    top = max(range(len(away)), key=lambda place: (away[place], place))
    home = min(range(top, len(away)), key=lambda place: (away[place], place))
    return accepted[: top + 1], accepted[top + 1 : home + 1], accepted[home + 1 :]


def J(row, gamma):
    return row.R + row.lam * row.D + gamma * row.C


@pytest.mark.parametrize("lam_end", [3.5, 0.05])
def test_a_walk_goes_back_over_the_same_lam_and_holds_C(tmp_path, lam_end):
    rows, end = walk(tmp_path, AnalyticBackend(A), both_ways=True, lam_end=lam_end)
    there, back, again = ways(rows)
    assert end == MET
    assert [row.lam for row in back] == [row.lam for row in reversed(there[:-1])]
    assert [row.lam for row in again] == [row.lam for row in there[1:3]]  # as low as before, not lower
    for row in (*back, *again):
        assert row.C == pytest.approx(A.C(0.25, 4.0), rel=5e-3)
        assert row.gamma == pytest.approx(A.gamma_on_iso_c(row.lam, A.C(0.25, 4.0)), rel=1e-2)


def test_the_way_there_is_that_of_a_walk_that_does_not_return(tmp_path):
    one, _ = walk(tmp_path / "one", AnalyticBackend(A, lag=0.3))
    both, _ = walk(tmp_path / "both", AnalyticBackend(A, lag=0.3), both_ways=True)
    assert [(row.lam, row.gamma, row.D) for row in both[: len(one)]] == [(row.lam, row.gamma, row.D) for row in one]


@pytest.mark.parametrize("steps", [5, 7, 10])
def test_no_rounding_error_is_left_of_a_way_that_steps_divide(tmp_path, steps):
    backend = AnalyticBackend(A, training_noise=0.01)
    rows, end = walk(tmp_path, backend, both_ways=True, step_length=math.log(14) / steps, tolerance=0.01)
    assert end == MET
    assert [len(way) for way in ways(rows)] == [steps + 1, steps, 2]


@pytest.mark.parametrize("length", [0.2639, 0.13192])
def test_a_short_last_step_does_not_tell_the_way_back_where_gamma_goes(tmp_path, length):
    """What is left of the way there, 6e-5 and 7e-4 of log lam, has the settles' noise and no slope."""
    rows, end = walk(tmp_path, AnalyticBackend(A, training_noise=0.01), both_ways=True, step_length=length, tolerance=0.01)
    assert end == MET
    assert all(row.accepted for row in rows)
    assert min(row.step_length for row in rows[1:]) < 1e-3


def test_errors_take_each_way_for_itself(tmp_path):
    """The way back, on the other side of the surface, does not change the error bars of the way there."""
    one, _ = walk(tmp_path / "one", AnalyticBackend(A, lag=0.3))
    both, _ = walk(tmp_path / "both", AnalyticBackend(A, lag=0.3), both_ways=True)
    alone, together = (error_bars(pd.DataFrame([dataclasses.asdict(row) for row in rows])) for rows in (one, both))
    assert together["D_training_se"].iloc[: sum(map(len, ways(both)[:2]))].notna().all()
    pd.testing.assert_frame_equal(together.iloc[: len(one)], alone)


class EnteredFromAbove(Branches):
    """The better branch is that of models that have once been at lam = 3.5, and the worse one below lam = 0.8."""

    CROSSES = 0.8

    def _renewed(self, replica):
        before = replica.weights is not None and replica.weights.get("better", np.zeros(1))[0] > 0.5
        return before or replica.point.lam >= 3.49

    def measure(self, request):
        answer = super().measure(request)
        better = {replica.name: self._renewed(replica) for replica in request.replicas}
        readings = [
            dataclasses.replace(r, R=r.R + better[r.replica] * (self.excess(r) if r.point.lam < self.CROSSES else 0.0))
            for r in answer.readings
        ]
        return dataclasses.replace(answer, readings=tuple(readings))

    def excess(self, reading):
        """What puts the better branch 1 % above the other one."""
        lam, gamma = reading.point.lam, reading.point.gamma
        return 1.01 * A.F(lam, gamma) - self.BETTER.F(lam, gamma)


def test_the_way_back_ends_where_the_way_there_was_lower(tmp_path):
    rows, end = walk(tmp_path, EnteredFromAbove(A), both_ways=True)
    there, back, _ = ways(rows)
    assert end == MET
    forward = {row.lam: row for row in there}
    lower = [J(row, row.gamma) < J(forward[row.lam], row.gamma) for row in back]
    assert lower == [row.lam >= EnteredFromAbove.CROSSES for row in back]
    assert lower[-3:] == [True, False, False]


class BestFromBelow(EnteredFromAbove):
    """And a third branch, of models of the second that have been at lam < 0.7: 1 % lower up to lam = 1.5, no lower beyond."""

    UP_TO = 1.5

    def equilibrate(self, request: EquilibrateRequest):
        answer = super().equilibrate(request)
        been = [self._renewed(replica) and self._been_below(replica) for replica in request.replicas]
        weights = [w | {"below": np.array([float(mark)])} for w, mark in zip(answer.weights, been, strict=True)]
        return dataclasses.replace(answer, weights=tuple(weights))

    def _been_below(self, replica):
        before = replica.weights is not None and replica.weights.get("below", np.zeros(1))[0] > 0.5
        return before or replica.point.lam < 0.7

    def measure(self, request):
        answer = super().measure(request)
        best = {
            r.name: r.weights.get("below", np.zeros(1))[0] > 0.5 and 0.7 <= r.point.lam < self.UP_TO for r in request.replicas
        }
        readings = [dataclasses.replace(r, R=r.R - 0.01 * r.F * best[r.replica]) for r in answer.readings]
        return dataclasses.replace(answer, readings=tuple(readings))


def test_the_way_there_again_goes_as_far_as_it_is_lower_and_holds_C(tmp_path):
    rows, end = walk(tmp_path, BestFromBelow(A), both_ways=True)
    there, back, again = ways(rows)
    assert end == MET
    before = {row.lam: [other for other in (*there, *back) if other.lam == row.lam] for row in again}
    lower = [J(row, row.gamma) < (1.0 - 1e-3) * min(J(other, row.gamma) for other in before[row.lam]) for row in again]
    within = [0.7 <= row.lam < BestFromBelow.UP_TO for row in again]
    assert lower == within
    assert sum(lower) >= 5 and lower[-2:] == [False, False] and lower[-3]
    assert [row.lam for row in again] == sorted({row.lam for row in again})
    for row in again:
        assert row.C == pytest.approx(A.C(0.25, 4.0), rel=5e-3)
    counted = counted_steps(pd.DataFrame([dataclasses.asdict(row) for row in rows]))
    assert set(counted["step"]) >= {row.step for row, best in zip(again, lower, strict=True) if best}


def test_a_way_there_again_may_go_to_the_end_and_summary_and_verdict_know_where_the_walk_turned(tmp_path):
    class Best(BestFromBelow):
        UP_TO = math.inf

    rows, end = walk(tmp_path, Best(A), both_ways=True)
    there, back, again = ways(rows[: [row.lam for row in rows].index(3.5) + 1])
    assert end == RETURNED and rows[-1].lam == 3.5
    frame = pd.DataFrame([dataclasses.asdict(row) for row in rows])
    assert len(way_there(frame)) == len(there) and not back and not again
    assert summarize(frame, 0.005)["gamma_end"].item() == there[-1].gamma


def test_rejected_full_steps_do_not_keep_a_way_from_ending(tmp_path):
    class OnlyHalfSteps(AnalyticBackend):
        """Every other step, a full one, diverges after the walk has come back, so that it comes to a lam of before by the next."""

        came_back = False

        def equilibrate(self, request: EquilibrateRequest):
            answer = super().equilibrate(request)
            self.__dict__["came_back"] = self.came_back or (request.key.step > 35 and request.replicas[0].point.lam == 0.25)
            fails = self.came_back and request.key.attempt == 0 and request.key.step % 2 == 0
            return dataclasses.replace(answer, outcome=Outcome.NONFINITE, weights=()) if fails else answer

    rows, end = walk(tmp_path, OnlyHalfSteps(A), both_ways=True)
    again = ways(rows)[2]
    assert any(row.reason == "nonfinite" for row in rows)
    assert end == MET and again[-1].lam < 0.5


def test_progress_counts_all_ways(tmp_path):
    rows, _ = walk(tmp_path, AnalyticBackend(A), both_ways=True)
    config = configure(lam=(0.25,), gamma=(4.0,), steps=100, both_ways=True)
    accepted = [row for row in rows if row.accepted]
    done = [way_done(accepted[: count + 1], config) for count in range(len(accepted))]
    assert done[0] == 0.0 and done[-1] == 1.0 and (np.diff(done) > 0).all()
    assert [part for part, row in zip(done, accepted, strict=True) if row.lam == 3.5] == [pytest.approx(1 / 3)]
    assert standing(rows, config).where.startswith("no longer lower at lam")
    assert standing(rows[: len(rows) // 2 + 1], config).where.startswith("at step")
    assert seconds_left(rows, config) == 0.0


def test_renewals_are_for_the_way_there(tmp_path):
    rows, end = walk(tmp_path, Branches(A), both_ways=True, renewal=RenewalConfig(every=0.5))
    top = min(place for place, row in enumerate(rows) if row.lam == 3.5)
    assert any(row.accepted and row.step_length == 0.0 for row in rows[1:top])
    assert not any(row.reason == "renewal" or row.step_length == 0.0 for row in rows[top + 1 :])
    assert end in (MET, RETURNED)


def test_a_walk_that_was_interrupted_on_its_way_back_knows_where_it_was(tmp_path):
    rows, _ = walk(tmp_path, AnalyticBackend(A), both_ways=True)
    config = configure(lam=(0.25,), gamma=(4.0,), both_ways=True)
    accepted = [row for row in rows if row.accepted]
    for count in range(1, len(accepted)):
        way = current_way(config, accepted[:count])
        assert way.process.lam_end == (accepted[count].lam if way.over_again else config.asked.lam_end)


def test_other_processes_do_not_return():
    with pytest.raises(UsageError, match="is for walks, not for") as refused:
        configure(seek=("C=0.1", "R=12"), both_ways=True)
    assert refused.value.name == "both_ways"
