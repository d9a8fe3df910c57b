"""One evaluator: an actor that holds a backend, and what it asks of the cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray import cloudpickle  # pins what it pickles references to; plain pickle does not
from ray._private.accelerators import get_accelerator_manager_for_resource
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from rayfe.config import THREADING, RunConfig, flat
from rayfe.config.user_code import introduce, own_names
from rayfe.data.paths import PathData
from rayfe.on_ray.in_training import tell
from rayfe.on_ray.metrics import outcome_of
from rayfe.records import Answer, Request
from rayfe.records.backend import Backend

BackendFactory = Callable[[RunConfig, PathData | None], Backend]


LEFT = 0.4
"""CPUs of an evaluator that it does not ask Ray for: room for the trials that wait for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """What one evaluator takes up."""

    cpus: float = 1.0
    gpus: int = 0

    @property
    def resources(self) -> dict[str, float]:
        """What it asks Ray for, as a bundle is written."""
        return {"CPU": round(self.cpus - LEFT, 3)} | ({"GPU": self.gpus} if self.gpus else {})

    def __str__(self) -> str:
        return f"{self.cpus:g} CPU" + (f" and {self.gpus} GPU" if self.gpus else "")


ONE_CPU = Unit()


def share(data: PathData | None) -> bytes:
    """Put the examples into the object store once (one copy a node, read without copying); returns what names them.

    A reference in pickled form, because Ray warns on stderr of actors that restart with references as arguments.
    The examples stay as long as this process, which owns them.
    """
    return cloudpickle.dumps(ray.put(data))


def make_inline(config: RunConfig, data: PathData | None) -> Backend:
    from rayfe.backend.inline import InlineBackend  # imports torch: in evaluators only

    assert data is not None
    introduce(own_names(flat(config)))
    return InlineBackend(config, data, device=granted_device())


def granted_device() -> Any:
    """The torch.device that Ray has granted this process: a GPU, or the CPU where it granted none. Whether torch can use it is seen by
    who uses it (`prepared_device`).

    Ray hides other GPUs from those who have one, unless it is told not to, but none from those who have none.
    """
    import torch

    granted = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
    if not granted:
        return torch.device("cpu")
    manager: Any = get_accelerator_manager_for_resource("GPU")
    visible = manager.get_current_process_visible_accelerator_ids() or []
    return torch.device("cuda", visible.index(granted[0]) if granted[0] in visible else int(granted[0]))


class Evaluator:
    """Holds one backend, built from the examples of `share`, and answers as many requests at a time as the configuration has slots."""

    def __init__(self, make_backend: BackendFactory, config: RunConfig, data: bytes) -> None:
        self._make = lambda: make_backend(config, ray.get(cloudpickle.loads(data)))
        self._backend: Backend | None = None
        self._building = threading.Lock()

    def start(self) -> None:
        """Build the backend. Not in the constructor: Ray would report an error there as a dead actor."""
        with self._building:
            if self._backend is None:
                backend = self._make()
                backend.on_training = tell
                self._backend = backend

    def answer(self, request: Request) -> tuple[str, Answer]:
        """How it ended, for the pool, and the answer, for who asked."""
        self.start()
        assert self._backend is not None
        answer = self._backend.answer(request)
        return outcome_of(answer), answer

    def alive(self) -> None:
        """Returns as soon as the actor is up."""


def make_evaluator(unit: Unit, group: Any, place: int, *, slots: int = 1) -> Any:
    """An evaluator's class with what it asks for, with a thread for each slot and one that says that it is alive; in bundle `place + 1`
    of a placement group (the trial has the first)."""
    strategy: Any = "SPREAD" if group is None else PlacementGroupSchedulingStrategy(group, place + 1)
    actor: Any = ray.remote(Evaluator)
    return actor.options(
        num_cpus=unit.resources["CPU"],
        num_gpus=unit.gpus,
        max_restarts=-1,
        max_task_retries=0,
        max_concurrency=slots + 1 if slots > 1 else 1,
        scheduling_strategy=strategy,
        runtime_env={"env_vars": dict(THREADING)},
    )
