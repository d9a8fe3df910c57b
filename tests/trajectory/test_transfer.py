"""Transfers on a closed-form surface that moves with t: the processes (38) and (30) with known answers."""

import dataclasses

import pandas as pd
import pytest

from analytic_walks import SURFACE, transfer
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import PathConfig, configure
from rayfe.records import EquilibrateRequest, Outcome, Point
from rayfe.results.frames import counted_steps
from rayfe.results.walk_summary import envelope_excess
from rayfe.storage.store import load_rows
from rayfe.surface.data_processes import Geodesic
from rayfe.surface.process import SingularResponse
from rayfe.trajectory.standing import standing


def test_constant_rate_keeps_C_while_lam_and_the_data_move(tmp_path):
    rows, end = transfer(tmp_path, AnalyticBackend(SURFACE), process="constant-rate", lam_dot=-1.0, stencil="iso")
    C0 = SURFACE.C(2.0, 8.0)
    assert end == "t_end"
    assert (rows[-1].t, rows[-1].lam) == (1.0, pytest.approx(1.0))
    for row in rows:
        assert row.accepted
        assert row.lam == pytest.approx(2.0 - row.t)
        assert row.C == pytest.approx(C0, rel=2e-3)
        assert row.gamma == pytest.approx(SURFACE.at(row.t).gamma_on_iso_c(row.lam, C0), rel=1e-2)


def test_steps_that_divide_the_path_end_at_its_end(tmp_path):
    moved = {"process": "constant-rate", "lam_dot": -1.0, "stencil": "iso"}
    rows, end = transfer(tmp_path, AnalyticBackend(SURFACE), **moved, step_length=0.1, steps=20)
    assert (end, rows[-1].t, len(rows)) == ("t_end", 1.0, 11)


@pytest.mark.parametrize("k", [0.2, 2.0, -8.0])
def test_geodesic_is_straight_in_the_D_R_plane(tmp_path, k):
    rows, end = transfer(tmp_path, AnalyticBackend(SURFACE), process="geodesic", k=k)
    assert end == "t_end"
    start, last = rows[0], rows[-1]
    way = abs(last.D - start.D)
    assert way > 0.1
    for row in rows:
        assert row.accepted
        assert row.C == pytest.approx(start.C, rel=2e-3)
        assert row.line_miss == pytest.approx(row.D - start.D - k * (row.R - start.R), abs=1e-12)
        assert abs(row.line_miss) < 0.02 * way
    assert (last.D - start.D) / (last.R - start.R) == pytest.approx(k, rel=0.05)


def test_k_from_the_end_points_arrives_at_the_target(tmp_path):
    rows, end = transfer(tmp_path, AnalyticBackend(SURFACE), process="geodesic")
    start, last = rows[0], rows[-1]
    target = SURFACE.at(1.0)
    gamma = target.gamma_on_iso_c(2.0, start.C)
    assert end == "t_end"
    assert start.end_gamma == pytest.approx(gamma, rel=2e-3)
    assert start.k == pytest.approx((target.D(2.0, gamma) - start.D) / (target.R(2.0, gamma) - start.R), rel=1e-2)
    assert (last.lam, last.gamma) == (pytest.approx(2.0, rel=0.03), pytest.approx(gamma, rel=0.03))


def geodesic_slope(tmp_path, name, source):
    """dD/dR over the first steps of a geodesic that follows its rates alone, with `source` in place of F_t."""

    class Measured(AnalyticBackend):
        def _slope_in_t(self, model, point):
            return source(point)

    rows, _ = transfer(
        tmp_path / name, Measured(SURFACE), process="geodesic", k=0.5, settle=False, step_length=0.005, steps=4, refresh=1
    )
    return (rows[-1].D - rows[0].D) / (rows[-1].R - rows[0].R)


