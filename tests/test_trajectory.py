"""Walks on closed-form surfaces: the whole machine with known answers."""

import dataclasses
import math
import shutil

import numpy as np
import pandas as pd
import pytest
import scipy.optimize

from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import EquilibrationConfig, MeasureConfig, RenewalConfig, RunConfig, StencilConfig, UsageError
from rayfe.driver import advance, attempted, open_trajectory
from rayfe.records import EquilibrateRequest, Held, Outcome, Point, Velocity
from rayfe.store import Store, load_rows
from rayfe.summary import summarize, verdict
from rayfe.surface.process import Process
from rayfe.surface.reference import HyperbolicSurface, LogSurface, PowerSurface
from rayfe.trajectory.base import WalkFailed
from rayfe.trajectory.processes import process_class
from rayfe.trajectory.walk import Walk

A = PowerSurface(kappa=10.0, a=1 / 3, b=1 / 3)
B = HyperbolicSurface(c=0.3)
C = LogSurface(a=2.0, b=3.0, p=1.0, q=0.5, r=2.0)


def walk(folder, backend, **options):
    """Rows of one walk from (0.25, 4), driven to its end."""
    config = RunConfig(**({"lam": (0.25,), "gamma": (4.0,), "steps": 100} | options))
    (start,) = config.trajectories().values()
    store = Store(str(folder))
    trajectory = open_trajectory(config, start, store)
    while trajectory.finished is None:
        advance(trajectory, backend, store)
    return store.rows(start.name), trajectory.finished


@pytest.mark.parametrize("surface", [A, B], ids=["A", "B"])
@pytest.mark.parametrize("stencil", ["iso", "paper"])
def test_iso_c_walk_follows_the_exact_line(tmp_path, surface, stencil):
    rows, end = walk(tmp_path, AnalyticBackend(surface), stencil=stencil)
    C0 = surface.C(0.25, 4.0)
    assert end == "lam_end"
    assert rows[-1].lam == 3.5
    for row in rows:
        assert row.accepted
        assert row.C == pytest.approx(C0, rel=2e-3)
        assert row.gamma == pytest.approx(surface.gamma_on_iso_c(row.lam, C0), rel=1e-2)
        assert row.F == row.R + row.lam * row.D + row.gamma * row.C
    D, R = [row.D for row in rows], [row.R for row in rows]
    assert D == sorted(D, reverse=True)
    assert R == sorted(R)


def test_lam_grows_by_at_most_the_step_length(tmp_path):
    rows, _ = walk(tmp_path, AnalyticBackend(A), step_length=0.1)
    steps = [math.log(b.lam / a.lam) for a, b in zip(rows, rows[1:], strict=False)]
    assert max(steps) <= 0.1 + 1e-12
    assert all(row.step_length == pytest.approx(step) for row, step in zip(rows[1:], steps, strict=True))


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
        neighbours=StencilConfig(gamma_delta=delta, lam_delta=delta),
        **options,
    )
    return rows[-1].gamma / A.gamma_on_iso_c(3.5, A.C(0.25, 4.0)) - 1.0


def test_the_papers_scheme_is_of_first_order(tmp_path):
    total = math.log(14.0)
    coarse, fine = (abs(error_of_euler(tmp_path / str(n), total / n + 1e-12)) for n in (20, 40))
    assert coarse > 0.02
    assert coarse / fine == pytest.approx(2.0, rel=0.15)


def test_with_the_response_of_the_step_before_it_is_of_second_order_at_the_same_cost(tmp_path):
    total = math.log(14.0)
    ten, twenty, forty = (abs(error_of_euler(tmp_path / str(n), total / n + 1e-12, order=2)) for n in (10, 20, 40))
    assert ten < 0.02
    assert twenty / forty == pytest.approx(4.0, rel=0.15)
    assert abs(error_of_euler(tmp_path / "euler", total / 10 + 1e-12)) > 4 * ten


def test_order_two_is_refused_where_settles_give_it_anyway():
    with pytest.raises(UsageError, match="--order 2"):
        RunConfig(order=2, refresh=1)


def test_gamma_reaches_zero_by_name_where_it_should(tmp_path):
    start = RunConfig().trajectories().popitem()[1]
    C0 = C.C(start.lam, start.gamma)
    rows, end = walk(tmp_path, AnalyticBackend(C), lam_end=50.0)
    assert end == "gamma_zero"
    assert not rows[-1].accepted
    assert rows[-1].reason == "gamma_zero"
    assert rows[-1].lam == pytest.approx(C.gamma_zero_at(C0), rel=0.03)
    assert all(row.accepted for row in rows[:-1])


