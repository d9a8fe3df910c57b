"""How far trainings are that go on anywhere in the cluster: each leaves the last word in Ray's key-value store, the driver takes it.

Workers of every kind can write there, in pools, bundles and Ray Train, and a word that is lost is followed by the next.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayError

from rayfe.records import InTraining

NAMESPACE = b"rayfe"


def tell(now: InTraining) -> None:
    """Leave the word for the driver of this job."""
    if (words := _words()) is not None:
        with contextlib.suppress(RayError):  # the head is away: the training goes on
            words.internal_kv_put(_key(now.trajectory), json.dumps(dataclasses.asdict(now)).encode(), True, NAMESPACE)


def take(on_training: Callable[[InTraining], None]) -> None:
    """Pass on what trainings of this job have left since the last call."""
    if (words := _words()) is None:
        return
    for key in words.internal_kv_keys(_key(""), NAMESPACE):
        left = words.internal_kv_get(key, NAMESPACE)
        words.internal_kv_del(key, False, NAMESPACE)
        if left is not None:
            on_training(InTraining(**json.loads(left)))


def _words() -> Any:
    """This process's own connection to the store; None where it has left the cluster. (The one of ray.experimental.internal_kv is
    cut where another cluster of the process ends.)"""
    return getattr(ray._private.worker.global_worker, "gcs_client", None)


def _key(trajectory: str) -> bytes:
    return f"{ray.get_runtime_context().get_job_id()}/{trajectory}".encode()
