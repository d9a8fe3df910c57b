"""Rows of runs of the past: what they did not store is worked out here, and nowhere else."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rayfe.records.kinds import STOPS, Kind, Leg
from rayfe.records.stored import StepRecord


def told(rows: Sequence[StepRecord]) -> list[StepRecord]:
    """The rows of one trajectory, in order, with `kind` and `leg` also where they were stored without.

    A step of no length is a leap where lam moved, a last training at t > 0, and else a renewal. Where lam turns round, the next leg
    begins. What started from an earlier model counts as a renewal: it is on another branch, too.
    """
    found: list[StepRecord] = []
    accepted: list[StepRecord] = []
    for row in rows:
        if row.kind is None:
            row = dataclasses.replace(row, kind=str(_kind(row, accepted)), leg=str(_leg(row, found, accepted)))
        found.append(row)
        if row.accepted:
            accepted.append(row)
    return found


def _kind(row: StepRecord, accepted: Sequence[StepRecord]) -> Kind:
    if not row.accepted and row.reason in STOPS:
        return Kind.STOP
    if row.step == 0 or not accepted:
        return Kind.START
    if row.step_length != 0.0:
        return Kind.RENEWAL if row.restarted_from is not None else Kind.STEP
    if row.t > 0.0:
        return Kind.LAST_TRAINING
    return Kind.RENEWAL if row.lam == accepted[-1].lam else Kind.LEAP


def _leg(row: StepRecord, before: Sequence[StepRecord], accepted: Sequence[StepRecord]) -> Leg:
    leg = Leg(before[-1].leg or Leg.THERE) if before else Leg.THERE
    if row.process != "iso-classification" or not accepted or row.lam == accepted[-1].lam:
        return leg
    start = accepted[0].lam
    side = next((one.lam - start for one in accepted if one.lam != start), row.lam - start)
    outwards = (row.lam - accepted[-1].lam) * side > 0.0
    if leg is Leg.THERE:
        return Leg.THERE if outwards else Leg.BACK
    return Leg.THERE_AGAIN if outwards else leg
