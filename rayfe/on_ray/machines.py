"""What the machines of a cluster offer where evaluators will be, which the machine of the driver need not have."""

from __future__ import annotations

from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rayfe.config import THREADING, RunConfig
from rayfe.exceptions import UsageError
from rayfe.on_ray.capacity import slots, unit_of
from rayfe.on_ray.evaluator import BackendFactory, Unit
from rayfe.training.machine import Offer, offer

ANSWERED = 60.0
"""Seconds for the machines to answer. One that is silent refuses by itself later, if it has to."""


def offers(config: RunConfig) -> list[Offer]:
    """Of the machines of the cluster that this process has joined, as far as they have room for an evaluator; none: they are yet to
    come."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    unit = unit_of(config, [node["Resources"] for node in nodes])
    tasks = [
        _task(0.0, 0, NodeAffinitySchedulingStrategy(node["NodeID"], soft=False), offer).remote(node["NodeManagerHostname"])
        for node in nodes
        if slots(node["Resources"], unit)
    ]
    answered, _ = ray.wait(tasks, num_returns=len(tasks), timeout=ANSWERED) if tasks else ([], [])
    return ray.get(answered)


def try_out(make_backend: BackendFactory, config: RunConfig, data: bytes, unit: Unit) -> None:
    """Where evaluators have GPUs: build a backend as one will, where Ray puts it, and ask nothing of it.

    On CPUs nothing is left to find that `offers` does not say.

    Raises:
        UsageError: what the machine there refuses.
    """
    if not unit.gpus:
        return
    task = _task(unit.resources["CPU"], unit.gpus, "DEFAULT", _try_out)
    try:
        ray.get(task.remote(make_backend, config, data))
    except RayTaskError as error:
        if isinstance(error.cause, UsageError):
            raise error.cause from None
        raise


def _task(cpus: float, gpus: int, strategy: Any, function: Any) -> Any:
    """In a process of its own, which is gone afterwards with the memory of its GPU."""
    environment = {"env_vars": dict(THREADING)}
    return ray.remote(num_cpus=cpus, num_gpus=gpus, max_calls=1, scheduling_strategy=strategy, runtime_env=environment)(
        function
    )


def _try_out(make_backend: BackendFactory, config: RunConfig, data: bytes) -> None:
    make_backend(config, ray.get(cloudpickle.loads(data)))
