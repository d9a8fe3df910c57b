"""The line of a geodesic: by how much a step may miss it, what fixes its slope, and whether a transfer closes."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from analytic_walks import SURFACE, transfer
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import configure
from rayfe.exceptions import WalkFailed
from rayfe.records import EquilibrateRequest, Held, Point, Reading, Split
from rayfe.records.carried import Remembered
from rayfe.storage.store import Store
from rayfe.surface.closed_form import MovingPowerSurface
from rayfe.surface.data_processes import Geodesic, line_length
from rayfe.surface.equivalence import is_equivalent
from rayfe.trajectory.constraint import Holding
from rayfe.trajectory.draws import Limit, Sets, needed
from rayfe.trajectory.line import GeodesicLine, allowed_off_line, line_between, require_line
from stored_steps import step_record

GEODESIC = configure(process="geodesic", stencil="paper", lam=(2.0,), gamma=(8.0,), tolerance=0.01)


def reading(R, D, lam=2.0):
    zero = dict.fromkeys(("accuracy", "R_se", "D_se", "C_se"), 0.0)
    return Reading(replica="settled", split=Split.TRAIN, point=Point(lam=lam, gamma=8.0), update=0, R=R, D=D, C=0.1, **zero)


def distance_in_nats(start, line, R, D):
    """Of a point (R, lam D) from the line, by the cross product."""
    lam, k = start.point.lam, line.k
    along, off = (1.0, lam * k), (R - start.R, lam * (D - start.D))
    return abs(along[0] * off[1] - along[1] * off[0]) / math.hypot(*along)


@pytest.mark.parametrize("end", [(18.1, 12.9), (18.1, 12.4), (17.6, 12.9), (18.5, 11.9)])
def test_a_model_may_be_off_its_line_by_a_part_of_its_length_whatever_way_it_goes(end):
    """Also where D is the same at both ends, or R almost: beside D + |k| R a line is short, and k says nothing of its length."""
    start = reading(17.57, 12.36)
    line = line_between(start, reading(*end), gamma=10.0, moved=0.0)
    allowed = allowed_off_line(GEODESIC, start, line)
    length = line_length(2.0, end[0] - 17.57, end[1] - 12.36)
    for sign in (1.0, -1.0):
        assert distance_in_nats(start, line, 17.8, 12.36 + line.k * 0.23 + sign * allowed) == pytest.approx(0.05 * length)


def test_where_k_is_given_D_may_be_off_by_the_tolerance():
    assert allowed_off_line(GEODESIC, reading(17.57, 12.36), GeodesicLine(k=-3.0)) == pytest.approx(0.01 * 12.36)


def test_the_error_of_a_distance_from_the_line_has_the_noise_of_draws_in_R():
    """It is in common with D's and C's, by block of examples."""
    k, noise = -2.0, {"C_noise": (9.0, 9.0), "D_noise": (0.3, 0.1), "R_noise": (0.1, -0.2)}
    before = {"C_noise": np.zeros(2), "D_noise": np.array([0.1, 0.0]), "R_noise": np.array([0.0, 0.1])}
    kept = Remembered(**before, sets=np.ones((1, 2)), targets=np.ones((1, 1)))
    start = step_record(0, R=17.0, D=12.0, k=k)
    holding = Holding(config=GEODESIC, process=Geodesic(k=k), start=start, kept=kept)
    miss = holding.line_miss(dataclasses.replace(reading(17.5, 11.5), **noise))
    assert miss == pytest.approx((0.5, math.hypot(0.2 + 2.0 * 0.1, 0.1 + 2.0 * -0.3)))


def test_more_draws_are_taken_where_R_has_an_error_of_them():
    closed, drawn = reading(17.0, 12.0), dataclasses.replace(reading(17.0, 12.0), R_se=0.01)
    limit = Limit(held=Held(R=2.0, D=1.0), allowed=0.01)
    assert needed((limit,), closed, Sets()) == Sets()
    assert needed((limit,), drawn, Sets()).head > 1 == needed((limit,), drawn, Sets()).decoder


def test_ends_that_training_moves_as_far_as_they_are_apart_fix_no_slope():
    start, end = reading(17.5, 12.3), reading(18.1, 12.8)
    apart = math.hypot(0.6, 2.0 * 0.5)
    for part, fixed in ((1.01, False), (0.99, True)):
        line = line_between(start, end, gamma=10.0, moved=part * apart)
        assert (line.k == pytest.approx(0.5 / 0.6)) if fixed else (line.k is None)
        assert (line.R, line.D) == (18.1, 12.8)
    assert line_between(start, reading(17.5, 13.0), gamma=10.0, moved=0.0).k is None  # no D over R


NEAR = MovingPowerSurface(kappa=10.0, a=0.3, b=1 / 3, kappa_t=0.3)
"""Moves little with t: the ends of a line lie near each other."""


class Restless(AnalyticBackend):
    """A model of the target has other multipliers until it is trained on, so that C is settled at another R and D first."""

    def equilibrate(self, request: EquilibrateRequest):
        answer = super().equilibrate(request)
        if request.replicas[0].name != "centre" or request.replicas[0].point.t != 1.0 or request.round >= 12:
            return answer
        weights = tuple({"multipliers": w["multipliers"] * [1.3, 1.0]} for w in answer.weights)
        return dataclasses.replace(answer, weights=weights)


def start_of(folder):
    (start,) = Store(str(folder)).rows("lam2-gamma8-seed0")
    return start


def test_ends_too_near_are_an_error_after_the_start_that_comes_again_without_work(tmp_path):
    for _ in range(2):
        with pytest.raises(WalkFailed, match=r"its ends are too near to fix k; give k, or process='constant-rate'"):
            transfer(tmp_path, Restless(NEAR), process="geodesic")
    start = start_of(tmp_path)
    assert (
        start.accepted and start.k is None and start.end_moved > line_length(2.0, start.end_R - start.R, start.end_D - start.D)
    )
    assert len(pd.read_parquet(tmp_path / "readings")) > 10  # what was trained for the end is stored, too


@pytest.mark.parametrize(
    ("R", "D", "text"),
    [
        (17.5, 13.0, r"the line from D 12.3 to D 13 is 1.4 nats long and keeps R at 17.5: .* give process='constant-rate'"),
        (17.5, 12.3001, "its ends are too near to fix k"),
        (17.5001, 12.3, "its ends are too near to fix k"),
    ],
)
def test_a_long_line_along_which_R_stays_is_not_called_too_short(R, D, text):
    line = line_between(reading(17.5, 12.3), reading(R, D), gamma=10.0, moved=0.01)
    ends = {"k": line.k, "end_gamma": line.gamma, "end_R": line.R, "end_D": line.D, "end_moved": line.moved}
    start = step_record(0, **ends, lam=2.0, R=17.5, D=12.3, C_target=0.1)
    with pytest.raises(WalkFailed, match=text):
        require_line(start)


class Unreachable(AnalyticBackend):
    """Models of the target alone have half as much C again, whatever gamma is."""

    def settle(self, request):
        answer = super().settle(request)
        return dataclasses.replace(answer, after=dataclasses.replace(answer.after, C=1.5)) if request.point.t == 1.0 else answer


def test_an_end_that_is_not_found_leaves_the_start_and_an_error_that_does_not_advise_the_same_command(tmp_path):
    with pytest.raises(WalkFailed, match=r"no model of the target alone with C = .* was found .* give k, or") as failed:
        transfer(tmp_path, Unreachable(SURFACE), process="geodesic")
    start = start_of(tmp_path)
    assert start.accepted and (start.k, start.end_R, start.end_D) == (None, None, None)
    assert "same command" not in str(failed.value)
    with pytest.raises(WalkFailed):
        require_line(start)
    given, end = transfer(tmp_path / "given", Unreachable(SURFACE), process="geodesic", k=2.0)
    assert end == "t_end" and given[-1].k == 2.0


@pytest.mark.parametrize("noise", [1e-4, 1e-3])
def test_every_accepted_row_is_on_the_line_by_its_length(tmp_path, noise):
    options = {"process": "geodesic", "tolerance": 0.01}
    rows, end = transfer(tmp_path, AnalyticBackend(SURFACE, noise=noise, memory=0.3), **options)
    assert end == "t_end"
    start = rows[0]
    lam, k = start.lam, start.k
    length = line_length(lam, start.end_R - start.R, start.end_D - start.D)
    for row in (row for row in rows[1:] if row.accepted):
        off, error = (lam * value / math.hypot(1.0, lam * k) for value in (row.line_miss, row.line_miss_se))
        assert is_equivalent(off, error, 0.05 * length * (1.0 + 1e-9))
        assert is_equivalent(row.drift, row.drift_se, 0.01)


def test_a_line_that_the_draws_cannot_see_is_refused_with_what_helps(tmp_path):
    options = {"process": "geodesic", "tolerance": 0.3}
    with pytest.raises(WalkFailed, match="its tolerance 0.05: even .* the distance from the line .* give k, whose line"):
        transfer(tmp_path, AnalyticBackend(SURFACE, noise=0.12, memory=0.3), **options)
