"""First equilibria and baselines of large models, trained data-parallel by Ray Train.

The workers share each mini-batch (`equilibrate.sharded`), so the result is that of one evaluator up to the rounding of
sums. A training is named by trajectory, step, attempt and phase and keeps its state beside the run (`.train/`) until its
step is stored: whoever asks for the same one again, such as a trial after the loss of its node, goes on in the middle.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import tempfile
from typing import Any

import ray
from ray import cloudpickle, train
from ray.train.torch import TorchConfig, TorchTrainer

from rayfe.config import THREADING, RunConfig, flat
from rayfe.config.user_code import introduce, own_names
from rayfe.on_ray.evaluator import Unit, granted_device
from rayfe.on_ray.in_training import tell
from rayfe.on_ray.losses import WorkersLost
from rayfe.on_ray.pool_backend import PoolBackend
from rayfe.records import (
    Equilibrated,
    EquilibrateRequest,
    Request,
)
from rayfe.records.backend import Relay
from rayfe.storage.store import Store

FOLDER = ".train"
"""Below the run directory; the name begins with a dot, and nothing is left there after a training."""
PARTS = 10
"""How often a training keeps its state."""
LOSSES = 20
"""A training is given up after this many losses of its workers."""
STATE = "state.pt"


class TrainBackend(Relay):
    """Sends long trainings to Ray Train, on places that the pool lends, and everything else to the pool."""

    def __init__(self, pool: PoolBackend, config: RunConfig, data: bytes, unit: Unit, store: Store) -> None:
        self._pool, self._config, self._data, self._unit, self._store = pool, config, data, unit, store

    def answer(self, request: Request) -> Any:
        if not (isinstance(request, EquilibrateRequest) and is_long(request, self._config)):
            return self._pool.answer(request)
        who = request.key.trajectory
        self._pool.lend(who, self._config.service.train_workers)
        try:
            return fit(self._config, self._data, request, self._unit, self._store.url(FOLDER))
        finally:
            self._pool.take_back(who)

    def committed(self, trajectory: str) -> None:
        """Remove the trainings of a trajectory whose step is stored; before that they may be wanted again."""
        clear(self._store.url(FOLDER), trajectory)


def is_long(request: EquilibrateRequest, config: RunConfig) -> bool:
    """Whether it is a first equilibrium, a transfer's last training or a stretch of a baseline: one model, trained by the first
    schedule."""
    if request.annealing is None or len(request.replicas) != 1:
        return False
    (replica,) = request.replicas
    of_a_state_dict = request.key.step == 0 and config.start is not None
    return (
        replica.weights is None or of_a_state_dict or (not replica.renewed and (config.method is not None or config.moves_data))
    )


def name_of(request: EquilibrateRequest) -> str:
    """Names a training: the same request has the same name, and no other has."""
    assert request.annealing is not None
    (replica,), key = request.replicas, request.key
    return f"{key.trajectory}-step{key.step}-attempt{key.attempt}-{replica.name}-epoch{request.annealing.begin:.15g}"


def fit(config: RunConfig, data: bytes, request: EquilibrateRequest, unit: Unit, folder: str) -> Equilibrated:
    """Train by `config.train_workers` workers, or go on with the training that was cut short.

    Raises:
        WorkersLost: the workers were lost again and again, or their code raised.
    """
    name = name_of(request)
    path, filesystem = _storage(folder)
    loop: Any = train_loop
    run: Any = train.RunConfig  # of Ray Train V2; its type says V1
    trainer = TorchTrainer(
        loop,
        train_loop_config={"config": config, "data": data, "request": cloudpickle.dumps(request)},
        torch_config=TorchConfig(backend="nccl" if unit.gpus else "gloo"),
        scaling_config=train.ScalingConfig(
            num_workers=config.service.train_workers,
            use_gpu=bool(unit.gpus),
            resources_per_worker=unit.resources,
        ),
        run_config=run(
            name=name,
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=train.FailureConfig(max_failures=LOSSES),
            checkpoint_config=train.CheckpointConfig(num_to_keep=1),
            worker_runtime_env={"env_vars": dict(THREADING)},
        ),
    )
    try:
        result: Any = trainer.fit()
    except train.TrainingFailedError as error:
        raise WorkersLost(f"the training {name} failed: {error}") from error
    answer: Equilibrated = cloudpickle.loads(result.return_value)
    return answer


def train_loop(settings: dict[str, Any]) -> bytes:
    """What each worker does; returns the answer, of which that of the first worker is used."""
    from rayfe.backend.inline import InlineBackend
    from rayfe.training.sharded import Sharded

    data = ray.get(cloudpickle.loads(settings["data"]))
    introduce(own_names(flat(settings["config"])))
    backend = InlineBackend(settings["config"], data, device=granted_device(), make_replicas=Sharded, keeper=TrainKeeper())
    backend.on_training = tell if train.get_context().get_world_rank() == 0 else None
    return cloudpickle.dumps(backend.answer(cloudpickle.loads(settings["request"])))


class TrainKeeper:
    """`equilibrate.train.Keeper` by the checkpoints of Ray Train. All workers keep at the same updates; the first one writes."""

    def load(self) -> dict[str, Any] | None:
        import torch

        checkpoint = train.get_checkpoint()
        if checkpoint is None:
            return None
        with checkpoint.as_directory() as folder:
            return torch.load(os.path.join(folder, STATE), map_location="cpu", weights_only=True)

    def due(self, update: int, updates: int) -> bool:
        return update % max(1, -(-updates // PARTS)) == 0

    def save(self, state: dict[str, Any]) -> None:
        import torch

        metrics = {"update": state["update"]}
        if train.get_context().get_world_rank() > 0:
            train.report(metrics)
            return
        with tempfile.TemporaryDirectory(prefix="rayfe-train-") as folder:
            torch.save(state, os.path.join(folder, STATE))
            train.report(metrics, checkpoint=train.Checkpoint.from_directory(folder))


def _storage(folder: str) -> tuple[str, Any]:
    """Path and filesystem for Ray Train; None where the path is a local one."""
    from fsspec.core import url_to_fs
    from fsspec.implementations.local import LocalFileSystem
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    filesystem, path = url_to_fs(folder)
    return path, None if isinstance(filesystem, LocalFileSystem) else PyFileSystem(FSSpecHandler(filesystem))


def clear(folder: str, trajectory: str) -> None:
    """Remove the trainings of a trajectory from `folder`; and the folder, if it is empty now."""
    from fsspec.core import url_to_fs

    filesystem, path = url_to_fs(folder, use_listings_cache=False)
    if not filesystem.exists(path):
        return
    for place in filesystem.ls(path, detail=False):
        if posixpath.basename(place.rstrip("/")).startswith(f"{trajectory}-step"):
            filesystem.rm(place, recursive=True)
    with contextlib.suppress(OSError):  # other trajectories have theirs there
        filesystem.rmdir(path)