def test_a_surface_without_response_ends_gamma_blind(tmp_path):
    class Flat(PowerSurface):
        def C(self, lam, gamma):
            return 1.0

    rows, end = walk(tmp_path, AnalyticBackend(Flat(kappa=1.0, a=0.3, b=0.3)))
    assert end == "gamma_blind"
    assert rows[-1].outcome == Outcome.SINGULAR
    assert len(rows) == 2


class FailsOnce(AnalyticBackend):
    """Answers NONFINITE at the first attempt of step 2."""

    def equilibrate(self, request: EquilibrateRequest):
        answer = super().equilibrate(request)
        if request.key.step == 2 and request.key.attempt == 0:
            return dataclasses.replace(answer, outcome=Outcome.NONFINITE, weights=())
        return answer


def test_a_numerical_failure_halves_the_step_and_restarts_from_the_last_accepted_weights(tmp_path):
    rows, end = walk(tmp_path, FailsOnce(A))
    failed = next(row for row in rows if not row.accepted)
    again = rows[rows.index(failed) + 1]
    assert end == "lam_end"
    assert (failed.step, failed.attempt, failed.outcome, failed.reason) == (2, 0, "NONFINITE", "nonfinite")
    assert (again.step, again.attempt, again.accepted) == (2, 1, True)
    assert again.step_length == pytest.approx(0.5 * failed.step_length)
    assert again.response_age == 0
    assert again.examples > failed.examples > rows[1].examples


class AlwaysFails(AnalyticBackend):
    def equilibrate(self, request: EquilibrateRequest):
        answer = super().equilibrate(request)
        return dataclasses.replace(answer, outcome=Outcome.NONFINITE, weights=()) if request.key.step else answer


def test_a_walk_that_cannot_go_on_fails_with_the_reason(tmp_path):
    with pytest.raises(WalkFailed, match="nonfinite"):
        walk(tmp_path, AlwaysFails(A))


def test_a_lag_shows_as_excess_over_earlier_models_only_if_they_are_better(tmp_path):
    rows, _ = walk(tmp_path / "exact", AnalyticBackend(A))
    assert max(row.excess for row in rows) == pytest.approx(0.0, abs=1e-12)


def test_the_response_is_carried_between_refreshes(tmp_path):
    rows, _ = walk(tmp_path, AnalyticBackend(A), refresh=4)
    assert [row.response_age for row in rows[:9]] == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert rows[1].C_gamma == rows[0].C_gamma != rows[4].C_gamma
    assert rows[0].D_lam is None


def test_the_papers_stencil_measures_maxwell_and_concavity(tmp_path):
    rows, _ = walk(tmp_path, AnalyticBackend(A), stencil="paper", refresh=1)
    assert all(abs(row.maxwell_gap) < 0.02 * abs(row.C_lam) for row in rows)
    assert all(row.hess_max_eig < 0 for row in rows)
    assert all(abs(row.first_law_residual) < 1e-2 for row in rows[1:])


@pytest.mark.parametrize("stop_at", [0, 1, 4, 7])
def test_n_steps_and_then_more_equal_all_steps_at_once(tmp_path, stop_at):
    backend = AnalyticBackend(A, lag=0.3, noise=1e-4)
    whole, _ = walk(tmp_path / "whole", backend, steps=10)
    if stop_at:
        walk(tmp_path / "parts", backend, steps=stop_at)
    parts, _ = walk(tmp_path / "parts", backend, steps=10)
    frames = [load_rows(str(tmp_path / name)).drop(columns="seconds") for name in ("whole", "parts")]
    pd.testing.assert_frame_equal(*frames, check_exact=True)
    assert len(whole) == len(parts) == 11


def test_a_finished_walk_attempts_nothing(tmp_path):
    rows, end = walk(tmp_path, AnalyticBackend(C), lam_end=50.0)
    again, same = walk(tmp_path, AnalyticBackend(C), lam_end=50.0, steps=500)
    assert again == rows
    assert same == end


