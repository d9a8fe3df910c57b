"""Walks at constant loss of other tasks than classification, from arrays: held in nats, stored, gone on with, and loaded again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import rayfe
from rayfe.cli.command import main as rayfe_main
from rayfe.config import DataConfig, EquilibrationConfig, MeasureConfig
from rayfe.data.datasets import load
from rayfe.exceptions import UsageError
from rayfe.model.task import Regression, Task

RNG = np.random.default_rng(0)
X = RNG.random((240, 6)).astype(np.float32)
SIGNALS = (X[:, :2] - 0.5) * 3.0 + 0.3 * RNG.standard_normal((240, 2))
QUICK = EquilibrationConfig(first_epochs=60, first_schedule="linear", first_learning_rate=2e-2, epochs=10, batch=60)
LABELS: dict[str, np.ndarray] = {
    "regression": SIGNALS,
    "multi-label": (SIGNALS > 0).astype(int),
    f"{__name__}:Margin": (SIGNALS[:, 0] > 0).astype(int),
}


class Margin(Task):
    """Two classes by the difference of two outputs; a loss of the user's own, of labels that are classes."""

    scored = "score"

    def loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        margin = (prediction[..., 1] - prediction[..., 0]) * (2.0 * y - 1.0)
        return torch.nn.functional.softplus(-margin)

    def score(self, prediction: Tensor, y: Tensor) -> Tensor:
        return (prediction.argmax(-1) == y).to(prediction.dtype)


def walk(task: str, out: Path, y: np.ndarray | None = None, **settings: Any) -> rayfe.Run:
    """Two steps on a table of six columns."""
    data = rayfe.dataset(X, LABELS[task] if y is None else y, name="table")
    fields: dict[str, Any] = {
        "steps": 2,
        "tolerance": 0.02,
        "lam": 20.0,
        "lam_end": 60.0,
        "gamma": 4.0,
        "certificate_share": 0.0,
    }
    fields |= {"equilibration": QUICK, "measure": MeasureConfig(head_draws=64), "quiet": True, "out": out} | settings
    return rayfe.walk("digits-smoke", model={"hidden": 16, "latent": 4, "task": task}, data=data, **fields)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], rayfe.Run]:
    """A walk of each task, once."""
    return functools.cache(lambda task: walk(task, tmp_path_factory.mktemp("tasks") / "run"))


@pytest.mark.parametrize("task", LABELS, ids=lambda name: name.rpartition(":")[2])
def test_a_walk_holds_the_loss_of_its_task(task: str, walked: Callable[[str], rayfe.Run]) -> None:
    rows, signed = walked(task).accepted, task == "regression"
    assert rows["step"].tolist() == [0, 1, 2]
    C, scale = rows["C"].to_numpy(), 1.0 if signed else rows["C"].iloc[0]
    off = (C - C[0]) / scale
    assert np.abs(off).max() < 0.02
    np.testing.assert_allclose(rows["held_drift"].iloc[1:].astype(float), off[1:], rtol=1e-6, atol=1e-12)
    assert rows["C_scale"].isna().all() != signed
    assert rows["accuracy"].isna().all() and rows["val_accuracy"].isna().all()
    chance = rows["label_entropy"].astype(float)
    assert (C < chance - 0.1).all() if not task.endswith("Margin") else chance.isna().all()
    np.testing.assert_allclose(rows["F"], rows["R"] + rows["lam"] * rows["D"] + rows["gamma"] * rows["C"])
    score = rows["val_score"].astype(float)
    assert (score < 0.5).all() if signed else (score > 0.8).all()


