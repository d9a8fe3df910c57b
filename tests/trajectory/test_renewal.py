"""Renewal: a model made partly anew is kept where the surface has a better branch, and nowhere else."""

import pytest

from analytic_walks import A, Branches, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import RenewalConfig


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