class Branches(AnalyticBackend):
    """A surface of two branches: a model renewed at lam >= 1 has 10 % less D and R + lam D than the old one's."""

    BETTER = PowerSurface(kappa=9.0, a=1 / 3, b=1 / 3)

    def equilibrate(self, request: EquilibrateRequest):
        answer = super().equilibrate(request)
        marks = [self._renewed(replica) for replica in request.replicas]
        weights = [w | {"better": np.array([float(mark)])} for w, mark in zip(answer.weights, marks, strict=True)]
        return dataclasses.replace(answer, weights=tuple(weights))

    def _renewed(self, replica):
        before = replica.weights is not None and replica.weights.get("better", np.zeros(1))[0] > 0.5
        return before or (replica.renewed > 0 and replica.point.lam >= 1.0)

    def measure(self, request):
        answers = [dataclasses.replace(self, surface=self.BETTER) if self._renewed(r) else self for r in request.replicas]
        parts = [
            AnalyticBackend.measure(answer, dataclasses.replace(request, replicas=(replica,)))
            for answer, replica in zip(answers, request.replicas, strict=True)
        ]
        return dataclasses.replace(
            parts[0],
            readings=tuple(reading for part in parts for reading in part.readings),
            weights=tuple(dict(replica.weights) for replica in request.replicas),
        )

    def settle(self, request):
        better = request.weights["better"][0] > 0.5
        return AnalyticBackend.settle(dataclasses.replace(self, surface=self.BETTER) if better else self, request)


def test_a_renewal_is_kept_where_it_is_better_and_the_walk_goes_on_from_it(tmp_path):
    rows, end = walk(tmp_path, Branches(A), renewal=RenewalConfig(every=0.5))
    C0 = A.C(0.25, 4.0)
    rejected = [row for row in rows if row.reason == "renewal"]
    kept = [row for row in rows if row.accepted and row.step_length == 0.0]
    assert end == "lam_end"
    (first,) = kept
    assert [row.lam < first.lam for row in rejected] == [True, True, False, False]
    before = rows[rows.index(first) - 1]
    assert first.lam == before.lam >= 1.0
    assert first.R + first.lam * first.D < before.R + before.lam * before.D
    for row in rows:
        assert row.C == pytest.approx(C0, rel=5e-3)
    assert rows[-1].gamma == pytest.approx(Branches.BETTER.gamma_on_iso_c(3.5, C0), rel=1e-2)


def test_where_there_is_one_branch_every_renewal_is_rejected_and_nothing_else_changes(tmp_path):
    plain, _ = walk(tmp_path / "plain", AnalyticBackend(A))
    tried, _ = walk(tmp_path / "tried", AnalyticBackend(A), renewal=RenewalConfig(every=0.5))
    accepted = [row for row in tried if row.accepted]
    assert len(tried) > len(accepted)
    assert [(row.lam, row.gamma, row.C) for row in accepted] == [(row.lam, row.gamma, row.C) for row in plain]


class Falls(Branches):
    """Training at step 4 falls into a branch with 10 % more D and C, which models trained from there do not leave."""

    BETTER = PowerSurface(kappa=11.0, a=1 / 3, b=1 / 3)

    def equilibrate(self, request: EquilibrateRequest):
        answer = AnalyticBackend.equilibrate(self, request)
        marks = [request.key.step == 4 or self._renewed(replica) for replica in request.replicas]
        weights = [w | {"better": np.array([float(mark)])} for w, mark in zip(answer.weights, marks, strict=True)]
        return dataclasses.replace(answer, weights=tuple(weights))

    def _renewed(self, replica):
        return replica.weights is not None and replica.weights.get("better", np.zeros(1))[0] > 0.5


def test_a_step_starts_from_the_earlier_model_that_the_envelope_says_is_better(tmp_path):
    plain, _ = walk(tmp_path / "plain", Falls(A))
    restarted, end = walk(tmp_path / "restarted", Falls(A), restart=0.01)
    C0 = A.C(0.25, 4.0)
    assert end == "lam_end"
    found = {row.step: row.restarted_from for row in restarted if row.accepted}
    assert found.pop(5) == 3
    assert set(found.values()) == {None}
    assert {row.restarted_from for row in plain} == {None}
    for row in restarted:
        assert not row.accepted or row.C == pytest.approx(C0, rel=5e-3)
    assert restarted[-1].F == pytest.approx(A.F(3.5, A.gamma_on_iso_c(3.5, C0)), rel=5e-3)
    assert plain[-1].F > 1.05 * restarted[-1].F
    walk(tmp_path / "parts", Falls(A), restart=0.01, steps=4)
    parts, _ = walk(tmp_path / "parts", Falls(A), restart=0.01)
    assert [dataclasses.replace(row, seconds=0.0) for row in parts] == [
        dataclasses.replace(row, seconds=0.0) for row in restarted
    ]


