"""What answers the requests of a run, and how it follows the cluster as nodes come and go."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ray
from ray.tune.search.basic_variant import BasicVariantGenerator

from rayfe.config import RunConfig
from rayfe.on_ray.capacity import CapacityPlan, Room, parts_of, sliver
from rayfe.on_ray.connect import Bundles, Connect, Shared
from rayfe.on_ray.evaluator import BackendFactory
from rayfe.on_ray.pool import start_pool

LOOK = 3.0
"""Seconds between looks at the nodes of the cluster."""


def first_plan(room: Room, on_event: Callable[[str], None]) -> CapacityPlan:
    """Wait until the cluster has room for us."""
    told = False
    while (plan := room.plan()) is None:
        if not told:
            on_event("waiting for room: every machine is in use, or is yet to come")
        told = True
        time.sleep(LOOK)
    return plan


class Service:
    """What answers requests: one pool for all trials, or pools that the trials make of their own bundles."""

    def __init__(
        self,
        config: RunConfig,
        make_backend: BackendFactory,
        data: bytes,
        room: Room,
        plan: CapacityPlan,
        check_alive: Callable[[], None],
    ) -> None:
        self.config, self.plan, self.check_alive = config, plan, check_alive
        self._room, self._looked = room, time.monotonic()
        self.limit: BasicVariantGenerator | None = None
        """Tune's limit of trials at a time, in the experiment that is running."""
        self.pool: Any = None
        self.bundles: list[dict[str, float]] = [{"CPU": sliver(config)}]
        self.connect: Connect
        if config.service.placement == "isolated":
            self.bundles += [plan.unit.resources] * parts_of(config)
            self.connect = Bundles(make_backend, config, data, plan.unit)
        else:
            self.pool = start_pool(make_backend, config, data, evaluators=plan.evaluators, unit=plan.unit)
            self.connect = Shared(self.pool, config, data, plan.unit)

    def look(self) -> None:
        """Follow nodes that have come or gone, now and then."""
        if time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        plan = self._room.plan()
        if plan is None:
            return
        self.plan = plan
        if self.pool is not None:
            self.pool.resize.remote(plan.evaluators, plan.room)  # at every look: the pool may be a new one
        if self.limit is not None:
            self.limit.max_concurrent = max(1, plan.trials)

    def forget(self, trajectory: str) -> None:
        """A trajectory has failed, perhaps with places that it had borrowed."""
        if self.pool is not None:
            self.pool.take_back.remote(trajectory)

    def close(self) -> None:
        if self.pool is not None:
            ray.kill(self.pool)  # Tune keeps its handle; in a Ray that is not ours the evaluators would stay
