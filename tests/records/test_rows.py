"""What a notebook shows of a row."""

from __future__ import annotations

from stored_steps import NAME, step_record


def test_a_row_shows_what_is_looked_for_first() -> None:
    accepted = step_record(1, R=10.0, D=18.5, C=0.1361234567)
    assert repr(accepted) == f"<StepRecord {NAME} step 1: accepted; lam=1.25, gamma=4, t=0, R=10, D=18.5, C=0.136123>"
    failed = step_record(2, accepted=False, reason="diverged")
    assert repr(failed) == f"<StepRecord {NAME} step 2: NONFINITE: diverged; lam=2.25, gamma=4, t=0>"