def test_models_of_other_runs_bound_F_and_are_started_from(tmp_path):
    walk(tmp_path / "other", AnalyticBackend(A), steps=12)
    Store(tmp_path / "other").create({})
    known = {"known_runs": (str(tmp_path / "other"),)}
    told, _ = walk(tmp_path / "told", Falls(A), steps=5, **known)
    (at,) = [row for row in told if row.step == 4 and row.accepted]
    assert at.excess == pytest.approx(at.F - A.F(at.lam, at.gamma), rel=0.05)
    assert {row.restarted_from for row in told} == {None}
    restarted, _ = walk(tmp_path / "restarted", Falls(A), restart=0.01, **known)
    (back,) = [row for row in restarted if row.restarted_run and row.accepted]
    assert (back.step, back.restarted_run) == (5, "other lam0.25-gamma4-seed0")
    assert back.restarted_from == 5  # the other walk was at this place by then, this one's own models only near
    assert back.F == pytest.approx(A.F(back.lam, back.gamma), rel=1e-3)
    shutil.rmtree(tmp_path / "other")
    with pytest.raises(FileNotFoundError, match="no run at .*other"):
        walk(tmp_path / "told", Falls(A), steps=6, **known)


def test_on_one_branch_nothing_is_better_than_the_last_model_by_much(tmp_path):
    rows, _ = walk(tmp_path, AnalyticBackend(A, lag=0.2), restart=0.01)
    assert {row.restarted_from for row in rows} == {None}
    with pytest.raises(UsageError, match="--restart 0.01"):
        RunConfig(restart=0.01, keep_states="last")


def test_iso_classification_walks_down_as_well_as_up(tmp_path):
    rows, end = walk(tmp_path, AnalyticBackend(A), lam=(3.5,), lam_end=0.25)
    assert (end, rows[-1].lam) == ("lam_end", 0.25)
    assert rows[-1].gamma == pytest.approx(A.gamma_on_iso_c(0.25, A.C(3.5, 4.0)), rel=2e-3)
    assert all(after.D > before.D for before, after in zip(rows, rows[1:], strict=False))


def functional_walk(folder, backend, lam, gamma, weights, **options):
    """A walk that keeps a R + b D + c C."""
    starts = {"lam": (lam,), "gamma": (gamma,), "process": "iso-functional", "functional": weights, "stencil": "paper"}
    return walk(folder, backend, **(starts | {"step_length": 0.15, "tolerance": 1e-3} | options))


@pytest.mark.parametrize("surface", [A, B], ids=["A", "B"])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_level_set_is_a_closed_curve_around_its_stationary_point(tmp_path, surface, direction):
    a, b, c = 1.0, 1.0, 2.0
    rows, end = functional_walk(tmp_path, AnalyticBackend(surface), 0.6, 2.0, (a, b, c), direction=direction)
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
    with pytest.raises(UsageError, match="--process"):
        process_class(name)


def test_a_step_trains_in_rounds_until_F_falls_no_more_than_its_tolerance(tmp_path):
    backend = AnalyticBackend(A, lag=0.5)
    once, _ = walk(tmp_path / "once", backend, steps=6)
    kinds = {"equilibration": EquilibrationConfig(gap=1e-6, rounds=12)}
    rounds, _ = walk(tmp_path / "rounds", backend, steps=6, **kinds)
    assert all(row.gap is None for row in once)
    assert all(0.0 <= row.gap <= 1e-6 * row.F_end for row in rounds[1:])
    exact = [A.F(row.lam, row.gamma) for row in rounds[1:]]
    assert [row.F for row in rounds[1:]] == pytest.approx(exact, rel=1e-4)
    off = max(row.F / A.F(row.lam, row.gamma) - 1 for row in once[1:])
    assert off > 5 * max(row.F / A.F(row.lam, row.gamma) - 1 for row in rounds[1:])
    assert rounds[-1].examples > once[-1].examples


@pytest.mark.parametrize("surface", [A, B, C], ids=["A", "B", "C"])
@pytest.mark.parametrize("names", ["DC", "RC", "RD"])
def test_seek_arrives_at_the_wanted_point_from_afar(tmp_path, surface, names):
    lam, gamma = 1.4, 2.5
    wanted = tuple(f"{name}={getattr(surface, name)(lam, gamma)!r}" for name in names)
    rows, end = walk(tmp_path, AnalyticBackend(surface), seek=wanted, tolerance=1e-4, step_length=0.3)
    assert end == "reached"
    last = rows[-1]
    assert (last.lam, last.gamma) == pytest.approx((lam, gamma), rel=2e-3)
    for text in wanted:
        name, _, value = text.partition("=")
        assert getattr(last, name) == pytest.approx(float(value), rel=1e-4)
    accepted = [abs(row.held_drift) for row in rows if row.accepted]
    assert accepted == sorted(accepted, reverse=True)


