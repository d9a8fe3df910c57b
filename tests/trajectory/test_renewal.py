"""Renewal: a model made partly anew is kept where the surface has a better branch, and nowhere else."""

import dataclasses
import math

import numpy as np
import pytest

from analytic_walks import A, Branches, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import RenewalConfig, configure
from rayfe.exceptions import UsageError
from rayfe.records import EquilibrateRequest, Outcome


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


class Crossing(Branches):
    """A renewed model has D lower by a constant and R higher by `CROSSES` times that: its F is lower beyond that lam."""

    CROSSES, LOWER = 0.8, 0.5
    BETTER = A

    def _renewed(self, replica):
        before = replica.weights is not None and replica.weights.get("better", np.zeros(1))[0] > 0.5
        return before or replica.renewed > 0

    def measure(self, request):
        answer = super().measure(request)
        shift = {replica.name: self.LOWER * self._renewed(replica) for replica in request.replicas}
        readings = [
            dataclasses.replace(r, R=r.R + self.CROSSES * shift[r.replica], D=r.D - shift[r.replica]) for r in answer.readings
        ]
        return dataclasses.replace(answer, readings=tuple(readings))


def test_a_renewal_is_kept_where_it_will_be_better_half_way_to_the_next_one(tmp_path):
    """Branches cross at lam = 0.8. Of renewals every 0.5 from 0.25 the second, near 0.68, has it before its half-way."""
    rows, end = walk(tmp_path, Crossing(A), renewal=RenewalConfig(every=0.5))
    renewals = [row for row in rows if row.reason == "renewal" or (row.accepted and row.step_length == 0.0)]
    (kept,) = (row for row in renewals if row.accepted)
    assert end == "lam_end" and renewals.index(kept) == 1
    before = rows[rows.index(kept) - 1]
    assert kept.lam == before.lam < Crossing.CROSSES < kept.lam * math.exp(0.25)
    assert kept.R + kept.lam * kept.D > before.R + before.lam * before.D


class Worse(AnalyticBackend):
    """Renewed models end their training alone with a free energy that is higher by a part `by`, and are counted."""

    def __init__(self, by: float) -> None:
        super().__init__(A)
        self.by, self.alone, self.charted = by, 0, 0

    def equilibrate(self, request: EquilibrateRequest):
        answer = super().equilibrate(request)
        if request.key.step == 0 or request.annealing is None:
            return answer
        if not request.replicas[0].renewed:
            self.charted += 1
            return answer
        self.alone += 1
        end = answer.readings[-1]
        readings = (*answer.readings[:-1], dataclasses.replace(end, R=end.R + self.by * end.F))
        return dataclasses.replace(answer, readings=readings)


@pytest.mark.parametrize(("by", "goes_on"), [(0.015, True), (0.025, False)])
def test_a_renewed_model_that_is_far_too_high_is_given_up_after_its_first_training(tmp_path, by, goes_on):
    backend = Worse(by)
    rows, end = walk(tmp_path, backend, renewal=RenewalConfig(every=0.5))
    tried = [row for row in rows if row.reason == "renewal"]
    assert end == "lam_end"
    assert len(tried) == backend.alone > 0
    assert backend.charted == (backend.alone if goes_on else 0)
    assert {row.outcome for row in tried} == {"OK" if goes_on else "NOT_EQUILIBRATED"}


LEAP = RenewalConfig(every=0.5, leap=3)


class Counted(Branches):
    """Renewed models are on the better branch at any lam. Notes the lam of each part of an annealed training after the start's,
    and its first replica's share of new weights."""

    annealed: list[float]
    new: list[float]

    def equilibrate(self, request: EquilibrateRequest):
        if request.annealing is not None and request.key.step > 0:
            self.annealed.append(request.replicas[0].point.lam)
            self.new.append(request.replicas[0].renewed)
        return super().equilibrate(request)

    def _renewed(self, replica):
        return super()._renewed(replica) or replica.renewed > 0


