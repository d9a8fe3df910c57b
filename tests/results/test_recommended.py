"""The recommended row: of the steps that count the one with the lowest validation loss, and none where there is nothing to recommend."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from rayfe.records import StepRecord
from rayfe.results.recommended import choice, none_because, recommended
from rayfe.storage.parquet import table_of
from stored_steps import step_record

R, D, C = 5.0, 20.0, 0.1


def rows(*made: dict[str, Any]) -> pd.DataFrame:
    """Accepted steps 0, 1, ... with the same R, D and C, unless said otherwise."""
    records = []
    for step, changes in enumerate(made):
        records.append(step_record(**({"step": step, "R": R, "D": D, "C": C, "val_C": 0.2} | changes)))
    return table_of(records, StepRecord).to_pandas()


def step_of(found: pd.DataFrame) -> int | None:
    row = recommended(found)
    return None if row is None else int(row["step"])


def test_of_a_walk_it_is_the_lowest_validation_loss_wherever_that_is() -> None:
    assert step_of(rows({"val_C": 0.3}, {"val_C": 0.25}, {"val_C": 0.28})) == 1
    assert step_of(rows({"val_C": 0.3}, {"val_C": 0.1, "accepted": False}, {"val_C": 0.28})) == 2


def test_a_model_that_another_way_lies_below_at_its_lam_does_not_count() -> None:
    back = {"lam": 1.25, "leg": "back", "D": D - 1.0, "val_C": 0.25}
    assert step_of(rows({"val_C": 0.3}, {"lam": 1.25, "val_C": 0.1}, {"lam": 2.25, "val_C": 0.4}, back)) == 3


def test_a_last_training_that_made_validation_worse_is_not_it() -> None:
    way = [{"t": t, "F_t": 1.0, "process": "geodesic", "val_C": 0.05 if t < 1.0 else 0.2} for t in (0.0, 0.5, 1.0)]
    for after, step in ((0.3, 2), (0.1, 3)):
        assert step_of(rows(*way, way[-1] | {"kind": "last_training", "val_C": after})) == step
    stuck = rows(*way[:2])
    assert recommended(stuck) is None
    assert none_because(stuck) == "no transfer has arrived at t = 1, the furthest is at t = 0.5"


def test_of_a_seek_it_is_the_step_that_came_nearest() -> None:
    assert step_of(rows(*({"process": "seek", "val_C": loss} for loss in (0.1, 0.3, 0.2)))) == 2


def test_of_a_baseline_every_step_counts() -> None:
    assert step_of(rows(*({"process": "finetune", "t": 1.0, "val_C": loss} for loss in (7.0, 0.1, 0.2)))) == 1


def test_a_start_at_chance_a_model_without_a_classifier_and_an_empty_run_offer_nothing() -> None:
    chance = rows({"val_C": 2.3}, {"accepted": False, "kind": "stop", "reason": "at_chance", "val_C": None})
    unlabelled = rows({"gamma": 0.0})
    for found in (chance, unlabelled):
        assert recommended(found) is None and none_because(found) == "no model has learnt to classify"
    assert none_because(rows({"val_C": None})) == "no loss on validation examples was read"
    for found in (rows(), rows({"accepted": False})):
        assert recommended(found) is None and none_because(found) == "no step is accepted so far"


@pytest.mark.parametrize("better", ["a", "b"])
def test_of_several_trajectories_it_is_the_best_of_all(better: str) -> None:
    found = rows(*({"trajectory": name, "step": 0, "val_C": 0.1 if name == better else 0.2} for name in "ab"))
    row = recommended(found)
    assert row is not None and row["trajectory"] == better
    assert choice(row) == f"step 0 of {better}, with the lowest validation C of the steps that count, 0.1"
