"""A plain Ray Tune sweep: one trial per lam, each trains its models from scratch and stores its own rows."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import ray
from ray import tune

from rayfe.benchmark.running import CommonStart, open_point, within
from rayfe.benchmark.settings import Settings
from rayfe.config import RunConfig, Start
from rayfe.data.examples import Dataset
from rayfe.on_ray.session import cluster
from rayfe.storage.store import Store
from rayfe.trajectory import driver


def sweep(
    config: RunConfig,
    settings: Settings,
    begin: CommonStart,
    folder: str,
    starts: list[Start],
    data: Dataset,
    *,
    limit: float | None,
) -> None:
    """Run every start to its end or to `limit` examples of its own.

    Trials run one after the other with all threads of the configuration, so that their seconds are those of the machine
    at work for one model, as the other methods'.

    Raises:
        RuntimeError: a trial failed.
    """
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C is the job's
    with cluster(), tempfile.TemporaryDirectory() as temporary:
        parameters = {"config": config, "settings": settings, "begin": begin, "folder": folder, "data": data, "limit": limit}
        cpus = min(config.service.threads, int(ray.cluster_resources().get("CPU", 1)))
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(train_point, **parameters), {"cpu": cpus}),
            param_space={"start": tune.grid_search(starts)},
            tune_config=tune.TuneConfig(max_concurrent_trials=1),
            run_config=tune.RunConfig(name="grid", storage_path=temporary, verbose=0),
        )
        failed = tuner.fit().errors
    if failed:
        raise RuntimeError(f"{len(failed)} trials of the grid failed, the first by {failed[0]}")


def train_point(
    trial: dict[str, Any],
    *,
    config: RunConfig,
    settings: Settings,
    begin: CommonStart,
    folder: str,
    data: Dataset,
    limit: float | None,
) -> dict[str, Any]:
    """One trial: the rows go to the store, which is the state of record."""
    from rayfe.benchmark.backend import BenchmarkBackend  # imports torch: in trials only

    store = Store(folder)
    trajectory = open_point(config, settings, begin, store, trial["start"])
    backend = BenchmarkBackend(config, data)
    while within(trajectory, limit):
        driver.advance(trajectory, backend, store)
    return {"rows": len(trajectory.rows)}