@pytest.mark.parametrize("task", ["regression", "multi-label"])
def test_nothing_that_is_shown_of_another_task_speaks_of_classes(
    task: str, walked: Callable[[str], rayfe.Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = walked(task)
    assert rayfe_main(["status", str(run.location)]) == 0
    said = capsys.readouterr().out
    score = f"{run.accepted['val_score'].iloc[-1]:.4g}"
    assert "val score" in said and score in said and "score" in said.split("steps", 1)[1]
    assert rayfe_main(["export", str(run.location), "--step", "2", "--to", str(tmp_path / "m.pt2")]) == 0
    capsys.readouterr()
    card = (tmp_path / "m.pt2.md").read_text()
    assert f"| C ({task} loss, nats) |" in card and "score (the task's" in card
    assert rayfe_main(["report", str(run.location), "--to", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "validation score" in page and score in page
    for text in (said, card, page.partition("<main")[2].partition("<script")[0].replace("chart-accuracy", "")):
        found = [word for word in ("classification loss", "Classification loss", "ccuracy", "Classes in") if word in text]
        assert found == []


def test_a_regression_goes_on_and_its_variance_is_stored(
    tmp_path: Path, walked: Callable[[str], rayfe.Run], capsys: pytest.CaptureFixture[str]
) -> None:
    whole, out = walked("regression"), tmp_path / "run"
    walk("regression", out, steps=1)
    run = walk("regression", out)
    assert run.accepted["C"].tolist() == whole.accepted["C"].tolist()
    model = run.model(2)
    assert isinstance(model.task, Regression)
    x, y = (torch.from_numpy(value).float() for value in (X, SIGNALS))
    error = (model.classify(model.encode(x)[0]) - y).square().mean(0).detach()
    variance = model.task.log_variance.detach().exp()
    assert (error < variance).all() and (variance < 0.8 * y.var(0)).all()
    assert rayfe_main(["verify", str(out)]) == 0
    assert rayfe_main(["status", str(out)]) == 0
    assert "% of a nat" in capsys.readouterr().out
    assert rayfe_main(["export", str(out), "--to", str(tmp_path / "model.pt2")]) == 0
    card = (tmp_path / "model.pt2.md").read_text()
    assert "C - C0" in card and "| score " in card and "nan" not in card
    page = Path(run.report()).read_text()
    assert "C - C0 (% of a nat)" in page


REFUSED = {
    "classes": ("regression", (SIGNALS[:, 0] > 0).astype(int), {}, "task"),
    "numbers": ("classification", SIGNALS, {}, "give .*regression"),
    "numbers for bits": ("multi-label", SIGNALS, {}, "needs labels of 0 and 1"),
    "a control split": ("regression", SIGNALS * 99.0, {"hold": "control"}, "standard deviation"),
}


@pytest.mark.parametrize(("task", "y", "settings", "words"), REFUSED.values(), ids=REFUSED)
def test_labels_that_do_not_fit_leave_nothing(
    task: str, y: np.ndarray, settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=words):
        walk(task, tmp_path / "run", y, **settings)
    assert not (tmp_path / "run").exists()


def test_transfers_and_conditioned_models_of_numbers_are_refused(tmp_path: Path) -> None:
    data = rayfe.dataset(X, SIGNALS, name="table")
    with pytest.raises(UsageError, match="target.*has numbers for labels"):
        rayfe.transfer(
            data=data, target=rayfe.dataset(X, SIGNALS, name="other"), model={"task": "regression"}, out=tmp_path / "a"
        )
    with pytest.raises(UsageError, match="has a loss that may be negative"):
        rayfe.conditioned("digits-smoke", data=data, model={"latent": 4, "task": "regression"}, out=tmp_path / "b", quiet=True)


def test_turned_digits_are_the_same_everywhere_and_their_targets_uniform() -> None:
    data = load(DataConfig(name="digits-turned"))
    assert data.train.x.shape == (7210, 1, 8, 8) and data.class_names == ("turn", "move")
    assert len(set(data.train.number) | set(data.validation.number)) == 7210 + 1775
    np.testing.assert_allclose(data.train.y.std(0), 1.0, atol=0.02)
    assert np.abs(data.train.y).max() <= 3**0.5
    right = data.train.x[data.train.y[:, 1] > 1.2].mean(0)[0].sum(0) @ np.arange(8)
    left = data.train.x[data.train.y[:, 1] < -1.2].mean(0)[0].sum(0) @ np.arange(8)
    assert right > left  # moved to the right is a larger number
