"""How far trainings are that go on anywhere in the cluster: each leaves the last word in Ray's key-value store, the driver takes it.

Workers of every kind can write there, in pools, bundles and Ray Train, and a word that is lost is followed by the next.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable

import ray
from ray.exceptions import RayError
from ray.experimental import internal_kv

from rayfe.records import InTraining

NAMESPACE = b"rayfe"


def tell(now: InTraining) -> None:
    """Leave the word for the driver of this job."""
    if not internal_kv._internal_kv_initialized():  # this process has left the cluster
        return
    with contextlib.suppress(RayError):  # the head is away: the training goes on
        internal_kv._internal_kv_put(_key(now.trajectory), json.dumps(dataclasses.asdict(now)).encode(), namespace=NAMESPACE)


def take(on_training: Callable[[InTraining], None]) -> None:
    """Pass on what trainings of this job have left since the last call."""
    if not internal_kv._internal_kv_initialized():
        return
    for key in internal_kv._internal_kv_list(_key(""), namespace=NAMESPACE):
        left = internal_kv._internal_kv_get(key, namespace=NAMESPACE)
        internal_kv._internal_kv_del(key, namespace=NAMESPACE)
        if left is not None:
            on_training(InTraining(**json.loads(left)))


def _key(trajectory: str) -> bytes:
    return f"{ray.get_runtime_context().get_job_id()}/{trajectory}".encode()
