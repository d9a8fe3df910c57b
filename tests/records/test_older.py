"""Rows that were stored without `kind` and `leg` get those that they would be stored with now."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from analytic_walks import SURFACE, A, Branches, C, transfer, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import PathConfig, RenewalConfig
from rayfe.records import Kind, Leg, StepRecord
from rayfe.records.older import told

LAST = {"process": "constant-rate", "lam_dot": -1.0, "stencil": "iso", "step_length": 0.3}


def untold(rows: list[StepRecord]) -> list[StepRecord]:
    return [dataclasses.replace(row, kind=None, leg=None) for row in rows]


@pytest.mark.parametrize(
    ("options", "kinds", "legs"),
    [
        ({}, {Kind.START, Kind.STEP}, {Leg.THERE}),
        ({"lam_end": 0.05}, {Kind.START, Kind.STEP}, {Leg.THERE}),
        ({"both_ways": True}, {Kind.START, Kind.STEP}, set(Leg)),
        ({"both_ways": True, "lam_end": 0.05}, {Kind.START, Kind.STEP}, set(Leg)),
        ({"both_ways": True, "renewal": RenewalConfig(every=0.5)}, {Kind.START, Kind.STEP, Kind.RENEWAL}, set(Leg)),
        ({"both_ways": True, "renewal": RenewalConfig(every=0.5, leap=3)}, {Kind.START, Kind.STEP, Kind.LEAP}, set(Leg)),
        ({"seek": ("C=0.2", "D=8")}, {Kind.START, Kind.STEP}, {Leg.THERE}),
        ({"process": "fixed-gamma"}, {Kind.START, Kind.STEP}, {Leg.THERE}),
    ],
)
def test_a_walk(tmp_path: Path, options: dict[str, Any], kinds: set[Kind], legs: set[Leg]) -> None:
    rows, _ = walk(tmp_path, Branches(A), **options)
    assert told(untold(rows)) == rows
    assert {row.kind for row in rows} == kinds
    assert {row.leg for row in rows} == legs
    assert all(row.step_length == 0.0 for row in rows if row.kind in (Kind.RENEWAL, Kind.LEAP))


def test_a_stop(tmp_path: Path) -> None:
    rows, end = walk(tmp_path, AnalyticBackend(C), lam=(2.0,), lam_end=50.0)
    assert (rows[-1].kind, end) == (Kind.STOP, "gamma_zero")
    assert told(untold(rows)) == rows


def test_a_last_training(tmp_path: Path) -> None:
    rows, _ = transfer(tmp_path, AnalyticBackend(SURFACE), **LAST, path=PathConfig(target="mnist:5-9", last_epochs=5))
    assert rows[-1].kind == Kind.LAST_TRAINING
    assert told(untold(rows)) == rows


def test_a_baseline(tmp_path: Path) -> None:
    rows, _ = transfer(tmp_path, AnalyticBackend(SURFACE), method="scratch", method_epochs=5.0, steps=3)
    assert [row.kind for row in rows] == [Kind.START, *[Kind.STEP] * 3]
    assert told(untold(rows)) == rows


def test_a_step_from_an_earlier_model_is_on_another_branch(tmp_path: Path) -> None:
    rows, _ = walk(tmp_path, AnalyticBackend(A), steps=3)
    rows[2] = dataclasses.replace(rows[2], restarted_from=1)
    assert [row.kind for row in told(untold(rows))] == [Kind.START, Kind.STEP, Kind.RENEWAL, Kind.STEP]