def test_the_slope_is_k_with_F_t_and_is_not_with_R_t(tmp_path):
    """Eq. (30) prints dR/dt; it holds at fixed (D, C), which is F_t, not R_t at fixed multipliers."""

    def R_t(point: Point) -> float:
        after, before = (SURFACE.at(point.t + d).R(point.lam, point.gamma) for d in (1e-6, 0.0))
        return (after - before) / 1e-6

    def F_t(point: Point) -> float:
        return SURFACE.F_t(point.lam, point.gamma, point.t)

    assert geodesic_slope(tmp_path, "right", F_t) == pytest.approx(0.5, rel=0.02)
    assert abs(geodesic_slope(tmp_path, "naive", R_t) - 0.5) > 0.1


def test_the_response_in_t_is_that_of_the_surface(tmp_path):
    rows, _ = transfer(tmp_path, AnalyticBackend(SURFACE), process="geodesic", k=0.5, refresh=1, step_length=0.02)
    for row in rows[:8]:
        d = 1e-4
        after, before = (SURFACE.at(max(0.0, row.t + sign * d)) for sign in (1, -1))
        width = 2 * d if row.t >= d else d
        assert row.F_t == pytest.approx(SURFACE.F_t(row.lam, row.gamma, row.t), rel=0.05)
        assert row.D_t == pytest.approx((after.D(row.lam, row.gamma) - before.D(row.lam, row.gamma)) / width, rel=0.1)
        assert row.C_t == pytest.approx((after.C(row.lam, row.gamma) - before.C(row.lam, row.gamma)) / width, rel=0.1)
        assert row.hess_max_eig < 0


def test_the_pole_and_a_singular_response_have_names():
    from rayfe.records import Response

    flat = {"C_lam_se": 0.0, "C_gamma_se": 0.0, "F_t": 1.0, "D_t": 0.0, "C_t": 0.0}
    fine = Response(C_lam=0.1, C_gamma=-1.0, D_gamma=0.1, D_lam=-1.0, **flat)
    saddle = Response(C_lam=2.0, C_gamma=-1.0, D_gamma=2.0, D_lam=-1.0, **flat)
    with pytest.raises(SingularResponse) as pole:
        Geodesic(-0.5).velocity(Point(lam=2.0, gamma=1.0), fine)
    with pytest.raises(SingularResponse) as singular:
        Geodesic(-0.4).velocity(Point(lam=2.0, gamma=1.0), saddle)
    assert (pole.value.stop, singular.value.stop) == ("pole", "singular")


def test_a_transfer_into_the_pole_ends_by_its_name(tmp_path):
    rows, end = transfer(tmp_path, AnalyticBackend(SURFACE), process="geodesic", k=-0.2, step_length=0.02)
    assert end == "pole"
    assert (rows[-1].accepted, rows[-1].outcome, rows[-1].reason) == (False, Outcome.SINGULAR, "pole")
    assert rows[-1].t < 1.0


def test_steps_grow_from_the_first_one(tmp_path):
    rows, _ = transfer(
        tmp_path,
        AnalyticBackend(SURFACE),
        process="geodesic",
        k=0.5,
        step_length=0.1,
        step_length_first=1e-3,
    )
    lengths = [row.step_length for row in rows[1:]]
    assert lengths[0] == pytest.approx(1e-3)
    assert all(after <= 1.5 * before * (1 + 1e-12) for before, after in zip(lengths, lengths[1:], strict=False))
    assert max(lengths) == pytest.approx(0.1)
    assert rows[-1].t == 1.0


@pytest.mark.parametrize("stop_at", [1, 5])
def test_n_steps_and_then_more_equal_all_steps_at_once(tmp_path, stop_at):
    backend = AnalyticBackend(SURFACE, lag=0.2, noise=1e-4)
    transfer(tmp_path / "whole", backend, process="geodesic", k=0.5, steps=9)
    transfer(tmp_path / "parts", backend, process="geodesic", k=0.5, steps=stop_at)
    transfer(tmp_path / "parts", backend, process="geodesic", k=0.5, steps=9)
    frames = [load_rows(str(tmp_path / name)).drop(columns="seconds") for name in ("whole", "parts")]
    pd.testing.assert_frame_equal(*frames, check_exact=True)


