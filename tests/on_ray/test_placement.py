"""Rows of tiny real models do not depend on where they were trained."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from rayfe.backend.inline import InlineBackend
from rayfe.config import DataConfig, EquilibrationConfig, MeasureConfig, ModelConfig, configure
from rayfe.data.datasets import load
from rayfe.data.paths import PathData, epoch_of
from rayfe.records import StepRecord
from rayfe.run.runner import run_inline
from rayfe.storage.store import Store

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]
CONFIG = configure(
    lam=(1.0,),
    gamma=(4.0, 5.0),
    steps=2,
    refresh=1,
    tolerance=0.9,
    certificate_share=1.0,
    threads=1,
    replicas_per_evaluator=1,
    data=DataConfig(name="digits"),
    model=ModelConfig(hidden=16, latent=4),
    equilibration=EquilibrationConfig(first_epochs=20, first_learning_rate=1e-2, epochs=3, batch=64),
    measure=MeasureConfig(head_draws=16),
)


class Silent:
    def __init__(self) -> None:
        self.events: list[str] = []

    def row(self, record: StepRecord) -> None:
        """Rows are read from the store."""

    def event(self, text: str) -> None:
        self.events.append(text)


def data() -> PathData:
    return PathData(kind="still", source=load(CONFIG.data))


def rows(folder: Path) -> list[dict[str, Any]]:
    """Rows of both trajectories, and their two certificates."""
    store, names = Store(folder), CONFIG.trajectories()
    found = [dataclasses.asdict(row) for name in names for row in store.rows(name)]
    found += [dataclasses.asdict(one) for name in names for one in store.certificates(name)]
    return [{name: value for name, value in row.items() if "second" not in name} for row in found]


def on_ray(folder: Path, **fields: Any) -> list[dict[str, Any]]:
    from rayfe.on_ray.sweep import run_on_ray

    heard = Silent()
    config = configure(CONFIG, **fields)
    assert run_on_ray(config, data(), str(folder), "all", heard.row, heard.event) == {}
    told = [text for text in heard.events if "waiting for room" not in text]
    assert sum("certificate of step 2" in text for text in told) == len(CONFIG.gamma) == len(told) / 2
    return rows(folder)


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("inline")
    assert run_inline(CONFIG, InlineBackend(CONFIG, data()), Store(folder), Silent(), epoch=epoch_of(data(), CONFIG)) == {}
    found = rows(folder)
    assert len(found) == 6 + 2 and all(row.get("accepted", True) for row in found)
    return found


def test_a_shared_pool_gives_the_bytes_of_one_process(tmp_path: Path, inline: list[dict[str, Any]]) -> None:
    assert on_ray(tmp_path, placement="shared") == inline


def test_isolated_trajectories_give_the_bytes_of_one_process(tmp_path: Path, inline: list[dict[str, Any]]) -> None:
    assert on_ray(tmp_path, placement="isolated") == inline


def test_all_replicas_on_one_evaluator_differ_by_rounding_only(tmp_path: Path, inline: list[dict[str, Any]]) -> None:
    stacked = on_ray(tmp_path, placement="isolated", replicas_per_evaluator="all")
    assert [row.get("accepted") for row in stacked] == [row.get("accepted") for row in inline]
    assert {row["outcome"] for row in stacked} == {"OK"}
    for one, other in zip(stacked, inline, strict=True):
        for name in ("lam", "gamma", "R", "D", "C"):
            assert math.isclose(one[name], other[name], rel_tol=1e-3), (one["step"], name)


def test_each_neighbour_has_a_gpu_of_its_own_where_a_bundle_has_one() -> None:
    """Bundles of an isolated trial, as they are asked of Ray."""
    from rayfe.on_ray.capacity import parts_of, unit_of

    config = configure(CONFIG, placement="isolated")
    assert [unit_of(config, [{"CPU": 8, "GPU": 2}]).resources] * parts_of(config) == [{"CPU": 0.1, "GPU": 1}] * 3