def test_near_the_end_seek_converges_quadratically(tmp_path):
    point = (1.4, 2.5)
    wanted = (f"D={A.D(*point)!r}", f"C={A.C(*point)!r}")
    small = StencilConfig(gamma_delta=1e-4, lam_delta=1e-4)
    rows, _ = walk(
        tmp_path,
        AnalyticBackend(A),
        seek=wanted,
        tolerance=1e-9,
        step_length=0.5,
        neighbours=small,
        refresh=1,
        lam=(1.2,),
        gamma=(2.2,),
    )
    misses = [abs(row.held_drift) for row in rows if row.accepted]
    assert misses[-1] <= 1e-9
    assert all(after < 3.0 * before**2 + 1e-9 for before, after in zip(misses, misses[1:], strict=False))


def test_a_point_beyond_the_surface_is_called_unreachable(tmp_path):
    """On surface B lam D - gamma C = 0, so C alone fixes gamma's product, and D below its bound has no multipliers."""
    rows, end = walk(tmp_path, AnalyticBackend(C), seek=("D=40.0", "C=0.001"), steps=200)
    assert end in ("unreachable", "singular")
    assert rows[-1].reason == end
    assert not rows[-1].accepted


@pytest.mark.parametrize("seek", [("C=0.1",), ("C=0.1", "C=0.2"), ("C=0", "R=1"), ("C=x", "R=1"), ("F=1", "R=1"), ("C", "R=1")])
def test_what_cannot_be_sought_is_refused(seek):
    with pytest.raises(UsageError, match="--seek"):
        RunConfig(seek=seek)


@pytest.mark.parametrize("process", ["iso-classification", "iso-functional"])
def test_exact_derivatives_walk_without_neighbours_and_say_how_far_from_equilibrium_they_are(tmp_path, process):
    options = {"process": process, "derivatives": "implicit", "refresh": 2, "steps": 10, "lam": (0.5,), "gamma": (2.0,)}
    options |= {"functional": (1.0, 0.5, 1.0), "tolerance": 1e-3, "step_length": 0.1}
    rows, _ = walk(tmp_path / "exact", AnalyticBackend(A), **options)
    assert all(row.D_lam == pytest.approx(A.D_lam(row.lam, row.gamma), rel=0.1) for row in rows if row.response_age == 0)
    assert all(abs(row.held_drift) < 1e-3 for row in rows[1:] if row.accepted)
    assert {row.decrement is None for row in rows if row.response_age == 0} == {False}
    lagging, _ = walk(tmp_path / "lagging", AnalyticBackend(A, lag=0.3), **options)
    assert max(row.decrement for row in lagging if row.decrement is not None) > 1e-6
    assert max(row.decrement for row in rows if row.decrement is not None) < 1e-9


def test_exact_derivatives_in_t_do_not_exist_and_are_refused():
    with pytest.raises(UsageError, match="--derivatives"):
        RunConfig(process="constant-rate", derivatives="implicit")


@pytest.mark.parametrize(("noise", "attainable"), [(2.5e-3, True), (6e-3, False)])
def test_a_tolerance_below_the_noise_fails_at_the_start_and_says_what_would_do(tmp_path, noise, attainable):
    """Noise of 0.25 % is below a tolerance of 0.5 %, noise of 0.6 % is not; with the tolerance that is named it goes on."""
    backend = AnalyticBackend(A, noise=noise)
    if attainable:
        assert len(walk(tmp_path, backend, steps=1)[0]) >= 2
        return
    with pytest.raises(WalkFailed, match=r"--tolerance 0.005: .* --measure.head-draws \d+") as failed:
        walk(tmp_path / "failed", backend, steps=1)
    (start,) = Store(str(tmp_path / "failed")).rows("lam0.25-gamma4-seed0")
    assert start.accepted
    wanted = float(str(failed.value).split("give --tolerance ")[1].split(",")[0])
    assert len(walk(tmp_path / "again", backend, steps=1, tolerance=wanted)[0]) >= 2
    walk(tmp_path / "unsettled", backend, steps=1, settle=False)


