"""How much memory an evaluator takes, found by doing a little of what it will do."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import math
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rayfe.backend.inline import InlineBackend
from rayfe.config import UNHELD, RunConfig, configure, require
from rayfe.data.paths import PathData, epoch_of
from rayfe.model.objective import PerExample
from rayfe.records import EquilibrateRequest, MeasureRequest, Point, Replica, Split, StepKey
from rayfe.run import runner
from rayfe.run.progress import in_units
from rayfe.surface.stencil import neighbours
from rayfe.training.drawing import CHUNK
from rayfe.training.replicas import Replicas, Stacked, make_replicas

LIMIT = Path("/sys/fs/cgroup/memory.max")
"""Where Linux says what a container may use."""
UPDATES = 2
"""Updates that are tried: the first makes the moments, the last the average."""
KEY = StepKey(trajectory="memory", seed=0, step=1, attempt=0)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """What torch allocates in one evaluator, in bytes; the process itself takes half a GiB besides."""

    data: float
    """Examples of all splits."""
    training: float
    """Of one trajectory and its neighbours: parameters, gradients, moments, averages, bases, a batch and what lies between layers."""
    reading: float
    """Of one trajectory that is read, in training or afterwards: models, and some examples with all draws of z."""

    examples: int
    """Of a reading."""
    chunk: int
    """Examples that are passed at once by one model; of several each passes as many less."""

    def of(self, slots: int) -> float:
        """At most, with so many trajectories at a time. Several keep their slots while they are read together."""
        if slots == 1:
            return self.data + max(self.training, self.reading)
        return self.data + slots * self.training + self.reading * slots * self._passed(slots) / self._passed(1)

    def _passed(self, slots: int) -> float:
        """Examples that a model passes at once, one of so many."""
        return self.examples / math.ceil(self.examples / max(1, self.chunk // slots))


class Allocated(TorchDispatchMode):
    """Counts the bytes of tensors that operations within make, as long as they live."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[int, Any] = {}
        self.live = self.peak = self.peak_apart = 0

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """The peak within the block is one of `peak_apart`, and none of `peak`."""
        before, self.peak = self.peak, self.live
        yield
        self.peak_apart, self.peak = max(self.peak_apart, self.peak), before

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        place, size = storage._cdata, storage.nbytes()
        if place in self._known:  # a view, or changed in place
            return

        def gone(_: object) -> None:
            self.live -= size
            self._known.pop(place, None)

        self._known[place] = weakref.ref(storage, gone)
        self.live += size
        self.peak = max(self.peak, self.live)


def require_room(config: RunConfig, data: PathData) -> None:
    """Refuse more trajectories together than this machine has memory for, where it is this one that trains them.

    Raises:
        UsageError: trajectories_per_evaluator.
    """
    slots = config.service.slots
    if slots == 1 or config.service.backend != "inline":
        return
    found, room = memory_of(config, data), room_here(config)
    fix = f"needs {in_units(found.of(slots))}, this machine has {in_units(room)}; give at most {most_in(room, found, slots)}"
    require(found.of(slots) <= room, "trajectories_per_evaluator", slots, fix)


def most_in(room: float, found: Memory, slots: int) -> int:
    """How many of so many trajectories there is room for, at least 1."""
    return max((some for some in range(1, slots + 1) if found.of(some) <= room), default=1)


def room_here(config: RunConfig) -> float:
    """Bytes that this machine has where it trains a configuration."""
    return float(torch.cuda.get_device_properties(0).total_memory) if runner.trains_on_gpus(config) else own_memory()


def own_memory() -> float:
    """Bytes that this machine has, or its container may use."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # there is no limit, or no such file
        return float(min(whole, int(LIMIT.read_text())))
    return float(whole)


def memory_of(config: RunConfig, data: PathData) -> Memory:
    """By a short training of a stencil and a reading of as many examples as are passed at once, on the CPU with these data."""
    moving = data.target is not None
    point = Point(lam=config.lam[0], gamma=config.gamma[0] or 1.0, t=0.5 if moving else 0.0)
    alone = config.process in UNHELD or config.method is not None
    points = {"centre": point} if alone else neighbours(point, config.asked.stencil, config.neighbours)
    count = min(config.per_part or len(points), len(points))
    on_gpu, device = runner.trains_on_gpus(config), torch.device("cpu")

    def replicas_of(models: Any, device: torch.device) -> Replicas:
        made = Stacked(models) if on_gpu and len(models) > 1 else make_replicas(models, device)
        train = made.functionals

        def functionals(*examples: Any, predict: bool = True, **options: Any) -> PerExample:
            with allocated.apart() if predict else contextlib.nullcontext():  # the probe of a training is read
                return train(*examples, predict=predict, **options)

        made.functionals = functionals  # type: ignore[method-assign]
        return made

    allocated = Allocated()
    with _garbage_kept(), allocated:
        backend = InlineBackend(_small(config, data), _blended(data), device=device, make_replicas=replicas_of)
        held = allocated.peak = allocated.live
        replicas = tuple(Replica(name=name, point=at, weights=None) for name, at in list(points.items())[:count])
        weights = backend.equilibrate(EquilibrateRequest(key=KEY, replicas=replicas)).weights
        read = (dataclasses.replace(replicas[0], weights=weights[0]),)
        with allocated.apart():
            backend.measure(MeasureRequest(key=KEY, replicas=read, splits=(Split.TRAIN,), purpose="memory", part=True))
        training, reading = allocated.peak - held, allocated.peak_apart - held
        return Memory(
            data=held, training=training, reading=reading, examples=epoch_of(data, config), chunk=backend.drawing.chunk
        )


@contextlib.contextmanager
def _garbage_kept() -> Iterator[None]:
    """When cycles of objects are collected depends on all that the process has done: within the block none are."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _small(config: RunConfig, data: PathData) -> RunConfig:
    """The same with one trajectory, few updates, and a part to be read also where all examples are: of a chunk, 4,000 at most."""
    epoch, batch = epoch_of(data, config), config.equilibration.largest_batch
    equilibration = {"batch": batch, "first_batch": None, "epochs": UPDATES * batch / epoch, "compile": "never"}
    equilibration["learning_rate"] = 1e-12  # whatever is asked for, what is tried does not diverge
    part = config.measure.response_size or min(epoch, CHUNK)
    return configure(config, trajectories_per_evaluator=1, equilibration=equilibration, measure={"response_size": part})


def _blended(data: PathData) -> PathData:
    """Pairs of a displacement may not be known yet; a mixture has as many examples in memory."""
    return dataclasses.replace(data, kind="mixture") if data.kind == "displacement" else data
