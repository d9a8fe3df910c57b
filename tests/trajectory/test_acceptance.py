"""Acceptance: draws are repeated until they can tell, and a row that was accepted passes the test of the whole walk."""

import dataclasses

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytic_walks import A, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import MeasureConfig
from rayfe.exceptions import WalkFailed
from rayfe.records import MeasureRequest
from rayfe.results.walk_summary import summarize
from rayfe.storage.store import load_rows
from rayfe.trajectory.draws import BOUND, PART, Sets

FORGETFUL = {"memory": 0.3}
"""Draws have little in common after a step or two, as those of trained models."""
NEAR_NOISE = 4.5e-3
"""Of one set, with a tolerance of 0.5 %: 64 sets are just enough."""


def frame(rows):
    return pd.DataFrame([dataclasses.asdict(row) for row in rows])


def truly_off(rows):
    """Largest |C / C0 - 1| of the surface itself over the accepted rows."""
    start = rows[0]
    return max(abs(A.C(row.lam, row.gamma) / A.C(start.lam, start.gamma) - 1.0) for row in rows if row.accepted)


@pytest.mark.parametrize("noise", [3e-4, 1e-3, NEAR_NOISE])
def test_draws_are_repeated_until_a_step_can_be_told_from_one_that_is_off(tmp_path, noise):
    rows, end = walk(tmp_path, AnalyticBackend(A, noise=noise, **FORGETFUL))
    assert end == "lam_end"
    assert truly_off(rows) < 0.005
    accepted = [row for row in rows[1:] if row.accepted]
    assert all(abs(row.held_drift) + 4.0 * row.held_drift_se <= 0.005 for row in accepted)
    wanted = (PART * noise / 0.005) ** 2
    for row in accepted:
        assert 0.4 * wanted <= row.draw_sets <= max(1.0, min(4.0 * wanted, BOUND.head))
        assert row.decoder_sets == 1
    line = summarize(frame(rows), 0.005).iloc[0]
    assert line["drift_ok"]
    assert line["attainable_percent"] <= 0.5


@settings(max_examples=15)
@given(noise=st.floats(1e-5, 2e-2), memory=st.floats(0.05, 5.0), tolerance=st.floats(2e-3, 5e-2), seed=st.integers(0, 10**6))
def test_every_walk_that_goes_on_passes_its_equivalence_test(tmp_path_factory, noise, memory, tolerance, seed):
    folder, backend = tmp_path_factory.mktemp("walk"), AnalyticBackend(A, noise=noise, memory=memory)
    try:
        rows, _ = walk(folder, backend, tolerance=tolerance, seed=(seed,), steps=8)
    except WalkFailed as failed:
        assert PART * noise / BOUND.head**0.5 > 0.7 * tolerance, failed
        rows = load_rows(str(folder))
        assert len(rows) == 1 and rows["accepted"].all()
        return
    assert summarize(frame(rows), tolerance)["drift_ok"].all()
    assert truly_off(rows) <= 1.5 * tolerance  # C0 is as uncertain as any C


def test_only_settles_and_the_readings_that_judge_have_more_than_one_set(tmp_path):
    asked = []

    class Listens(AnalyticBackend):
        def measure(self, request: MeasureRequest):
            asked.append((request.purpose, len(request.replicas), request.draw_sets))
            return super().measure(request)

    walk(tmp_path, Listens(A, noise=1e-3, **FORGETFUL), steps=6)
    assert {sets for purpose, replicas, sets in asked if purpose == "settle" and replicas > 1} == {1}
    assert min(sets for purpose, _, sets in asked if purpose == "test") >= 2


class Noisier(AnalyticBackend):
    """At larger lam the draws have three times the error."""

    def measure(self, request: MeasureRequest):
        answer = super().measure(request)
        readings = [dataclasses.replace(r, C_noise=tuple(3 * x for x in r.C_noise)) for r in answer.readings]
        return answer if request.replicas[0].point.lam < 0.5 else dataclasses.replace(answer, readings=tuple(readings))


