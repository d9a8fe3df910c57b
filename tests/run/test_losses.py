"""Walks that hold several losses of real models: stored, gone on with, loaded, shown, side by side, and refused."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import rayfe
from rayfe.cli.command import main as rayfe_main
from rayfe.exceptions import UsageError
from rayfe.model.task import Task
from rayfe.storage.store import Store

RNG = np.random.default_rng(0)
X = RNG.random((240, 6)).astype(np.float32)
SIGNALS = ((X[:, :2] - 0.5) * 3.0 + 0.3 * RNG.standard_normal((240, 2))).astype(np.float32)
MIXED = np.stack([SIGNALS[:, 0] > 0, SIGNALS[:, 1]], axis=1).astype(np.float32)
EQUILIBRATION = {"first_epochs": 60, "first_learning_rate": 2e-2, "epochs": 10, "batch": 60}


class ClassAndNumber(Task):
    """Two tasks: a class by a logit, and a number with a standard deviation of a half."""

    signed = True

    def loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        return self.losses(prediction, y).sum(-1)

    def names(self, outputs: Sequence[str]) -> tuple[str, ...]:
        return ("class", "number")

    def losses(self, prediction: Tensor, y: Tensor) -> Tensor:
        logit, number = prediction.unbind(-1)
        of_class = torch.nn.functional.softplus(-logit * (2.0 * y[:, 0] - 1.0))
        return torch.stack([of_class, 2.0 * (y[:, 1] - number).square() - 0.5], dim=-1)


class Unequal(ClassAndNumber):
    def loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        return 2.0 * self.losses(prediction, y).sum(-1)


def walk(out: Path, task: str = f"{__name__}:ClassAndNumber", y: np.ndarray = MIXED, **settings: Any) -> rayfe.Run:
    """Two steps on a table of six columns."""
    fields: dict[str, Any] = {"steps": 2, "tolerance": 0.02, "lam": 20.0, "lam_end": 60.0, "quiet": True, "out": out}
    fields |= {"equilibration": EQUILIBRATION, "measure": {"head_draws": 64}, "process": "iso-losses"} | settings
    model = {"hidden": 16, "latent": 4, "task": task}
    return rayfe.walk("digits-smoke", model=model, data=rayfe.dataset(X, y, name="table"), **fields)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], rayfe.Run]:
    """A walk of two tasks, once."""
    return functools.cache(lambda: walk(tmp_path_factory.mktemp("losses") / "run"))


def test_two_tasks_are_held_by_a_multiplier_each(walked: Callable[[], rayfe.Run]) -> None:
    run = walked()
    assert not run.failed
    rows = run.accepted
    assert rows["step"].tolist() == [0, 1, 2]
    paid = np.zeros(3)
    for name in ("class", "number"):
        C = rows[f"C_{name}"].to_numpy()
        assert np.abs(C - C[0]).max() <= 0.02  # nats: this loss may be negative
        np.testing.assert_allclose(rows[f"drift_{name}"].iloc[1:].astype(float), (C - C[0])[1:], rtol=1e-6, atol=1e-12)
        assert (rows[f"drift_se_{name}"].iloc[1:] > 0).all()
        paid += C * rows[f"gamma_{name}"].to_numpy()
    np.testing.assert_allclose(rows["C"], rows["C_class"] + rows["C_number"], atol=1e-7)
    np.testing.assert_allclose(rows["F"], rows["R"] + rows["lam"] * rows["D"] + paid)
    assert rows["gamma_class"].iloc[0] == rows["gamma_number"].iloc[0] == 4.0
    assert rows["gamma_class"].iloc[2] != rows["gamma_number"].iloc[2]
    excess = rayfe.envelope_excess(rows)
    assert (excess >= 0.0).all() and excess.min() < 0.5 * rows["F"].min()


def test_a_stored_model_has_its_prices_and_its_losses(walked: Callable[[], rayfe.Run]) -> None:
    run = walked()
    row, model = run.accepted.iloc[2], run.model(2)
    np.testing.assert_allclose(4.0 * model.task.prices.numpy(), [row["gamma_class"], row["gamma_number"]])
    assert "gamma0" in {name.partition("/")[0].removeprefix("tangent_") for name in Store(str(run.location)).carry(run.step(2))}


def test_a_killed_walk_goes_on_to_the_same_rows(walked: Callable[[], rayfe.Run], tmp_path: Path) -> None:
    walk(tmp_path, steps=1)
    again = walk(tmp_path)
    for name in ("C_class", "C_number", "gamma_class", "gamma_number", "R", "D", "examples"):
        assert again.rows[name].tolist() == walked().rows[name].tolist()


def test_commands_read_such_a_run(walked: Callable[[], rayfe.Run], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = walked()
    out = str(run.location)
    assert rayfe_main(["verify", out]) == rayfe_main(["status", out]) == rayfe_main(["report", out]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "certificates compare one loss at one multiplier" in told and "rayfe certify" not in told
    assert rayfe_main(["export", out, "--trust", "--to", str(tmp_path / "model.pt2")]) == 0
    capsys.readouterr()
    assert rayfe_main(["certify", out]) == 2
    assert "iso-losses has no certificates" in capsys.readouterr().err
    assert rayfe.load_certificates(out).empty


@pytest.mark.parametrize("task", ["multi-label", "classification"])
def test_losses_of_labels_and_of_classes_are_named_by_them(task: str, tmp_path: Path) -> None:
    bits = SIGNALS > 0
    y = bits.astype(int) if task == "multi-label" else 2 * bits[:, 0] + bits[:, 1]
    run = walk(tmp_path, task, y, steps=1, tolerance=0.05, tolerance_floor=0.02)
    names = ["0", "1"] if task == "multi-label" else ["0", "1", "2", "3"]
    losses = run.rows[[f"C_{name}" for name in names]]
    assert not run.failed and len(losses) >= 2
    np.testing.assert_allclose(losses.sum(axis=1), run.rows["C"], rtol=1e-6)


def test_walks_side_by_side_are_those_that_are_alone(tmp_path: Path) -> None:
    """Two trajectories in the slots of one evaluator have the rows of one but for rounding."""
    settings: dict[str, Any] = {"steps": 1, "trajectories_per_evaluator": 2}
    y = (SIGNALS > 0).astype(int)
    one = walk(tmp_path / "one", "multi-label", y, seed=1, **settings)
    both = walk(tmp_path / "both", "multi-label", y, seed=(0, 1), **settings)
    rows = both.rows[both.rows["seed"] == 1]
    assert not both.failed and len(rows) >= 2
    for name in ("C_0", "C_1", "gamma_0", "gamma_1", "R", "D"):
        np.testing.assert_allclose(rows[name], one.rows[name], rtol=1e-3)  # rounding, which the trainings carry on


@pytest.mark.parametrize(
    ("task", "y", "words"),
    [
        ("regression", SIGNALS[:, :1], "has one loss alone"),
        (f"{__name__}:Unequal", MIXED, "losses whose sum is not the loss"),
    ],
    ids=["one loss", "another sum"],
)
def test_a_task_without_several_losses_is_refused(task: str, y: np.ndarray, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        walk(tmp_path / "run", task, y)
    assert refused.value.name == "model.task"
    assert not (tmp_path / "run").exists()


def test_a_name_that_is_a_column_already_is_refused(tmp_path: Path) -> None:
    data = rayfe.dataset(X, (SIGNALS > 0).astype(int), class_names=["target", "other"], name="table")
    with pytest.raises(UsageError, match="C_target"):
        rayfe.walk("digits-labels", data=data, quiet=True, out=tmp_path / "run")
