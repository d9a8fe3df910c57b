"""Without settles the error of gamma is what the predicted velocity leaves: of first order, or of second."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from analytic_walks import A, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import StencilConfig, configure
from rayfe.storage.store import Store
from rayfe.surface.process import IsoClassification
from rayfe.trajectory import prediction

RESULTS = Path(__file__).resolve().parents[2] / "analysis" / "results"


def error_of_euler(folder, length, delta=1e-4, **options):
    """Relative error of gamma at lam = 3.5 of the paper's scheme: no settle, no predictor, a stencil at every step."""
    rows, _ = walk(
        folder,
        AnalyticBackend(A),
        stencil="paper",
        settle=False,
        predictor=False,
        refresh=1,
        step_length=length,
        neighbours=StencilConfig(gamma_delta=delta),
        **options,
    )
    return rows[-1].gamma / A.gamma_on_iso_c(3.5, A.C(0.25, 4.0)) - 1.0


def test_the_papers_scheme_is_of_first_order(tmp_path):
    total = math.log(14.0)
    coarse, fine = (abs(error_of_euler(tmp_path / str(n), total / n + 1e-12)) for n in (20, 40))
    assert coarse > 0.02
    assert coarse / fine == pytest.approx(2.0, rel=0.15)


class Blurred(AnalyticBackend):
    """D of gamma's neighbours says that C responds to lam twice as much as it does (C_lam = D_gamma)."""

    def measure(self, request):
        answer = super().measure(request)
        centre = {reading.split: reading for reading in answer.readings if reading.replica == "centre"}
        readings = [
            dataclasses.replace(reading, D=2.0 * reading.D - centre[reading.split].D)
            if reading.replica.startswith("gamma")
            else reading
            for reading in answer.readings
        ]
        return dataclasses.replace(answer, readings=tuple(readings))


def test_a_settled_walk_is_predicted_by_the_way_it_went_whatever_its_response_says(tmp_path):
    rows, end = walk(tmp_path, Blurred(A), neighbours=StencilConfig(gamma_delta=0.3))
    missed = [abs(row.settle_shift) / row.gamma for row in rows[1:]]
    assert end == "lam_end"
    assert missed[0] > 0.03
    assert max(missed[1:]) < 0.2 * missed[0]


def test_on_stored_walks_the_way_of_two_steps_predicts_better_than_the_response():
    """The numbers of `prediction._mean_velocity`, from the rows of four walks on MNIST."""
    misses = []
    for folder in ("mnist-walk", "mnist-walk-without-renewal"):
        store = Store(str(RESULTS / folder))
        for name in store.trajectories():
            rows = [row for row in store.rows(name) if row.accepted]
            process = IsoClassification(3.5)
            for first, _, last, wanted in zip(rows, rows[1:], rows[2:], rows[3:], strict=False):
                way = rows[rows.index(first) : rows.index(last) + 1]
                if all(row.step_length for row in (*way[1:], wanted)):
                    found = prediction.predicted_velocity(process, way, configure(), wanted.step_length)
                    response = prediction._velocity(process, way[-2:])
                    gammas = [last.gamma + velocity.gamma * wanted.step_length for velocity in (response, found)]
                    misses.append([gamma / wanted.gamma - 1.0 for gamma in gammas])
    by_response, by_way = np.sqrt(np.mean(np.square(misses), axis=0))
    assert len(misses) == 69
    assert (by_response, by_way) == pytest.approx((0.052, 0.037), abs=5e-4)
