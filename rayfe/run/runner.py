"""Runs all trajectories of a configuration on the backend it names."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Protocol

from rayfe.config import RunConfig
from rayfe.data.paths import PathData, epoch_of
from rayfe.exceptions import LeaseLost, StorageError
from rayfe.records import InTraining, StepRecord
from rayfe.records.backend import Backend
from rayfe.results.certified import certificate_line
from rayfe.storage.store import Store
from rayfe.trajectory import driver
from rayfe.trajectory.trajectory import Trajectory


class Listener(Protocol):
    """Who is told what happens, e.g. `progress.Progress`."""

    def row(self, record: StepRecord) -> None: ...

    def event(self, text: str) -> None: ...

    def training(self, now: InTraining) -> None: ...


def run(config: RunConfig, data: PathData, store: Store, progress: Listener) -> dict[str, str]:
    """Walk every trajectory to its end; returns those that failed, with one line why.

    Raises:
        UsageError: the machine or cluster cannot hold the evaluators asked for.
        KeyboardInterrupt: the step in flight is abandoned.
        RuntimeError: the embedded Ray died.
        LeaseLost: another driver has taken the run over.
        StorageError: storage is full, or away; what is stored stays.
    """
    if config.service.backend == "ray":
        from rayfe.on_ray.sweep import run_on_ray  # imports Ray

        return run_on_ray(
            config,
            data,
            store.url(),
            config.service.keep_states,
            progress.row,
            progress.event,
            on_training=progress.training,
            owner=store.owner,
        )
    from rayfe.backend.inline import InlineBackend  # imports torch

    backend = InlineBackend(config, data)

    def training(now: InTraining) -> None:
        store.check_held()
        progress.training(now)

    backend.on_training = training
    return run_inline(config, backend, store, progress, epoch=epoch_of(data, config))


def trains_on_gpus(config: RunConfig) -> bool:
    """Whether a run of this configuration trains on GPUs, here or where Ray's evaluators will be; that may be elsewhere."""
    return gpus_of(config) > 0


def gpus_of(config: RunConfig) -> int:
    """Evaluators of a run of this configuration that have a GPU, now; 0: it trains on CPUs."""
    if config.service.backend == "inline":
        import torch

        return int(torch.cuda.is_available())
    from rayfe.on_ray.capacity import gpus_in  # imports Ray
    from rayfe.on_ray.session import nodes

    return gpus_in(config, nodes())


def run_inline(
    config: RunConfig, backend: Backend, store: Store, progress: Listener, *, epoch: int | None = None
) -> dict[str, str]:
    """Walk every trajectory in this process, one attempted step of each in turn, and certify its last model; returns as `run` does.

    As many at once as the configuration has slots, each by a thread of its own: then `backend` is asked by several at a time. What
    ends the run is raised at once; threads that are at work end when they next ask whether the run is still theirs, and store nothing.
    `epoch`: training examples in an epoch; None, where the backend has no data: there are no certificates.
    """
    walks = _Walks(config, backend, store, progress, epoch)
    if config.service.slots == 1:
        walks.work()
        return walks.failed
    ends: SimpleQueue[BaseException | None] = SimpleQueue()
    for number in range(config.service.slots):
        threading.Thread(target=_ended, args=(walks.work, ends), name=f"trajectory-{number}", daemon=True).start()
    for _ in range(config.service.slots):
        if (error := _next(ends)) is not None:
            raise error
    return walks.failed


def _next(ends: SimpleQueue[BaseException | None]) -> BaseException | None:
    """The next one, waited for in short pauses: an interrupt that is no signal is not heard in a long one."""
    while True:
        with contextlib.suppress(Empty):
            return ends.get(timeout=0.2)


def _ended(work: Callable[[], None], ends: SimpleQueue[BaseException | None]) -> None:
    try:
        work()
    except BaseException as error:  # for the thread that waits
        ends.put(error)
    else:
        ends.put(None)


class _Walks:
    """The trajectories of a run that have work left; any number of threads may do it."""

    def __init__(self, config: RunConfig, backend: Backend, store: Store, progress: Listener, epoch: int | None) -> None:
        self._config, self._backend, self._store, self._progress, self._epoch = config, backend, store, progress, epoch
        self.failed, self._telling = driver.Failures(store), threading.Lock()
        self._waiting: deque[Trajectory] = deque()
        for name, start in config.trajectories().items():
            with self._failing(name):
                self._waiting.append(driver.open_trajectory(config, start, store))

    def work(self) -> None:
        """Attempt a step of the trajectory that has waited longest, until none waits: each of the others has a thread then."""
        while self._waiting:
            try:
                trajectory = self._waiting.popleft()
            except IndexError:  # another thread was faster
                return
            record = None
            with self._failing(trajectory.start.name):
                record = self._attempt(trajectory)
            if record is not None:
                with self._telling:
                    self._progress.row(record)
                self._waiting.append(trajectory)

    @contextlib.contextmanager
    def _failing(self, name: str) -> Iterator[None]:
        """What fails within is one trajectory; the others go on, unless they cannot write either."""
        try:
            yield
        except (StorageError, LeaseLost):
            raise
        except Exception as error:
            with self._telling:
                self.failed[name] = driver.failure(name, error)

    def _attempt(self, trajectory: Trajectory) -> StepRecord | None:
        """The row of one attempted step; None at the end, where the last model is trained on, unless that was done."""
        if trajectory.finished is None:
            return driver.advance(trajectory, self._backend, self._store)
        if self._epoch is not None and driver.last_certificate_is_due(self._config, trajectory, self._store):
            self._event(f"{trajectory.start.name}: {driver.CERTIFYING}")
            made = driver.certify_last(self._config, trajectory, self._backend, self._store, epoch=self._epoch)
            self._event(f"{trajectory.start.name}: {certificate_line(made, trajectory.accepted[-1].examples)}")
        return None

    def _event(self, text: str) -> None:
        with self._telling:
            self._progress.event(text)