def test_a_tiny_loss_is_held_to_the_floor(tmp_path):
    """kappa = 1e-3: C0 is 1e-4 nats and 0.5 % of it 5e-7, far below the noise of 3 %; a floor of 1e-5 nats is 10 %."""
    backend = AnalyticBackend(PowerSurface(kappa=1e-3, a=1 / 3, b=1 / 3), noise=0.03)
    with pytest.raises(WalkFailed, match="--tolerance"):
        walk(tmp_path / "none", backend, steps=3, tolerance_floor=0.0)
    rows, _ = walk(tmp_path / "floor", backend, steps=3)
    assert all(row.accepted for row in rows)
    assert max(abs(row.C - rows[0].C) for row in rows) <= 1e-5


def gamma_at_control_C(lam, C0, unseen):
    """gamma at which C (1 + unseen R) of surface A is C0."""
    return scipy.optimize.brentq(lambda g: A.C(lam, g) * (1.0 + unseen * A.R(lam, g)) - C0, 1e-3, 1e3)


@pytest.mark.parametrize("stencil", ["iso", "paper"])
def test_held_on_control_images_it_is_their_C_that_stays(tmp_path, stencil):
    """C of images that were not trained on grows with R, so gamma has to rise faster than on the training images' line."""
    unseen = 0.05
    rows, end = walk(tmp_path / "control", AnalyticBackend(A, unseen=unseen, noise=1e-4), hold="control", stencil=stencil)
    rows = [row for row in rows if row.accepted]
    C0 = A.C(0.25, 4.0) * (1.0 + unseen * A.R(0.25, 4.0))
    assert end == "lam_end"
    assert rows[0].C_target == rows[0].control_C == pytest.approx(C0, rel=1e-3)
    for row in rows:
        assert row.held_on == "control"
        assert row.control_C == pytest.approx(C0, rel=5e-3)
        assert row.drift == row.control_C / row.C_target - 1.0
        assert row.gamma == pytest.approx(gamma_at_control_C(row.lam, C0, unseen), rel=2e-2)
        assert row.F == row.R + row.lam * row.D + row.gamma * row.C
    assert rows[-1].C < 0.8 * rows[0].C
    line = summarize(pd.DataFrame([dataclasses.asdict(row) for row in rows]), 0.005).iloc[0]
    assert line["drift_ok"] and "C of the control split held within" in verdict(line)


def test_where_nothing_is_over_fitted_control_images_say_the_same(tmp_path):
    train, _ = walk(tmp_path / "train", AnalyticBackend(A))
    control, _ = walk(tmp_path / "control", AnalyticBackend(A), hold="control")
    assert [(row.lam, row.gamma, row.C) for row in control] == [(row.lam, row.gamma, row.C) for row in train]
    assert {row.held_on for row in train} == {"train"}
    assert {row.control_C for row in train} == {None}


@pytest.mark.parametrize(
    "options",
    [{"process": "geodesic", "stencil": "paper"}, {"settle": False}, {"derivatives": "implicit"}, {"seek": ("C=0.1", "R=1")}],
)
def test_what_control_images_cannot_hold_is_refused(options):
    with pytest.raises(UsageError, match="--hold control"):
        RunConfig(hold="control", **options)


@pytest.mark.parametrize(
    ("reason", "miss", "told"),
    [
        ("drift", -0.019, r"off by -1.9 \+- 0.7 %, .* give --tolerance 0.035, or --measure.head-draws 200 or more"),
        ("drift", -0.1, r"\(drift\)"),
        ("settle_range", -0.019, r"\(settle_range\)"),
    ],
)
def test_a_walk_that_fails_by_its_draws_says_how_many_would_do(tmp_path, reason, miss, told):
    """Draws are the same at every step, so that what they put C off by does not go away with shorter steps."""
    backend = AnalyticBackend(A, noise=1e-3)
    (start, step), _ = walk(tmp_path, backend, steps=1)
    rejected = dataclasses.replace(
        step, accepted=False, reason=reason, held_drift=miss, held_drift_se=0.007, step_length=1e-9, next_step_length=1e-9
    )
    config, store = RunConfig(tolerance=0.02, measure=MeasureConfig(head_draws=64)), Store(str(tmp_path))
    (place,) = config.trajectories().values()
    stuck = Walk(config, place, [start, rejected], state=store.state(start), carry=store.carry(start))
    with pytest.raises(WalkFailed, match=f"rejected down to a step of 1e-09 .*{told}"):
        attempted(stuck, backend)