def test_a_step_whose_own_error_is_too_large_is_read_with_more_draws(tmp_path):
    rows, _ = walk(tmp_path, Noisier(A, noise=1e-3, **FORGETFUL), steps=12)
    before, after = ([row.draw_sets for row in rows[1:] if (row.lam < 0.5) == near] for near in (True, False))
    assert set(before) == {before[0]}
    assert min(after) > before[0]
    assert max(after) <= rows[0].draw_sets


class Unlucky(AnalyticBackend):
    """Few draws that judge put C off by 0.45 %, more than four sets do not."""

    def measure(self, request: MeasureRequest):
        answer = super().measure(request)
        if request.purpose != "test" or request.key.step == 0 or request.draw_sets > 4:
            return answer
        return dataclasses.replace(answer, readings=tuple(dataclasses.replace(r, C=r.C * 1.0045) for r in answer.readings))


def test_a_rejection_that_draws_may_explain_is_followed_by_twice_as_many(tmp_path):
    rows, end = walk(tmp_path, Unlucky(A, noise=1e-3, **FORGETFUL))
    assert end == "lam_end"
    (rejected,) = [row for row in rows if not row.accepted]
    assert (rejected.reason, rejected.draw_sets) == ("drift", 4)
    assert {row.draw_sets for row in rows[2:]} == {8}  # and it stays so


@pytest.mark.parametrize("stop_at", [1, 3])
def test_an_interrupted_walk_takes_the_same_draws(tmp_path, stop_at):
    backend = Unlucky(A, noise=1e-3, **FORGETFUL)
    walk(tmp_path / "whole", backend, steps=6)
    walk(tmp_path / "parts", backend, steps=stop_at)
    walk(tmp_path / "parts", backend, steps=6)
    frames = [load_rows(str(tmp_path / name)).drop(columns="seconds") for name in ("whole", "parts")]
    pd.testing.assert_frame_equal(*frames, check_exact=True)


@pytest.mark.parametrize("noise", [1e-4, 2e-3, 4e-3])
@pytest.mark.parametrize("names", ["DC", "RC", "RD"])
def test_a_seek_that_arrives_is_told_from_one_that_does_not(tmp_path, names, noise):
    """Sixteen draws leave C uncertain by 0.4 %: seeks that had arrived were called unreachable."""
    wanted = tuple(f"{name}={getattr(A, name)(1.4, 2.5)!r}" for name in names)
    tolerance = 0.005 if "D" not in names else max(0.005, 2.5 * noise)  # 16 sets through the decoder are the most
    rows, end = walk(tmp_path, AnalyticBackend(A, noise=noise, **FORGETFUL), seek=wanted, tolerance=tolerance)
    assert end == "reached"
    for name in names:
        assert getattr(A, name)(rows[-1].lam, rows[-1].gamma) == pytest.approx(getattr(A, name)(1.4, 2.5), rel=tolerance)


def test_a_seek_for_what_the_draws_cannot_tell_says_so_before_it_moves(tmp_path):
    backend = AnalyticBackend(A, noise=6e-3)
    with pytest.raises(
        WalkFailed, match=r"tolerance=0.005: even 16 sets of draws through the decoder .* give tolerance=0.0\d+ or"
    ):
        walk(tmp_path, backend, seek=("D=6.0", "R=6.0"))
    assert len(load_rows(str(tmp_path))) == 1


def test_sets_double_up_to_their_bounds():
    assert Sets().up_to(Sets(head=4, decoder=2)) == (Sets(), Sets(head=2, decoder=2), Sets(head=4, decoder=2))
    assert Sets(head=4).up_to(Sets(head=4)) == (Sets(head=4),)


def test_more_draws_in_a_set_are_fewer_sets(tmp_path):
    """The rows say how many draws were taken: head_draws times draw_sets."""
    few, many = (
        walk(tmp_path / str(draws), AnalyticBackend(A, noise=noise), steps=2, measure=MeasureConfig(head_draws=draws))[0]
        for draws, noise in ((32, 2e-3), (128, 1e-3))
    )
    assert 32 * few[1].draw_sets == 128 * many[1].draw_sets
