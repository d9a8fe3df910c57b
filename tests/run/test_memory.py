"""What an evaluator is said to take, against what its tensors took; and more than a machine has is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from rayfe.backend.inline import InlineBackend
from rayfe.config import configure
from rayfe.config.presets import PRESETS
from rayfe.data.paths import load_path
from rayfe.exceptions import UsageError
from rayfe.run.memory import Allocated, Memory, memory_of, require_room
from rayfe.storage.store import Store
from rayfe.trajectory.driver import advance, open_trajectory

SHORT: dict[str, Any] = {"first_epochs": 2.0, "epochs": 1.0, "compile": "never"}
DIGITS = configure(PRESETS["isoc"]["digits-smoke"](), steps=1, tolerance=0.9, equilibration=SHORT, trajectories_per_evaluator=1)


def test_what_is_counted_lives() -> None:
    with Allocated() as allocated:
        kept = torch.zeros(1000)
        for _ in range(3):
            assert float((kept.view(10, 100) + 1.0).sum()) == 1000.0
        assert (allocated.live, allocated.peak) == (4000, 8004)
        with allocated.apart():
            torch.zeros(5000)
        kept += 1.0
        assert (allocated.live, allocated.peak, allocated.peak_apart) == (4000, 8004, 24000)


def test_memory_is_within_15_percent_of_what_a_step_takes(tmp_path: Path) -> None:
    (start,), store = DIGITS.trajectories().values(), Store(tmp_path)
    with Allocated() as allocated:
        backend = InlineBackend(DIGITS, load_path(DIGITS), device=torch.device("cpu"))
        trajectory = open_trajectory(DIGITS, start, store)
        while trajectory.finished is None:
            advance(trajectory, backend, store)
    assert memory_of(DIGITS, load_path(DIGITS)).of(1) == pytest.approx(allocated.peak, rel=0.15)


def test_several_keep_their_slots_while_they_are_read_together() -> None:
    found = Memory(data=100.0, training=10.0, reading=25.0, examples=6000, chunk=4000)
    assert (found.of(1), found.of(2), found.of(4)) == (
        125.0,
        100.0 + 20.0 + 25.0 * 2 * 2000 / 3000,
        100.0 + 40.0 + 25.0 * 4 / 3,
    )
    assert dataclasses.replace(found, reading=5.0).of(1) == 110.0


def test_more_than_this_machine_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure(DIGITS, backend="inline", trajectories_per_evaluator=1024)
    require_room(config, load_path(config))
    monkeypatch.setattr("rayfe.run.memory.own_memory", lambda: float(256 << 20))
    with pytest.raises(
        UsageError, match=r"^trajectories_per_evaluator=1024: needs .* GiB, this machine has 256 MiB; give at most \d+$"
    ) as said:
        require_room(config, load_path(config))
    most = int(str(said.value).rpartition(" ")[2])
    require_room(configure(config, trajectories_per_evaluator=most), load_path(config))
    with pytest.raises(UsageError):
        require_room(configure(config, trajectories_per_evaluator=most + 1), load_path(config))


def test_what_a_run_would_diverge_by_is_no_matter_for_its_memory() -> None:
    config = configure(DIGITS, equilibration={"learning_rate": 1e3})
    assert memory_of(config, load_path(config)) == memory_of(DIGITS, load_path(DIGITS))
