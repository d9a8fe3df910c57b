"""Ray Train's workers give the first equilibrium of one evaluator, and nothing is left of them."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from rayfe.backend.inline import InlineBackend
from rayfe.config import DataConfig, EquilibrationConfig, MeasureConfig, ModelConfig, PathConfig, configure
from rayfe.data.datasets import load
from rayfe.data.paths import PathData
from rayfe.records import Annealing, EquilibrateRequest, Point, Replica, StepKey, StepRecord
from rayfe.storage.store import Store

pytest.importorskip("ray")
CONFIG = configure(
    lam=(1.0,),
    gamma=(4.0,),
    steps=1,
    tolerance=0.9,
    threads=1,
    train_workers=2,
    replicas_per_evaluator="all",
    data=DataConfig(name="digits"),
    model=ModelConfig(hidden=16, latent=4),
    equilibration=EquilibrationConfig(first_epochs=6, first_learning_rate=5e-3, epochs=3, batch=64),
    measure=MeasureConfig(head_draws=16),
)
KEY = StepKey(trajectory="lam1-gamma4-seed0", seed=0, step=0, attempt=0)
NEW = Replica(name="centre", point=Point(lam=1.0, gamma=4.0), weights=None)
WHOLE = Annealing(epochs=6.0, begin=0.0, end=6.0)
FIRST = EquilibrateRequest(key=KEY, replicas=(NEW,), annealing=WHOLE)


def data() -> PathData:
    return PathData(kind="still", source=load(CONFIG.data))


def test_first_equilibria_baselines_and_last_trainings_are_long_and_nothing_else() -> None:
    from rayfe.on_ray.distributed_training import is_long

    trained = dataclasses.replace(NEW, weights={"w": np.zeros(1)})
    stretch = dataclasses.replace(FIRST, replicas=(trained,))
    baseline = configure(CONFIG, method="finetune", path=PathConfig(target="digits"))
    assert is_long(FIRST, CONFIG)
    assert is_long(stretch, baseline)
    assert is_long(stretch, configure(baseline, method=None, process="constant-rate"))  # a transfer's last training
    assert not is_long(stretch, CONFIG)  # of a renewal
    assert not is_long(dataclasses.replace(FIRST, annealing=None), CONFIG)
    assert not is_long(dataclasses.replace(FIRST, replicas=(NEW, NEW)), CONFIG)


def test_every_training_has_a_name_of_its_own() -> None:
    from rayfe.on_ray.distributed_training import name_of

    end = dataclasses.replace(FIRST, replicas=(dataclasses.replace(NEW, name="endpoint"),))
    later = dataclasses.replace(FIRST, annealing=Annealing(epochs=6.0, begin=3.0, end=6.0))
    again = dataclasses.replace(FIRST, key=dataclasses.replace(KEY, attempt=1))
    assert len({name_of(request) for request in (FIRST, end, later, again)}) == 4
    assert name_of(FIRST) == "lam1-gamma4-seed0-step0-attempt0-centre-epoch0"


def test_only_the_trainings_of_the_trajectory_are_removed(tmp_path: Path) -> None:
    from rayfe.on_ray.distributed_training import clear

    for name in ("lam1-gamma4-seed0-step0-attempt0", "lam1-gamma4-seed01-step0-attempt0"):
        (tmp_path / ".train" / name).mkdir(parents=True)
    clear(str(tmp_path / ".train"), "lam1-gamma4-seed0")
    assert [path.name for path in (tmp_path / ".train").iterdir()] == ["lam1-gamma4-seed01-step0-attempt0"]
    clear(str(tmp_path / ".train"), "lam1-gamma4-seed01")
    assert list(tmp_path.iterdir()) == []
    clear(str(tmp_path / ".train"), "lam1-gamma4-seed01")


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
def test_two_workers_train_what_one_evaluator_trains_and_the_walk_goes_on_from_it(tmp_path: Path) -> None:
    """Tolerance: 1e-4 of R, D and C in single precision, after 135 updates."""
    from rayfe.on_ray.sweep import run_on_ray

    events: list[str] = []
    told: list[StepRecord] = []
    assert run_on_ray(CONFIG, data(), str(tmp_path), "all", told.append, events.append) == {}
    rows = Store(tmp_path).rows("lam1-gamma4-seed0")
    assert [row.accepted for row in rows] == [True, True]
    assert not (tmp_path / ".train").exists()

    single = InlineBackend(CONFIG, data()).equilibrate(FIRST)
    last = single.readings[-1]
    readings = [row for row in Store(tmp_path).readings("lam1-gamma4-seed0") if row.first]
    assert len(readings) == len(single.readings)
    assert [readings[-1].R, readings[-1].D, readings[-1].C] == pytest.approx([last.R, last.D, last.C], rel=1e-4)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_a_killed_worker_changes_nothing(tmp_path: Path) -> None:
    """By `pytest -m slow tests/backend/test_ray_train.py`: the workers start again and go on from what was kept."""
    import psutil

    from rayfe.on_ray.sweep import run_on_ray

    epochs = 60.0
    equilibration = dataclasses.replace(CONFIG.equilibration, first_epochs=epochs)
    config = configure(CONFIG, equilibration=equilibration)
    killed: list[int] = []

    def kill_one() -> None:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and not killed:
            if list((tmp_path / ".train").rglob("state.pt")):
                workers = [
                    one for one in psutil.Process().children(recursive=True) if "RayTrainWorker" in " ".join(one.cmdline())
                ]
                if workers:
                    workers[-1].kill()
                    killed.append(workers[-1].pid)
            time.sleep(0.05)

    killer = threading.Thread(target=kill_one)
    killer.start()
    assert run_on_ray(config, data(), str(tmp_path), "all", lambda row: None, lambda text: None) == {}
    killer.join()
    assert killed
    request = dataclasses.replace(FIRST, annealing=Annealing(epochs=epochs, begin=0.0, end=epochs))
    last = InlineBackend(config, data()).equilibrate(request).readings[-1]
    found = [row for row in Store(tmp_path).readings("lam1-gamma4-seed0") if row.first]
    assert [found[-1].R, found[-1].D, found[-1].C] == pytest.approx([last.R, last.D, last.C], rel=3e-3)
    updates = [row.update for row in found]
    assert updates == sorted(set(updates))
