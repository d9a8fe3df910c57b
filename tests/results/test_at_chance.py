"""Held is not learnt: a start that says of labels no more than how frequent they are ends as `at_chance`, with what to raise."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import rayfe
from rayfe.cli.command import main as rayfe_main
from rayfe.cli.commands import check
from rayfe.cli.job_command import main
from rayfe.config import EquilibrationConfig, MeasureConfig
from rayfe.config.presets import PRESETS
from rayfe.data.coupling import Coupling
from rayfe.data.datasets import load
from rayfe.data.device_path import DeviceExamples, DevicePath, Mixture, Still
from rayfe.data.displacement import Displacement
from rayfe.data.labels import mean_label
from rayfe.model.task import Classification
from rayfe.surface.chance import AT_CHANCE

NAME = "lam1-gamma4-seed0"
DIGITS = load(PRESETS["isoc"]["digits-smoke"]().data)


def walk(out: Path, labels: np.ndarray, *, epochs: float) -> rayfe.Run:
    """One step of a walk on digits with these training labels."""
    validation = (DIGITS.validation.x, DIGITS.validation.y)
    data = rayfe.dataset(DIGITS.train.x, labels, validation=validation, name=f"digits-{out.name}")
    training = EquilibrationConfig(
        first_epochs=epochs, first_schedule="linear", first_learning_rate=1e-2, epochs=2, learning_rate=5e-3, batch=64
    )
    measure = MeasureConfig(head_draws=64)
    return rayfe.walk("digits-smoke", data=data, out=out, steps=1, equilibration=training, measure=measure, quiet=True)


def test_shuffled_labels_are_at_chance_and_true_ones_are_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = DIGITS.train.y
    shuffled = np.random.default_rng(0).permutation(labels)
    guesses, learns = (walk(tmp_path / name, y, epochs=15) for name, y in (("shuffled", shuffled), ("true", labels)))

    start, stop = guesses.rows.itertuples()
    frequencies = np.bincount(labels) / len(labels)
    assert start.label_entropy == pytest.approx(-(frequencies * np.log(frequencies)).sum(), rel=1e-6)
    assert start.accepted and start.C > AT_CHANCE * start.label_entropy
    assert (stop.step, stop.accepted, stop.reason, stop.lam, stop.gamma) == (1, False, "at_chance", start.lam, start.gamma)
    assert guesses.failed == {}
    assert guesses.model(0).classify(torch.zeros(1, 8)).shape == (1, 10)  # the start is there

    assert learns.rows.C.iloc[0] < 0.3 * learns.rows.label_entropy.iloc[0]
    assert "at_chance" not in set(learns.rows.reason)

    capsys.readouterr()
    assert rayfe_main(["status", str(tmp_path / "shuffled")]) == 0
    assert f"{NAME}: nothing to hold: C0 is {start.C:.3g} nats, where guessing has 2.3," in capsys.readouterr().out


def test_the_check_counts_the_updates_of_the_start_and_warns_of_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(check, "examples_per_second", lambda config, data: 1000.0)
    for words, said in (((), "start: 901 updates\n"), (("--equilibration.first-epochs", "2"), "start: 23 updates (few: ")):
        assert check.main(["isoc", "digits-smoke", *words]) == 0
        assert said in capsys.readouterr().out


def test_a_command_that_ended_at_chance_exits_0_and_does_so_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = ("--equilibration.first-epochs", "0.2", "--equilibration.epochs", "0.2")
    words = ["digits-smoke", "--backend", "inline", "--out", str(tmp_path / "run"), *short]
    for _ in range(2):
        assert main("isoc", words) == 0
        assert "raise --equilibration.first-epochs; ended: at_chance" in " ".join(capsys.readouterr().out.split())
    rows = rayfe.load_run(tmp_path / "run")
    assert rows.reason.tolist()[1:] == ["at_chance"]


X = torch.zeros(4, 3)


def entropy(path: DevicePath, t: float) -> float:
    return Classification(3).uninformed(partial(mean_label, path, t))


def test_the_entropy_of_labels_is_that_of_their_mean_on_every_path() -> None:
    one, other = (DeviceExamples(x=X, y=torch.tensor(y)) for y in ([0, 0, 1, 1], [2, 2, 2, 2]))
    assert entropy(Still(one), 0.0) == pytest.approx(np.log(2))
    mixture = Mixture(one, other)
    assert entropy(mixture, 0.0) == pytest.approx(np.log(2))
    assert entropy(mixture, 0.5) == pytest.approx(0.5 * np.log(4) + 0.5 * np.log(2))
    pairs = Coupling(source=np.arange(4), target=np.arange(4), weight=np.full(4, 0.25), report={})
    moved = Displacement(one, other, pairs, 3)  # soft labels on the way
    assert entropy(moved, 0.0) == pytest.approx(np.log(2))
    assert entropy(moved, 0.5) == pytest.approx(0.5 * np.log(4) + 0.5 * np.log(2))
    assert entropy(moved, 1.0) == pytest.approx(0.0, abs=1e-9)
