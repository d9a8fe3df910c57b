"""Routes of the alternatives on closed-form surfaces, where the right gamma is known."""

import dataclasses
import math
from functools import partial

import numpy as np
import pytest

from analysis.benchmark.methods import TrainOnce, WarmGrid
from analysis.benchmark.reference import points
from analysis.benchmark.settings import BEYOND, LEAP, configured, defaults
from rayfe.backend.analytic import EXAMPLES, AnalyticBackend
from rayfe.config import configure
from rayfe.records import EquilibrateRequest, MeasureRequest, Replica
from rayfe.storage.store import Store, load_rows
from rayfe.trajectory.driver import advance, open_trajectory
from rayfe.trajectory.trajectory import Trajectory
from tests.helpers.analytic_walks import A, Branches

BASE = configure(lam=(0.25,), gamma=(4.0,), lam_end=1.0, step_length=math.log(4.0) / 10, steps=100)
C0 = A.C(0.25, 4.0)


class Follower(WarmGrid):
    """Trains with the last point's gamma; settles do the rest."""

    follows = True


def along(folder, backend, method, course):
    """Rows of a method from the start's own equilibrium to its end, and how that is called."""
    settings = defaults(BASE, BASE.equilibration)[method]
    config, store = configured(BASE, settings), Store(folder)
    (start,) = config.trajectories().values()
    trajectory = open_trajectory(config, start, store)
    advance(trajectory, backend, store)
    (row,) = store.rows(start.name)
    trajectory = Trajectory(
        config, start, [row], state=store.state(row), carry=store.carry(row), course=course(settings=settings)
    )
    while trajectory.finished is None:
        advance(trajectory, backend, store)
    return load_rows(folder), trajectory.finished


def test_any_trainer_goes_beyond_the_end_and_back_and_there_again_over_the_same_lam(tmp_path):
    rows, end = along(tmp_path, AnalyticBackend(A, lag=0.2), "geco-both", Follower)
    legs = {leg: frame.lam.tolist() for leg, frame in rows.groupby("leg")}
    assert legs["there"] == sorted(legs["there"]) and legs["back"] == sorted(legs["back"], reverse=True)
    assert max(legs["there"]) == pytest.approx(math.exp(BEYOND["both"] * BASE.asked.step_length))
    assert set(legs["back"]) | set(legs["there_again"]) <= set(legs["there"])
    assert rows.C.to_numpy() == pytest.approx(C0, rel=5e-3) and (rows.process[1:] == "geco-both").all()
    assert end in ("met", "returned") and points(rows).lam.is_unique


def test_a_trainer_leaps_as_the_walk_does_and_comes_back_on_the_better_branch(tmp_path):
    rows, _ = along(tmp_path, Branches(A), "geco-leap", Follower)
    (leap,) = rows[rows.kind == "leap"].itertuples()
    before, after = rows[rows.step < leap.step], rows[rows.step > leap.step]
    assert leap.accepted and leap.process == "geco-leap"
    assert leap.lam == pytest.approx(math.exp(BEYOND["leap"] * BASE.asked.step_length))
    assert leap.gamma == pytest.approx(Branches.BETTER.gamma_on_iso_c(leap.lam, C0), rel=1e-2)
    assert math.log(before.lam.max() / 0.25) >= LEAP.every > math.log(before.lam.iloc[-2] / 0.25)
    assert after.leg.iloc[0] == "back" and rows.C.to_numpy() == pytest.approx(C0, rel=5e-3)
    there, back = (rows[(rows.leg == leg) & (rows.lam == before.lam.iloc[-1])].iloc[0] for leg in ("there", "back"))
    assert back.R + back.lam * back.D < there.R + there.lam * there.D


def test_a_warm_grid_that_leapt_keeps_the_gamma_of_its_landing(tmp_path):
    rows, _ = along(tmp_path, Branches(A), "warm-grid-leap", WarmGrid)
    (leap,) = rows[rows.kind == "leap"].itertuples()
    back = rows[rows.leg == "back"]
    assert (back.gamma - back.settle_shift).to_numpy() == pytest.approx(leap.gamma)


class Counting(AnalyticBackend):
    """Notes the step of every model that is trained and of every reading of a part, on which C is `bias` times that of all."""

    bias = 1.0

    def __init__(self, *arguments, **words):
        super().__init__(*arguments, **words)
        self.steps, self.parts = [], []

    def equilibrate(self, request: EquilibrateRequest):
        self.steps += [request.key.step] * len(request.replicas)
        return super().equilibrate(request)

    def measure(self, request: MeasureRequest):
        found = super().measure(request)
        if not request.part or request.key.step == 0:
            return found
        self.parts += [request.key.step]
        readings = tuple(dataclasses.replace(reading, C=self.bias * reading.C) for reading in found.readings)
        return dataclasses.replace(found, readings=readings)


def anywhere(at, weights):
    return Replica(name="settled", point=at, weights=None)


def test_gamma_of_one_model_is_looked_for_only_where_it_was_trained(tmp_path):
    rows, _ = along(tmp_path, AnalyticBackend(A), "warm-grid", partial(TrainOnce, becomes=anywhere, gammas=(4.0, 4.5)))
    assert rows.gamma.between(4.0, 4.5).all() and rows.gamma.iloc[-1] in (4.0, 4.5)
    assert abs(rows.C.iloc[-1] / C0 - 1.0) > BASE.asked.tolerance


@pytest.mark.parametrize("bias", [1.0, 1.03])
def test_one_model_for_all_points_is_trained_once_and_its_gamma_is_found_by_reading_parts(tmp_path, bias):
    """A new model of the closed form is at equilibrium at its point, as a conditioned one is at any."""
    backend = Counting(A)
    backend.bias = bias

    def course(settings):
        return TrainOnce(settings=settings, becomes=anywhere, gammas=(0.1, 100.0))

    rows, end = along(tmp_path, backend, "warm-grid", course)
    after = rows[rows.step > 0]
    assert end == "lam_end" and len(after) == 10 and [step for step in backend.steps if step > 0] == [1]
    assert after.C.to_numpy() == pytest.approx(C0, rel=0.25 * BASE.asked.tolerance)
    assert after.gamma.tolist() == pytest.approx([A.gamma_on_iso_c(lam, C0) for lam in after.lam], rel=1e-2)
    each = rows.examples.diff().iloc[1:].to_numpy()
    readings = 3 * (each - [EXAMPLES, *[0.0] * 9]) / EXAMPLES
    parts = np.bincount(backend.parts)[1:]
    # one of all to confirm, once more where the first point shows what a part is worth, and one of each split to judge by: all count
    assert (readings - parts).tolist() == pytest.approx([3.0 if bias == 1.0 else 4.0, *[3.0] * 9])
    assert parts.max() <= 5
