"""load_model gives back the stored model, by its step or by what is wanted: the nearest stored step."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rayfe
import untrained_job
from rayfe.cli.job_command import main
from rayfe.config.presets import PRESETS
from rayfe.exceptions import FarFromWanted, UsageError
from rayfe.records import Commit, StepRecord
from rayfe.results.stored_model import find_row
from rayfe.storage.store import Store
from stored_steps import step_record

NAME, HELD = "lam0.25-gamma4-seed0", "lam1-gamma4-seed0"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Steps 0 ... 4 with C 0.5, 0.4, ... and lam 1, 2, ...; the weights of step 1 are gone."""
    made = Store(tmp_path)
    key = {"trajectory": NAME, "attempt": 0, "outcome": "OK", "process": "iso-classification", "seed": 0}
    for step in range(5):
        row = StepRecord(step=step, accepted=True, lam=1.0 + step, gamma=4.0, C=0.5 - 0.1 * step, examples=0, seconds=0, **key)
        made.commit(NAME, Commit(record=row, readings=(), state={"a": np.ones(1)}, carry=None))
    (tmp_path / f"states/{NAME}/1.safetensors").unlink()
    return made


def held(store: Store) -> Store:
    """The same as a walk that settles C at 0.5, with a validation loss."""
    name = HELD
    for step, off in enumerate((0.0, 0.001, -0.002)):
        row = {
            "trajectory": name,
            "lam": 1.0 + step,
            "R": 5.0 + step,
            "D": 20.0 - step,
            "C": 0.5 * (1.0 + off),
            "val_C": 0.6 - off,
        }
        row |= {"C_target": 0.5, "held_drift": off, "C_before_settle": 0.52 if step else None}
        store.commit(name, Commit(record=step_record(step, **row), readings=(), state={"a": np.ones(1)}, carry=None))
    return store


def test_without_a_step_it_is_the_recommended_one_of_all_trajectories(store: Store) -> None:
    store.create({})
    found = find_row(held(store), None, None, None)
    assert (found.trajectory, found.step) == (HELD, 1)
    assert rayfe.find_step(store.url()) == rayfe.find_step(store.url(), HELD) == rayfe.Run(store.url()).step() == found
    with pytest.raises(UsageError, match=f"trajectory: say which one has the step: {NAME}, {HELD}"):
        find_row(store, None, 1, None)


@pytest.mark.parametrize("at", [{"C": 0.5}, {"C": 0.5, "lam": 2.0}, {"t": 0.0}, {"gamma": 4.0}])
def test_what_the_process_keeps_tells_no_steps_apart(store: Store, at: dict[str, float]) -> None:
    with pytest.raises(
        UsageError, match=rf"is .* all along {HELD}, whose process iso-classification keeps it; name lam, R or D"
    ):
        find_row(held(store), HELD, None, at)


def test_a_held_R_is_seen_by_its_rows(store: Store) -> None:
    name = HELD
    for step, off in enumerate((0.0, 0.001, -0.002)):
        row = {"trajectory": name, "process": "iso-functional", "R": 5.0 * (1.0 + off), "D": 20.0 - step, "held_drift": off}
        store.commit(name, Commit(record=step_record(step, **row), readings=(), state={"a": np.ones(1)}, carry=None))
    with pytest.raises(UsageError, match=f"R is 5 all along {HELD}, .* name lam or D"):
        find_row(store, name, None, {"R": 5.0})
    assert find_row(store, name, None, {"D": 19.1}).step == 1


@pytest.mark.parametrize(
    ("at", "far"), [({"lam": 3.9}, False), ({"lam": 5.9}, False), ({"lam": 6.1}, True), ({"C": 2.0}, True)]
)
def test_a_step_that_is_farther_than_steps_are_apart_is_warned_of(store: Store, at: dict[str, float], far: bool) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        find_row(store, NAME, None, at)
    assert [one.category for one in caught] == [FarFromWanted] * far
    if at == {"lam": 6.1}:
        assert str(caught[0].message) == (
            f"the step nearest to lam 6.1 is 4, with lam 5: farther off than steps of {NAME} are apart there"
        )


