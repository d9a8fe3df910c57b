"""What earlier rows say about the next attempt: rejections, the learning rate, renewals."""

import dataclasses

import numpy as np
import pytest

from analytic_walks import A, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.records import EquilibrateRequest, Outcome
from rayfe.trajectory import history

WHOLE, MOMENTS = {"second_moment/w", "ahead/w"}, {"second_moment/w"}


@dataclasses.dataclass
class Diverges(AnalyticBackend):
    """The first two trainings of step 2 do; keeps what each training from there on was given, and its part of the learning rate."""

    given: list[tuple[set[str], float]] = dataclasses.field(default_factory=list)

    def equilibrate(self, request: EquilibrateRequest):
        if request.key.step >= 2:
            self.given.append((set(request.preconditioner or {}), request.rate))
        answer = super().equilibrate(request)
        failed = request.key.step == 2 and request.key.attempt < 2
        left = {"second_moment/w": np.ones(1), "ahead/w": np.ones(1)}
        return dataclasses.replace(answer, preconditioner=left, outcome=Outcome.NONFINITE if failed else answer.outcome)


@pytest.mark.parametrize("options", [{}, {"seek": ("C=0.2", "D=8")}], ids=["walk", "seek"])
def test_after_a_training_that_diverged_the_next_starts_at_the_model_and_goes_slower(tmp_path, options):
    backend = Diverges(A)
    rows, _ = walk(tmp_path, backend, steps=3, **options)
    assert backend.given == [(WHOLE, 1.0), (MOMENTS, 0.5), (MOMENTS, 0.25), (WHOLE, 0.5)]  # three attempts at step 2, step 3
    assert [history.diverged(row) for row in rows] == [False, False, True, True, False, False]
    assert history.rate(rows) == 1.0
    assert history.rejections(rows) == 0
    assert history.rejections(rows[:4]) == 2
