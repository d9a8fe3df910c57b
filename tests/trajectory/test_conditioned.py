"""A conditioned model's rows: all pairs of lam and gamma, one training, and more of them later."""

import dataclasses

import pytest

from analytic_walks import A, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import configure
from rayfe.exceptions import UsageError
from rayfe.records import Box, EquilibrateRequest, Kind, Point, Reading, Split
from rayfe.records.carried import Carried
from rayfe.storage.store import Store
from rayfe.trajectory.conditioned import find_point
from rayfe.trajectory.driver import advance, open_trajectory

GRID = {"process": "conditioned", "lam": (2.0, 0.5, 1.0), "gamma": (4.0, 8.0)}
PAIRS = [(0.5, 4.0), (1.0, 4.0), (2.0, 4.0), (2.0, 8.0), (1.0, 8.0), (0.5, 8.0)]


class Counting(AnalyticBackend):
    """Counts trainings."""

    trainings = 0

    def equilibrate(self, request: EquilibrateRequest):
        type(self).trainings += 1
        assert request.replicas[0].box is not None
        return super().equilibrate(request)


@pytest.fixture
def backend() -> Counting:
    Counting.trainings = 0
    return Counting(A)


def without_seconds(rows):
    return [dataclasses.replace(row, seconds=0.0) for row in rows]


def test_one_training_gives_a_model_at_every_pair(tmp_path, backend) -> None:
    rows, end = walk(tmp_path, backend, **GRID)
    assert (end, backend.trainings) == ("box", 1)
    assert [(row.lam, row.gamma) for row in rows] == PAIRS
    for row in rows:
        assert (row.R, row.D, row.C) == pytest.approx([f(row.lam, row.gamma) for f in (A.R, A.D, A.C)])
        assert (row.accepted, row.C_target, row.process) == (True, None, "conditioned")
    assert [row.kind for row in rows] == [Kind.START] + 5 * [Kind.STEP]
    (store,) = [Store(str(tmp_path))]
    assert Carried.of(store.carry(rows[-1])).conditioned is not None


def test_a_run_that_stopped_anywhere_goes_on_to_the_same_rows(tmp_path, backend) -> None:
    whole, _ = walk(tmp_path / "whole", backend, **GRID)
    config = configure(**GRID)
    (start,) = config.trajectories().values()
    store = Store(str(tmp_path / "parts"))
    for _ in PAIRS:
        advance(open_trajectory(config, start, store), backend, store)
    assert without_seconds(store.rows(start.name)) == without_seconds(whole)
    assert backend.trainings == 2


def test_more_pairs_inside_the_box_need_no_training(tmp_path, backend) -> None:
    before, _ = walk(tmp_path, backend, **GRID)
    rows, end = walk(tmp_path, backend, **GRID | {"lam": (0.5, 0.7, 2.0)})
    assert without_seconds(rows[:6]) == without_seconds(before)
    assert ([(row.lam, row.gamma) for row in rows[6:]], end) == ([(0.7, 4.0), (0.7, 8.0)], "box")
    assert backend.trainings == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": "runs/other@3"}, "start='runs/other@3': is not for conditioned models, which begin with new weights"),
        ({"gamma": (0.0, 4.0)}, "gamma=0.0: must be a positive number"),
        ({"train_workers": 2}, "train_workers=2: is not for conditioned models"),
        ({"equilibration": {"compile": "update"}}, "update.*: is not for conditioned models"),
        ({"tolerance": 0.01}, "tolerance=0.01: is for .*, not for conditioned models"),
    ],
)
def test_what_does_not_go_with_it_is_refused(options, message) -> None:
    with pytest.raises(UsageError, match=message):
        configure(**GRID | options)


class Counted:
    """Reads the closed form, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, point: Point) -> Reading:
        self.count += 1
        values = {name: getattr(A, name)(point.lam, point.gamma) for name in "RDC"}
        errors = dict.fromkeys(("R_se", "D_se", "C_se"), 0.0)
        return Reading(replica="settled", split=Split.TRAIN, point=point, update=0, accuracy=1.0, **values, **errors)


@pytest.mark.parametrize("names", [("C", "lam"), ("C", "D"), ("R", "C"), ("D", "gamma"), ("lam", "gamma")])
@pytest.mark.parametrize("near", [Point(lam=0.25, gamma=2.0), Point(lam=1.1, gamma=5.6), Point(lam=9.0, gamma=99.0)])
@pytest.mark.parametrize("there", [Point(lam=0.94, gamma=7.0), Point(lam=4.95, gamma=15.9)])
def test_a_search_by_readings_finds_wanted_values(names: tuple[str, str], near: Point, there: Point) -> None:
    read, truth = Counted(), {name: getattr(A, name)(there.lam, there.gamma) for name in "RDC"}
    truth |= {"lam": there.lam, "gamma": there.gamma}
    found = find_point(Box(lam=(0.25, 5.0), gamma=(2.0, 16.0)), {name: truth[name] for name in names}, near, read)
    assert found is not None and read.count <= 10
    assert (found.point.lam, found.point.gamma) == pytest.approx((there.lam, there.gamma), rel=0.01)


def test_a_box_of_one_gamma_has_only_what_lies_on_it() -> None:
    box, near = Box(lam=(0.25, 4.0), gamma=(4.0, 4.0)), Point(lam=1.0, gamma=4.0)
    wanted = {"D": A.D(2.0, 4.0), "C": A.C(2.0, 4.0)}
    found = find_point(box, wanted, near, Counted())
    assert found is not None and found.point.lam == pytest.approx(2.0, rel=0.01)
    assert find_point(box, wanted | {"C": 1.05 * wanted["C"]}, near, Counted()) is None


def test_a_box_of_one_point_has_only_that() -> None:
    at = Point(lam=1.0, gamma=4.0)
    box = Box(lam=(1.0, 1.0), gamma=(4.0, 4.0))
    found = find_point(box, {"lam": 1.0, "D": A.D(1.0, 4.0)}, at, Counted())
    assert found is not None and found.point == at
    assert find_point(box, {"lam": 1.0, "D": 2.0 * A.D(1.0, 4.0)}, at, Counted()) is None


def test_what_lies_outside_of_the_box_is_not_found() -> None:
    wanted = {"D": A.D(9.0, 4.0), "C": A.C(9.0, 4.0)}
    assert find_point(Box(lam=(0.25, 4.0), gamma=(2.0, 8.0)), wanted, Point(lam=1.0, gamma=4.0), Counted()) is None
