"""Whether every node on which a trial may run sees the run's folder, and may write to it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rayfe.exceptions import UsageError
from rayfe.storage.files import Files

SECONDS = 60.0
"""A node that takes longer to answer is passed over: the first commit of a worker on it looks again."""


def check_shared(location: str, nodes: list[dict[str, Any]], on_event: Callable[[str], None]) -> None:
    """Look from every node that has CPUs for a file that this process writes at `location`, and write one there.

    A local folder on a cluster of one node needs no look.

    Raises:
        UsageError: a node does not see the folder, or cannot write to it.
    """
    files = Files(location)
    here = ray.get_runtime_context().get_node_id()
    nodes = [node for node in nodes if node["Resources"].get("CPU", 0) > 0 and not (files.local and node["NodeID"] == here)]
    if not nodes:
        return
    probe = f".probe-{uuid.uuid4().hex}"
    files.write(probe, b"")
    try:
        answers = {node["NodeID"]: _ask(node, location, probe) for node in nodes}
        for node in nodes:
            where = f"node {node['NodeManagerAddress']}"
            try:
                fault = ray.get(answers[node["NodeID"]], timeout=SECONDS)
            except RayTaskError as error:
                fault = f"cannot use it ({error.cause})"
            except (GetTimeoutError, RayError) as error:  # busy, or gone since
                on_event(f"{where} did not say whether it sees {location} ({type(error).__name__})")
                continue
            if fault:
                fix = f"{where} {fault}; give a folder that all nodes share, or a URI such as s3://bucket/run"
                raise UsageError("out", location, fix)
    finally:
        for name in files.names(""):
            if name.startswith(probe):
                files.remove(name)


def _ask(node: dict[str, Any], location: str, probe: str) -> Any:
    strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    look: Any = ray.remote(_look)
    return look.options(num_cpus=0, max_retries=1, scheduling_strategy=strategy).remote(location, probe, node["NodeID"])


def _look(location: str, probe: str, node: str) -> str:
    """What is wrong with `location` as this process sees it; empty if nothing is."""
    files = Files(location)
    if not files.exists(probe):
        return "does not see it"
    files.write(f"{probe}-{node}", b"")
    return ""
