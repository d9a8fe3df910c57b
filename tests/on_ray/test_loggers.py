"""TensorBoard by Tune's own callback: files that stay, accepted steps by their number."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import RunConfig, configure
from rayfe.records import StepRecord
from rayfe.records.backend import Backend
from rayfe.surface.closed_form import PowerSurface

ray = pytest.importorskip("ray")
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]
CONFIG = configure(gamma=(4.0, 5.0), steps=2)


def make_analytic(config: RunConfig, data: object) -> Backend:
    return AnalyticBackend(PowerSurface(kappa=20.0, a=1 / 3, b=1 / 3))


def run(config: RunConfig, folder: Path) -> list[StepRecord]:
    from rayfe.on_ray.sweep import run_on_ray

    rows: list[StepRecord] = []
    assert run_on_ray(config, None, str(folder), "all", rows.append, print, backend_factory=make_analytic) == {}
    return rows


def test_tensorboard_has_a_folder_a_trajectory(tmp_path: Path) -> None:
    run(configure(CONFIG, tensorboard=str(tmp_path / "board")), tmp_path / "run")
    folders = sorted(path.name for path in (tmp_path / "board").iterdir())
    assert folders == sorted(CONFIG.trajectories())
    for folder in (tmp_path / "board").iterdir():
        text = b"".join(path.read_bytes() for path in folder.glob("events.out.tfevents.*"))
        assert text.count(b"ray/tune/gamma") >= 3
        assert b"ray/tune/C_target" in text


def test_nothing_of_it_is_in_the_run(tmp_path: Path) -> None:
    run(configure(CONFIG, tensorboard=str(tmp_path / "board")), tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*tfevents*"))


def test_mlflow_has_a_run_a_trajectory(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    rows = run(configure(CONFIG, out="/somewhere/walks", mlflow=uri), tmp_path / "run")
    mlflow.set_tracking_uri(uri)
    found: Any = mlflow.search_runs(experiment_names=["walks"], output_format="list")
    assert sorted(one.data.params["trajectory"] for one in found) == sorted(CONFIG.trajectories())
    last = {row.trajectory: row.gamma for row in rows}
    assert {one.data.params["trajectory"]: one.data.metrics["gamma"] for one in found} == pytest.approx(last)
