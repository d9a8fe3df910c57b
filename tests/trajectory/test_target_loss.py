"""Arrival: a model is brought to a wanted C, however far its gamma has to go, with as few stencils as that takes."""

import numpy as np
import pytest

from analytic_walks import A
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import configure
from rayfe.records import EquilibrateRequest, Kind, Point, StepKey
from rayfe.records.work import Work
from rayfe.trajectory.target_loss import WantedLoss, arrive

HERE = Point(lam=1.0, gamma=6.0)


def arrival(gamma, *, rounds=8):
    """What an arrival at the C of `gamma` returns, and how many models each of its trainings had."""
    backend, trained = AnalyticBackend(A), []
    weights = {"multipliers": np.array([HERE.lam, HERE.gamma])}
    work = Work(StepKey(trajectory="arrival", seed=0, step=1, attempt=0), kind=Kind.STEP)
    C = A.C(HERE.lam, gamma)
    steps = arrive(configure(), work, HERE, weights, None, wanted=WantedLoss(C=C, allowed=0.005 * C), rounds=rounds)
    answer = None
    while True:
        try:
            request = steps.send(answer)
        except StopIteration as finished:
            return finished.value, trained
        if isinstance(request, EquilibrateRequest):
            trained.append(len(request.replicas))
        answer = backend.answer(request)


@pytest.mark.parametrize(
    ("gamma", "trained"),
    [
        (6.3, [3]),  # within the chart
        (7.4, [3, 1]),  # beyond it
        (18.0, [3, 1, 3]),  # so far that the chart is measured anew
    ],
)
def test_a_stencil_is_trained_at_first_and_where_gamma_has_gone_far(gamma, trained):
    found, counts = arrival(gamma)
    assert found.point.gamma == pytest.approx(gamma, rel=1e-2)
    assert counts[: len(trained)] == trained
    assert counts[len(trained) :] == [1] * (len(counts) - len(trained))


def test_a_loss_that_is_out_of_reach_is_no_arrival():
    found, counts = arrival(1000.0, rounds=3)
    assert found is None
    assert len(counts) == 3