@pytest.mark.filterwarnings("ignore::rayfe.exceptions.FarFromWanted")
@pytest.mark.parametrize(
    ("at", "step"),
    [({"C": 0.1}, 4), ({"C": 0.29}, 2), ({"C": 0.41}, 0), ({"C": 9.0}, 0), ({"lam": 3.9}, 3), ({"lam": 4.6, "C": 0.25}, 3)],
)
def test_nearest_step_among_those_with_weights(store: Store, at: dict[str, float], step: int) -> None:
    assert find_row(store, NAME, None, at).step == step  # step 1 would be nearer to C = 0.41


@pytest.mark.parametrize(
    ("step", "at", "text"),
    [
        (None, None, "there is none to recommend, no loss on validation examples was read"),
        (1, {"C": 0.1}, "not both"),
        (None, {"loss": 0.1}, "loss cannot be asked for, only lam"),
        (None, {}, "give columns with finite numbers"),
        (None, {"lam": float("nan")}, "give columns with finite numbers"),
        (None, {"val_C": 0.1}, "val_C was not measured"),
        (9, None, "no such accepted step, only 0, 1, 2, 3, 4"),
    ],
)
def test_a_wish_that_cannot_be_met_is_one_line(store: Store, step: int | None, at: dict[str, float] | None, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        find_row(store, NAME, step, at)


def test_find_step_says_which_step_a_wish_leads_to(store: Store) -> None:
    store.create({})
    row = rayfe.find_step(store.url(), NAME, at={"C": 0.29})
    assert (row.step, row.C) == (2, pytest.approx(0.3))
    with pytest.raises(FileNotFoundError, match="no run at"):
        rayfe.find_step("nowhere", NAME, at={"C": 0.29})


def test_a_warning_names_the_line_that_asked(store: Store) -> None:
    store.create({})
    with pytest.warns(FarFromWanted) as caught:
        rayfe.find_step(store.url(), NAME, at={"lam": 9.0})
        rayfe.Run(store.url()).step(at={"lam": 9.0}, trajectory=NAME)
    assert [one.filename for one in caught] == [__file__] * 2


def test_load_model_needs_a_run() -> None:
    with pytest.raises(FileNotFoundError, match="no run at"):
        rayfe.load_model("nowhere", NAME, at={"C": 0.1})


@pytest.mark.usefixtures("cwd")
def test_load_model_gives_back_the_stored_model(runner: Any) -> None:
    import torch

    runner(untrained_job.walk)
    assert main("isoc", [*untrained_job.DIGITS, "--out", "r"]) == 0
    model = rayfe.load_model("r", untrained_job.NAME, 2)
    assert not model.training
    x = torch.rand(5, 64)
    mean, log_variance = model.encode(x)
    assert mean.shape == log_variance.shape == (5, 8)
    assert model.decode(mean).shape == x.shape
    assert model.classify(mean).shape == (5, 10)
    expected = untrained_job.model_weights(PRESETS["isoc"]["digits-smoke"](), Store("r"))
    found = model.state_dict()
    assert expected.keys() <= found.keys()
    assert all(np.array_equal(value, found[name].numpy()) for name, value in expected.items())
    with pytest.raises(ValueError, match="trajectory='lam9': .* has only " + untrained_job.NAME):
        rayfe.load_model("r", "lam9", 0)
    with pytest.raises(ValueError, match="step=7: .* has no such accepted step, only 0, 1, 2"):
        rayfe.load_model(Path("r"), untrained_job.NAME, 7)
    with pytest.raises(FileNotFoundError, match="no run at"):
        rayfe.load_model("none", untrained_job.NAME, 0)