# --- the last training ------------------------------------------------------------------------------------------------

CONSTANT = {"process": "constant-rate", "lam_dot": -1.0, "stencil": "iso", "step_length": 0.1}
LAST = PathConfig(target="digits", last_epochs=5.0)


@pytest.mark.parametrize(
    "way",
    [CONSTANT, {"process": "geodesic", "k": 2.0, "stencil": "paper", "step_length": 0.1}],
    ids=["constant-rate", "geodesic"],
)
def test_a_last_training_makes_good_what_steps_lag(tmp_path, way):
    backend = AnalyticBackend(SURFACE, lag=0.5)
    rows, end = transfer(tmp_path / "without", backend, **way)
    more, also = transfer(tmp_path / "with", backend, **way, path=LAST)
    assert (end, also) == ("t_end", "t_end")
    assert [row.F for row in more[:-1]] == [row.F for row in rows]
    arrived, last = more[-2:]
    config = configure(lam=(2.0,), gamma=(8.0,), steps=200, path=LAST, **way)
    assert standing(more[:-1], config).where == f"at step {arrived.step} of at most 200"
    assert standing(more, config).where == "t 1"
    assert (last.accepted, last.t, last.step_length, last.step) == (True, 1.0, 0.0, arrived.step + 1)
    assert last.C == pytest.approx(more[0].C, rel=2e-3)
    target = SURFACE.at(1.0)
    above = [row.F - target.F(row.lam, row.gamma) for row in (arrived, last)]
    assert above[1] < 0.3 * above[0]
    frame = pd.DataFrame([dataclasses.asdict(row) for row in more])
    assert counted_steps(frame)["step"].tolist() == [row.step for row in more if row is not arrived]
    assert envelope_excess(frame).loc[counted_steps(frame).index].max() < 1e-4


class LastDiverges(AnalyticBackend):
    def equilibrate(self, request: EquilibrateRequest):
        answer = super().equilibrate(request)
        last = request.annealing is not None and request.replicas[0].point.t == 1.0
        return dataclasses.replace(answer, outcome=Outcome.NONFINITE, weights=()) if last else answer


class LastIsHigher(AnalyticBackend):
    """What is read after the last training is 1 % higher than the surface."""

    def measure(self, request):
        answer = super().measure(request)
        if request.key.step != 11:
            return answer
        return dataclasses.replace(answer, readings=tuple(dataclasses.replace(r, R=r.R + 0.01 * r.F) for r in answer.readings))


def test_a_last_training_that_ends_higher_is_not_kept(tmp_path):
    rows, end = transfer(tmp_path, LastIsHigher(SURFACE), **CONSTANT, path=LAST)
    assert end == "t_end"
    assert [(row.step, row.accepted, row.reason) for row in rows[-2:]] == [(10, True, None), (11, False, "renewal")]


def test_a_transfer_that_was_interrupted_before_its_last_training_ends_with_the_same_rows(tmp_path):
    whole, _ = transfer(tmp_path / "whole", AnalyticBackend(SURFACE, lag=0.5), **CONSTANT, path=LAST)
    part, end = transfer(tmp_path / "parts", AnalyticBackend(SURFACE, lag=0.5), **CONSTANT, path=LAST, steps=10)
    assert (end, part[-1].t) == ("steps", 1.0)
    rest, end = transfer(tmp_path / "parts", AnalyticBackend(SURFACE, lag=0.5), **CONSTANT, path=LAST)
    assert end == "t_end"
    assert [dataclasses.replace(row, seconds=0.0) for row in rest] == [dataclasses.replace(row, seconds=0.0) for row in whole]


def test_a_last_training_that_diverges_is_tried_once_and_leaves_the_model_that_arrived(tmp_path):
    rows, end = transfer(tmp_path, LastDiverges(SURFACE), **CONSTANT, path=LAST)
    assert end == "t_end"
    assert [(row.accepted, row.t, row.reason) for row in rows[-2:]] == [(True, 1.0, None), (False, 1.0, "nonfinite")]
