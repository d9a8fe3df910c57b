"""Runs all trajectories of a configuration on the backend it names."""

from __future__ import annotations

from typing import Protocol

from rayfe import driver
from rayfe.backend.base import Backend
from rayfe.config import RunConfig
from rayfe.data.paths import PathData
from rayfe.files import StorageFull
from rayfe.records import StepRecord
from rayfe.store import Store


class Listener(Protocol):
    """Who is told what happens, e.g. `progress.Progress`."""

    def row(self, record: StepRecord) -> None: ...

    def event(self, text: str) -> None: ...


def run(config: RunConfig, data: PathData, store: Store, progress: Listener) -> dict[str, str]:
    """Walk every trajectory to its end; returns those that failed, with one line why.

    Raises:
        UsageError: the machine or cluster cannot hold the evaluators asked for.
        KeyboardInterrupt, signals.Terminated: the step in flight is abandoned.
        RuntimeError: the embedded Ray died.
        StorageFull: there is no room for a file; what is stored stays.
    """
    if config.backend == "ray":
        from rayfe.sweep import run_on_ray  # imports Ray

        return run_on_ray(config, data, store.url(), config.keep_states, progress.row, progress.event, owner=store.owner)
    from rayfe.backend.inline import InlineBackend  # imports torch

    return run_inline(config, InlineBackend(config, data), store, progress)


def gpus(config: RunConfig) -> int:
    """GPUs that a run of this configuration could use side by side, on this machine or in the cluster of RAY_ADDRESS."""
    if config.backend == "inline" or config.device == "cpu":
        return 0
    from rayfe.backend.ray_cluster import cluster_gpus  # imports Ray

    return cluster_gpus()


def run_inline(config: RunConfig, backend: Backend, store: Store, progress: Listener) -> dict[str, str]:
    """Walk every trajectory in this process, one attempted step of each in turn; returns as `run` does."""
    failed: dict[str, str] = {}
    walking = {}
    for name, start in config.trajectories().items():
        try:
            walking[name] = driver.open_trajectory(config, start, store)
        except StorageFull:
            raise
        except Exception as error:
            failed[name] = driver.failure(name, error)
    while walking:
        for name, trajectory in list(walking.items()):
            if trajectory.finished is not None:
                del walking[name]
                continue
            try:
                record = driver.advance(trajectory, backend, store)
            except StorageFull:  # the others have no room either
                raise
            except Exception as error:  # the others go on
                failed[name] = driver.failure(name, error)
                del walking[name]
                continue
            progress.row(record)
    return failed
