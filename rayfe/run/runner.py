"""Runs all trajectories of a configuration on the backend it names."""

from __future__ import annotations

from typing import Protocol

from rayfe.config import RunConfig
from rayfe.data.paths import PathData, epoch_of
from rayfe.exceptions import LeaseLost, StorageError
from rayfe.records import InTraining, StepRecord
from rayfe.records.backend import Backend
from rayfe.results.certified import certificate_line
from rayfe.storage.store import Store
from rayfe.trajectory import driver
from rayfe.trajectory.trajectory import Trajectory


class Listener(Protocol):
    """Who is told what happens, e.g. `progress.Progress`."""

    def row(self, record: StepRecord) -> None: ...

    def event(self, text: str) -> None: ...

    def training(self, now: InTraining) -> None: ...


def run(config: RunConfig, data: PathData, store: Store, progress: Listener) -> dict[str, str]:
    """Walk every trajectory to its end; returns those that failed, with one line why.

    Raises:
        UsageError: the machine or cluster cannot hold the evaluators asked for.
        KeyboardInterrupt: the step in flight is abandoned.
        RuntimeError: the embedded Ray died.
        LeaseLost: another driver has taken the run over.
        StorageError: storage is full, or away; what is stored stays.
    """
    if config.service.backend == "ray":
        from rayfe.on_ray.sweep import run_on_ray  # imports Ray

        return run_on_ray(
            config,
            data,
            store.url(),
            config.service.keep_states,
            progress.row,
            progress.event,
            on_training=progress.training,
            owner=store.owner,
        )
    from rayfe.backend.inline import InlineBackend  # imports torch

    backend = InlineBackend(config, data)
    backend.on_training = progress.training
    return run_inline(config, backend, store, progress, epoch=epoch_of(data, config))


def trains_on_gpus(config: RunConfig) -> bool:
    """Whether a run of this configuration trains on GPUs, here or where Ray's evaluators will be; that may be elsewhere."""
    if config.service.backend == "inline":
        import torch

        return torch.cuda.is_available()
    from rayfe.on_ray.capacity import unit_of  # imports Ray
    from rayfe.on_ray.session import nodes

    return unit_of(config, nodes()).gpus > 0


def run_inline(
    config: RunConfig, backend: Backend, store: Store, progress: Listener, *, epoch: int | None = None
) -> dict[str, str]:
    """Walk every trajectory in this process, one attempted step of each in turn, and certify its last model; returns as `run` does.

    `epoch`: training examples in an epoch; None, where the backend has no data: there are no certificates.
    """
    failed, walking = driver.Failures(store), {}
    for name, start in config.trajectories().items():
        try:
            walking[name] = driver.open_trajectory(config, start, store)
        except (StorageError, LeaseLost):
            raise
        except Exception as error:
            failed[name] = driver.failure(name, error)
    while walking:
        for name, trajectory in list(walking.items()):
            try:
                if trajectory.finished is not None:
                    del walking[name]
                    _certify_last(config, trajectory, backend, store, progress, epoch=epoch)
                    continue
                record = driver.advance(trajectory, backend, store)
            except (StorageError, LeaseLost):  # the others cannot write either
                raise
            except Exception as error:  # the others go on
                failed[name] = driver.failure(name, error)
                walking.pop(name, None)
                continue
            progress.row(record)
    return failed


def _certify_last(
    config: RunConfig, trajectory: Trajectory, backend: Backend, store: Store, progress: Listener, *, epoch: int | None
) -> None:
    """Train the last model of a trajectory that has ended on, unless that was done."""
    if epoch is not None and driver.last_certificate_is_due(config, trajectory, store):
        progress.event(f"{trajectory.start.name}: {driver.CERTIFYING}")
        record = driver.certify_last(config, trajectory, backend, store, epoch=epoch)
        progress.event(f"{trajectory.start.name}: {certificate_line(record, trajectory.accepted[-1].examples)}")
