"""load_model gives back the stored model, by its step or by what is wanted: the nearest stored step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rayfe
import untrained_job
from rayfe.cli.job_command import main
from rayfe.config.presets import PRESETS
from rayfe.records import Commit, StepRecord
from rayfe.results.stored_model import find_row
from rayfe.storage.store import Store

NAME = "w"


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


@pytest.mark.parametrize(
    ("at", "step"),
    [({"C": 0.1}, 4), ({"C": 0.29}, 2), ({"C": 0.41}, 0), ({"C": 9.0}, 0), ({"lam": 3.9}, 3), ({"lam": 4.6, "C": 0.25}, 3)],
)
def test_nearest_step_among_those_with_weights(store: Store, at: dict[str, float], step: int) -> None:
    assert find_row(store, NAME, None, at).step == step  # step 1 would be nearer to C = 0.41


@pytest.mark.parametrize(
    ("step", "at", "text"),
    [
        (None, None, "there is none to recommend, no model has learnt to classify"),
        (1, {"C": 0.1}, "not both"),
        (None, {"loss": 0.1}, "loss cannot be asked for, only lam"),
        (None, {}, "nothing cannot be asked for"),
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


def test_load_model_needs_a_run() -> None:
    with pytest.raises(FileNotFoundError, match="no run at"):
        rayfe.load_model("nowhere", NAME, at={"C": 0.1})


@pytest.mark.usefixtures("signals", "cwd")
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
