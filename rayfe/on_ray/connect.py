"""How a trial gets its answers: from the pool that all share, or from evaluators in the bundles of its own."""

from __future__ import annotations

import abc
import asyncio
from dataclasses import dataclass
from typing import Any

import ray
from ray.util import get_current_placement_group

from rayfe.config import RunConfig
from rayfe.on_ray.evaluator import BackendFactory, Unit
from rayfe.on_ray.pool import EvaluatorPool
from rayfe.on_ray.pool_backend import PoolBackend, answered
from rayfe.records import Request
from rayfe.records.backend import Backend, Relay
from rayfe.storage.store import Store


class TrialBackend(Relay):
    """What a trial asks; `store` of `Connect` is where its trajectory is kept."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner

    def answer(self, request: Request) -> Any:
        return self._inner.answer(request)

    def events(self) -> list[str]:
        """What happened since the last call, for people."""
        return []

    def committed(self, trajectory: str) -> None:
        """A step of the trajectory is stored."""

    def close(self) -> None:
        """End what belongs to the trial."""


class Connect(abc.ABC):
    """Makes a trial's backend, in the trial."""

    @abc.abstractmethod
    def __call__(self, store: Store) -> TrialBackend: ...


@dataclass(frozen=True)
class Shared(Connect):
    """The pool of all; long first trainings by Ray Train on places that the pool lends, if the configuration says so."""

    pool: Any
    config: RunConfig
    data: bytes
    unit: Unit

    def __call__(self, store: Store) -> TrialBackend:
        pool = PoolBackend(self.pool, per_part=self.config.per_part)
        if not self.config.service.train_workers:
            return TrialBackend(pool)
        from rayfe.on_ray.distributed_training import TrainBackend  # imports ray.train

        return Training(TrainBackend(pool, self.config, self.data, self.unit, store))


@dataclass(frozen=True)
class Bundles(Connect):
    """Evaluators of one trajectory, each pinned to a bundle of the trial's placement group; the first bundle is the trial's."""

    make_backend: BackendFactory
    config: RunConfig
    data: bytes
    unit: Unit

    def __call__(self, store: Store) -> TrialBackend:
        return BundleBackend(self)


class Training(TrialBackend):
    """With Ray Train, which keeps the state of a training until its step is stored."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._train = inner

    def committed(self, trajectory: str) -> None:
        self._train.committed(trajectory)


class BundleBackend(TrialBackend):
    """A pool of the trial's own, in the trial's process."""

    def __init__(self, bundles: Bundles) -> None:
        group: Any = get_current_placement_group()
        self._loop, self._per_part = asyncio.Runner(), bundles.config.per_part
        self._pool = EvaluatorPool(
            bundles.make_backend,
            bundles.config,
            bundles.data,
            evaluators=len(group.bundle_specs) - 1,
            unit=bundles.unit,
            group=group,
        )
        self._loop.run(self._pool.start())

    def answer(self, request: Request) -> Any:
        return answered(request, self._per_part, lambda parts: self._loop.run(self._pool.answer(parts)))

    def events(self) -> list[str]:
        return self._loop.run(self._pool.events())

    def close(self) -> None:
        for evaluator in self._loop.run(self._pool.members()):
            ray.kill(evaluator)
        self._loop.close()
