"""How many evaluators and trials the cluster can hold, now and as nodes come and go."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ray

from rayfe.config import RunConfig, configure, require
from rayfe.exceptions import UsageError
from rayfe.on_ray.evaluator import LEFT, Unit
from rayfe.records import Point
from rayfe.surface.stencil import neighbours

STEP = 1e-4
"""What Ray counts CPUs by."""
GPU_CPUS = 0.5
"""CPUs of an evaluator that has a GPU: its host thread only feeds the device, and one CPU beside two GPUs must do."""
Resources = Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class CapacityPlan:
    """How many evaluators and trials run at a time, what one evaluator asks for, and how many there is room for."""

    unit: Unit
    evaluators: int
    trials: int
    room: int


def sliver(config: RunConfig) -> float:
    """CPUs that a trial asks for, which waits for evaluators nearly all the time: all that one evaluator has at most fit into what it
    leaves (`trials_at`)."""
    return round(math.floor(LEFT / trials_at(1, config) / STEP + 1e-9) * STEP, 4)


def trials_at(evaluators: int, config: RunConfig) -> int:
    """Trials that keep so many evaluators busy: one a place, one an evaluator that is between two requests, and two."""
    return (config.service.slots + 1) * evaluators + 2


def parts_of(config: RunConfig) -> int:
    """Into how many parts a stencil's replicas are split: what one trajectory can keep busy."""
    replicas = len(neighbours(Point(lam=1.0, gamma=1.0), config.asked.stencil, config.neighbours))
    return 1 if config.per_part is None else -(-replicas // config.per_part)


def unit_of(config: RunConfig, nodes: Sequence[Resources]) -> Unit:
    """What an evaluator takes up: half a CPU and a GPU where there are GPUs, or are to be, else a CPU for each thread.

    Where no machine has so many CPUs, nor will be asked for one that has, it takes up all of the largest one.
    """
    if config.service.autoscale == "gpu" or any(node.get("GPU", 0) >= 1 for node in nodes):
        return Unit(cpus=GPU_CPUS, gpus=1)
    threads, largest = config.service.threads, max((int(node.get("CPU", 0)) for node in nodes), default=0)
    return Unit(cpus=threads if config.service.autoscale or not largest else min(threads, largest))


def slots(node: Resources, unit: Unit) -> int:
    """Evaluators that fit on a node."""
    by_cpu = int(node.get("CPU", 0) / unit.cpus + 1e-9)
    return min(by_cpu, int(node.get("GPU", 0) / unit.gpus + 1e-9)) if unit.gpus else by_cpu


def gpus_in(config: RunConfig, nodes: Sequence[Resources]) -> int:
    """Evaluators with a GPU that these nodes hold, up to those asked for; at least one where GPUs are yet to come, 0 where evaluators
    have none."""
    unit = unit_of(config, nodes)
    room = max(1, sum(slots(node, unit) for node in nodes))
    return min(config.service.evaluators or room, room) if unit.gpus else 0


def preflight(config: RunConfig, *, trajectories: int, nodes: Sequence[Resources], unit: Unit | None = None) -> CapacityPlan:
    """What fits on `nodes`. Trials have room in what evaluators leave (`Unit.resources`).

    Raises:
        UsageError: less than asked for, or nothing; Ray itself would wait for ever without a word.
    """
    unit = unit or unit_of(config, nodes)
    parts, most = parts_of(config), sum(slots(node, unit) for node in nodes)
    cpus, gpus = (sum(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU"))
    has = f"{cpus:g} CPU" + (f" and {gpus:g} GPU" if unit.gpus else "")
    room = f"there is room for {most} ({unit} each; there are {has})"
    asked, workers = config.service.evaluators, config.service.train_workers
    if asked is not None and asked > most:
        raise UsageError("evaluators", asked, f"{room}; ask for fewer, add machines, or give ``autoscale=cpu``")
    require(most > 0, "evaluators", asked or 1, f"{room}; add CPUs, give ``autoscale=cpu``, or use ``backend=inline``")
    require(workers <= most, "train_workers", workers, f"{room}; give at most {most}, or add machines")
    useful = min(asked or most, -(-trajectories * parts // config.service.slots))
    if config.service.placement == "isolated":
        fix = f"a trajectory needs {parts} evaluators of its own and there are {useful}: {room}; "
        fix += "raise ``replicas_per_evaluator``, or give ``placement=shared``"
        require(useful >= parts, "placement", "isolated", fix)
        return CapacityPlan(unit=unit, evaluators=useful, trials=min(trajectories, useful // parts), room=most)
    return CapacityPlan(unit=unit, evaluators=useful, trials=min(trajectories, trials_at(useful, config)), room=most)


class Room:
    """What the nodes of the cluster had free when they were first seen, and the plan that follows from it.

    What is used by others when a node is first seen is not counted on; what they give back later is not noticed.
    """

    def __init__(self, config: RunConfig, *, trajectories: int) -> None:
        self._config, self._trajectories = config, trajectories
        self._seen: dict[str, Resources] = {}
        self._unit: Unit | None = None
        self._asked = False

    def plan(self) -> CapacityPlan | None:
        """What fits now; None: nothing yet, but it will when others are done or machines have come.

        Raises:
            UsageError: more is asked for than these machines can ever hold, and they are all there will be.
        """
        total = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
        unit = self._unit or unit_of(self._config, [*total.values()])
        if self._config.service.autoscale:
            self._ask_autoscaler(unit)
        elif self._unit is None:
            preflight(self._config, trajectories=self._trajectories, nodes=[*total.values()], unit=unit)
        free = ray._private.state.available_resources_per_node() if total.keys() - self._seen.keys() else {}
        seen = {node: self._seen.get(node) or free.get(node, resources) for node, resources in total.items()}
        plan = _at_most(self._config, self._trajectories, [*seen.values()], unit)
        if plan:
            self._seen, self._unit = seen, unit
        return plan

    def _ask_autoscaler(self, unit: Unit) -> None:
        if self._asked:
            return
        self._asked = True
        service = self._config.service
        useful = -(-self._trajectories * parts_of(self._config) // service.slots)
        wanted = max(service.evaluators or useful, service.train_workers)
        _request_resources([unit.resources] * wanted + [{"CPU": 1.0}])

    def give_up(self) -> None:
        """Take the request to the autoscaler back; it would outlive this process."""
        if self._asked:
            with contextlib.suppress(Exception):  # on the way out, perhaps of a cluster that is gone
                _request_resources([])


def _at_most(config: RunConfig, trajectories: int, nodes: Sequence[Resources], unit: Unit) -> CapacityPlan | None:
    """The plan with as many evaluators as there are, up to those asked for; None where that is nothing."""
    for evaluators in (config.service.evaluators, None):
        with contextlib.suppress(UsageError):
            asked = configure(config, evaluators=evaluators)
            return preflight(asked, trajectories=trajectories, nodes=nodes, unit=unit)
    return None


def _request_resources(bundles: list[dict[str, float]]) -> None:
    from ray.autoscaler.sdk import request_resources

    request_resources(bundles=bundles)
