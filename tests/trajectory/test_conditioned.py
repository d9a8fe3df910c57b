"""A conditioned model's rows: all pairs of lam and gamma, one training, and more of them later."""

import dataclasses

import pytest

from analytic_walks import A, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import configure
from rayfe.exceptions import UsageError
from rayfe.records import EquilibrateRequest, Kind
from rayfe.records.carried import Carried
from rayfe.storage.store import Store
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
