"""Processes by name: walks that keep a functional a R + b D + c C, and a process of one's own."""

import math

import numpy as np
import pytest

from analytic_walks import A, B, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.exceptions import UsageError
from rayfe.records import Held, Outcome, Point, Velocity
from rayfe.surface.process import Process
from rayfe.trajectory.process_registry import process_class


def functional_walk(folder, backend, lam, gamma, weights, **options):
    """A walk that keeps a R + b D + c C."""
    starts = {"lam": (lam,), "gamma": (gamma,), "process": "iso-functional", "functional": weights, "stencil": "paper"}
    return walk(folder, backend, **(starts | {"step_length": 0.15, "tolerance": 1e-3} | options))


@pytest.mark.parametrize("surface", [A, B], ids=["A", "B"])
def test_a_level_set_is_a_closed_curve_around_its_stationary_point(tmp_path, surface):
    a, b, c = 1.0, 1.0, 2.0
    rows, end = functional_walk(tmp_path, AnalyticBackend(surface), 0.6, 2.0, (a, b, c))
    rows = [row for row in rows if row.accepted]
    G = [a * row.R + b * row.D + c * row.C for row in rows]
    assert end == "closed"
    assert max(G) - min(G) < 2e-3 * G[0]
    lam, gamma = ([getattr(row, name) for row in rows] for name in ("lam", "gamma"))
    assert min(lam) < b / a < max(lam)
    assert min(gamma) < c / a < max(gamma)
    turns = np.unwrap(np.arctan2(np.log(np.array(gamma) / (c / a)), np.log(np.array(lam) / (b / a))))
    assert abs(turns[-1] - turns[0]) == pytest.approx(2 * math.pi, abs=0.6)
    assert all(row.C_target is None and abs(row.held_drift) < 1e-3 for row in rows[1:])


@pytest.mark.parametrize(("weights", "kept"), [((1.0, 0.0, 0.0), "R"), ((0.0, 1.0, 0.0), "D"), ((0.0, 0.0, 1.0), "C")])
def test_one_functional_alone_can_be_kept(tmp_path, weights, kept):
    rows, end = functional_walk(tmp_path, AnalyticBackend(A), 0.5, 2.0, weights, steps=8)
    accepted = [row for row in rows if row.accepted]
    values = {name: [getattr(row, name) for row in accepted] for name in ("R", "D", "C")}
    assert end == "steps"
    for name, course in values.items():
        spread = (max(course) - min(course)) / course[0]
        assert spread < 2e-3 if name == kept else spread > 0.05


def test_where_the_functional_is_stationary_the_walk_stops_by_name(tmp_path):
    rows, end = functional_walk(tmp_path, AnalyticBackend(A), 1.0, 2.0, (1.0, 1.0, 2.0))
    assert (end, rows[-1].reason, rows[-1].outcome) == ("stationary", "stationary", Outcome.SINGULAR)


class ConstantMultiplier(Process):
    """A user's process: gamma stays, lam grows; nothing is held but the walk's own record of C."""

    moved_by = ("gamma",)

    @property
    def held(self):
        return (Held(C=1.0),)

    def velocity(self, point, response):
        return Velocity(lam=0.1, gamma=0.0)

    def left(self, point):
        return 1.0 - point.lam

    def moved(self, point, velocity, length):
        return Point(lam=point.lam + length, gamma=point.gamma, t=point.t)


def test_a_process_of_ones_own_is_named_by_its_path(tmp_path):
    own = f"{__name__}:ConstantMultiplier"
    rows, end = walk(tmp_path, AnalyticBackend(A), process=own, settle=False, step_length=0.1)
    assert end == "end"
    assert rows[-1].lam == pytest.approx(1.0)
    assert {row.gamma for row in rows} == {4.0}
    assert {row.process for row in rows} == {own}


@pytest.mark.parametrize("name", ["nowhere:Process", f"{__name__}:walk", "isoclassification"])
def test_a_process_that_is_none_is_refused(name):
    with pytest.raises(UsageError, match="process="):
        process_class(name)