def test_a_leap_takes_the_walk_to_its_end_in_one_go_and_the_way_back_is_on_the_better_branch(tmp_path):
    backend = Counted(A)
    backend.annealed, backend.new = [], []
    rows, end = walk(tmp_path, backend, both_ways=True, renewal=LEAP)
    C0 = A.C(0.25, 4.0)
    (landed,) = (row for row in rows[1:] if row.step_length == 0.0)
    before, after, again = rows[: rows.index(landed)], rows[rows.index(landed) + 1 : -2], rows[-2:]
    ratio = (3.5 / before[-1].lam) ** (1 / LEAP.leap)
    assert all(row.accepted for row in rows)
    assert backend.annealed == pytest.approx([before[-1].lam * ratio**power for power in (1, 2, 3, 3)])
    assert backend.new == [0.6, 0.3, 0.0, 0.0]  # fewer and fewer; in the last part's last quarter there are neighbours
    assert landed.lam == 3.5 and math.log(before[-1].lam / 0.25) >= LEAP.every > math.log(before[-2].lam / 0.25)
    assert landed.gamma == pytest.approx(Branches.BETTER.gamma_on_iso_c(3.5, C0), rel=1e-2)
    assert [row.lam for row in after] == sorted((row.lam for row in after), reverse=True)
    assert all(math.log(row.lam / later.lam) < 0.131 for row, later in zip([landed, *after], after, strict=False))
    assert end == "met" and after[-1].lam == 0.25
    assert [row.lam for row in again] == [row.lam for row in reversed(after[-3:-1])]  # no lower than on the way back
    for row in rows:
        assert row.C == pytest.approx(C0, rel=5e-3)


class Killed(Branches):
    """Ends with an interrupt at the third part of an annealed training after the start's."""

    left = 2

    def equilibrate(self, request: EquilibrateRequest):
        if request.annealing is not None and request.key.step > 0:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        return super().equilibrate(request)


def test_a_leap_that_was_interrupted_ends_with_the_same_rows(tmp_path):
    whole, _ = walk(tmp_path / "whole", Branches(A), both_ways=True, renewal=LEAP)
    with pytest.raises(KeyboardInterrupt):
        walk(tmp_path / "parts", Killed(A), both_ways=True, renewal=LEAP)
    parts, _ = walk(tmp_path / "parts", Branches(A), both_ways=True, renewal=LEAP)
    assert [dataclasses.replace(row, seconds=0.0) for row in parts] == [dataclasses.replace(row, seconds=0.0) for row in whole]


class NoLanding(Counted):
    """Renewed models diverge at lam_end."""

    def equilibrate(self, request: EquilibrateRequest):
        answer = super().equilibrate(request)
        failed = request.annealing is not None and request.replicas[0].point.lam == 3.5
        return dataclasses.replace(answer, outcome=Outcome.NONFINITE, weights=()) if failed else answer


def test_a_leap_that_fails_is_given_up_once_and_the_walk_goes_there_with_renewals(tmp_path):
    backend = NoLanding(A)
    backend.annealed, backend.new = [], []
    rows, end = walk(tmp_path, backend, both_ways=True, renewal=LEAP)
    failed = next(row for row in rows if row.outcome == "NOT_EQUILIBRATED")
    assert failed.reason == "renewal" and not failed.accepted and backend.annealed[:3].count(3.5) == 1
    assert backend.new.count(0.6) > 1 and end in ("met", "returned")
    assert max(row.lam for row in rows if row.accepted and row.step_length) == 3.5


@pytest.mark.parametrize(
    ("options", "missing"),
    [({}, "both_ways=False"), ({"both_ways": True, "renewal": RenewalConfig(leap=2)}, 'renewal={"every": None}')],
)
def test_a_leap_needs_a_way_back_and_a_distance_to_it(options, missing):
    with pytest.raises(UsageError, match=f"has no effect with {missing}; leave it away") as refused:
        configure(**({"renewal": LEAP} | options))
    assert refused.value.name == "renewal.leap"
