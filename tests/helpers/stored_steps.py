"""Steps to store, equal wherever they are made, and what a folder then holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rayfe.records import Commit, Outcome, ReadingRecord, StepRecord
from rayfe.storage.store import Store

NAME = "lam0.25-gamma4-seed0"


def step_record(step: int, *, attempt: int = 0, accepted: bool = True, trajectory: str = NAME, **values: object) -> StepRecord:
    outcome = Outcome.OK if accepted else Outcome.NONFINITE
    given = {
        "kind": "step" if step else "start",
        "leg": "there",
        "process": "iso-classification",
        "lam": 0.25 + step,
        "gamma": 4.0,
        "examples": 1e3 * step,
        "seconds": 0.1,
        "seed": 0,
    }
    key = {"trajectory": trajectory, "step": step, "attempt": attempt, "accepted": accepted, "outcome": outcome}
    return StepRecord(**key, **(given | values))


def reading_record(step: int, *, attempt: int = 0, trajectory: str = NAME) -> ReadingRecord:
    numbers = dict.fromkeys(["lam", "gamma", "t", "R", "D", "C", "F", "accuracy", "R_se", "D_se", "C_se"], 1 / 3)
    key = {"trajectory": trajectory, "step": step, "attempt": attempt, "replica": "centre", "split": "train"}
    return ReadingRecord(**key, update=7, first=step == 0, **numbers)


def commit_of(step: int, *, attempt: int = 0, accepted: bool = True, trajectory: str = NAME) -> Commit:
    weights = {"w": np.full((2, 3), step, np.float32), "scale": np.asarray(0.5 + step)}
    return Commit(
        record=step_record(step, attempt=attempt, accepted=accepted, trajectory=trajectory),
        readings=(reading_record(step, attempt=attempt, trajectory=trajectory),),
        state=weights if accepted else None,
        carry={"tangent": np.arange(4.0) * step} if accepted else None,
    )


def walk(store: Store, steps: int, trajectory: str = NAME) -> list[StepRecord]:
    return [store.commit(trajectory, commit_of(step, trajectory=trajectory)) for step in range(steps)]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def standing(folder: Path) -> dict[str, bytes]:
    """What is in a run's folder but what is kept aside: copies of tables, and damaged files."""
    return {name: data for name, data in content(folder).items() if not name.startswith(("copies/", "damaged/"))}
