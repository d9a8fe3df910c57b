"""How far a training is, as it is told."""

from __future__ import annotations

import pytest

from rayfe.backend.inline import InlineBackend
from rayfe.config import configure
from rayfe.config.presets import PRESETS
from rayfe.data.datasets import load
from rayfe.records import Annealing, EquilibrateRequest, InTraining, Point, Replica, StepKey
from rayfe.training import watch
from rayfe.training.watch import Watch

KEY = StepKey(trajectory="a", seed=0, step=3, attempt=0)


def test_it_is_told_once_a_second_with_what_is_left() -> None:
    told: list[InTraining] = []
    clock = iter([0.0, *(0.4 * i for i in range(100))])
    seen = Watch(told.append, KEY, updates=100, epochs=8.0, now=lambda: next(clock))
    for update in range(100):
        seen(update, ())
    assert [now.updates for now in told] == list(range(3, 100, 3))
    assert all(now.seconds_left == pytest.approx(0.4 * (100 - now.updates)) for now in told)


def test_a_training_that_is_taken_up_is_timed_from_there() -> None:
    told: list[InTraining] = []
    clock = iter([0.0, 0.0, 2.0])
    seen = Watch(told.append, KEY, updates=100, epochs=8.0, now=lambda: next(clock))
    seen(60, ())
    seen(70, ())
    assert told[0].seconds_left == pytest.approx(6.0)
    assert told[0].share == 0.7


def test_a_backend_tells_of_its_training_and_answers_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAUSE", 0.0)
    config = configure(PRESETS["isoc"]["digits-smoke"](), equilibration={"first_epochs": 2.0})
    new = Replica(name="centre", point=Point(lam=1.0, gamma=4.0), weights=None)
    request = EquilibrateRequest(key=KEY, replicas=(new,), annealing=Annealing(epochs=2.0, begin=0.0, end=2.0))
    backend = InlineBackend(config, load(config.data))
    silent = backend.equilibrate(request)
    told: list[InTraining] = []
    backend.on_training = told.append
    loud = backend.equilibrate(request)
    assert loud.readings == silent.readings
    assert [now.updates for now in told] == list(range(told[0].all_updates))
    assert told[-1].epochs == pytest.approx(2.0, rel=0.1)
    last = [reading for reading in loud.readings if reading.update <= told[-1].updates][-1]
    assert told[-1].C == last.C
