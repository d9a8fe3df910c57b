"""Trainings of several trajectories on one device, in one stacked update; each comes and goes by itself."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

from torch import Tensor

from rayfe.config import EquilibrationConfig
from rayfe.data.device_path import DeviceExamples, DevicePath, Still
from rayfe.model.objective import noise_of
from rayfe.model.posterior import widths_of
from rayfe.records import Point
from rayfe.training.fleet_slots import BLOCK, Job, Lodger, Slots
from rayfe.training.replicas import Stacked
from rayfe.training.train import FINITE_CHECK, Probe, Progress, Trained, Training


class Fleets:
    """Fleets of so many slots each, one for each number of replicas and size of batches; threads may train at the same time."""

    def __init__(self, size: int, path: DevicePath) -> None:
        self._size, self._path = size, path
        self._fleets: dict[tuple[int, int], Fleet] = {}

    def train(self, job: Job) -> Trained:
        """As `Fleet` has it."""
        kind = job.training.replicas.count, job.batch
        return self._fleets.setdefault(kind, Fleet(self._size, self._path)).train(job)


class Fleet:
    """A fixed number of slots for trainings on one path, which threads bring and wait for.

    One of the threads does the work of all until its own training is done, and leaves it to another that waits. A training
    begins where the updates of those at work are a multiple of `BLOCK`, and ends after exactly its own.
    """

    def __init__(self, size: int, path: DevicePath) -> None:
        self._size, self._path = size, path
        self._slots: Slots | None = None
        self._changed = threading.Condition()
        self._waiting: list[tuple[Job, Future[Trained]]] = []
        self._led = False
        """Whether a thread does the work."""
        self._busy: dict[int, tuple[Lodger, Future[Trained]]] = {}
        """By slot."""
        self._clock = 0
        """Updates since the slots were all empty."""

    def train(self, job: Job) -> Trained:
        """Train, in the company of what other threads bring meanwhile; what it gives does not depend on that.

        All jobs have models of one kind, as many replicas, and the same size of batches.
        """
        own: Future[Trained] = Future()
        with self._changed:
            self._waiting.append((job, own))
        try:
            with self._changed:
                self._changed.wait_for(lambda: own.done() or not self._led)
                if own.done():
                    return own.result()
                self._led = True
            try:
                self._lead(own)
            finally:
                self._led = False
        finally:
            with self._changed:
                self._waiting = [(other, future) for other, future in self._waiting if future is not own]
                self._changed.notify_all()
        return own.result()

    def _lead(self, own: Future[Trained]) -> None:
        """Do the work of all until this training is done.

        What is raised within an update of all ends all that are at work: their tensors may be half changed.
        """
        try:
            while not own.done():
                self._block()
        except BaseException as error:
            for _, future in self._busy.values():
                _fail(future, error)
            self._busy.clear()
            raise

    def _block(self) -> None:
        """Let trainings begin, do some updates of all, and end those that are done."""
        if not self._busy:
            self._clock = 0
        if self._clock % BLOCK == 0:
            self._admit()
        for slot in [*self._busy]:
            with self._own_fault(slot):
                self._busy[slot][0].progress.prepare()
        if not self._busy:
            return
        assert self._slots is not None
        lodgers = [lodger for lodger, _ in self._busy.values()]
        updates = min(BLOCK - self._clock % BLOCK, *(lodger.progress.pause - lodger.progress.update for lodger in lodgers))
        J = self._slots.run(lodgers, updates).isfinite().T.tolist()
        self._clock += updates
        for lodger in lodgers:
            with self._own_fault(lodger.slot):
                self._after(lodger, J[lodger.slot])

    def _admit(self) -> None:
        """Trainings that wait take the slots that are free."""
        for slot in range(self._size):
            with self._changed:
                if slot in self._busy or not self._waiting:
                    continue
                job, future = self._waiting.pop(0)
            try:
                lodger = Lodger(slot, Progress(job.training, lodged=True))
                if self._slots is None:
                    self._slots = Slots(self._size, lodger, job, self._path)
                self._slots.take(lodger, job)
                self._busy[slot] = lodger, future
            except Exception as error:
                _fail(future, error)
            with self._changed:
                self._changed.notify_all()

    def _after(self, lodger: Lodger, finite: list[bool]) -> None:
        """After some updates of a training; `finite`: whether J was before each."""
        progress = lodger.progress
        for ahead, is_finite in enumerate(finite):
            if (progress.update + ahead) % FINITE_CHECK == 0 and not is_finite:
                progress.update += ahead
                self._end(lodger, progress.diverged())
                return
        lodger.count(len(finite))
        if progress.done:
            lodger.finish()
            self._end(lodger, progress.finish())

    def _end(self, lodger: Lodger, trained: Trained) -> None:
        assert self._slots is not None
        self._slots.leave(lodger)
        self._busy[lodger.slot][1].set_result(trained)
        self._gone(lodger.slot)

    @contextlib.contextmanager
    def _own_fault(self, slot: int) -> Iterator[None]:
        """What is raised here ends this training alone."""
        try:
            yield
        except Exception as error:
            _fail(self._busy[slot][1], error)
            self._gone(slot)

    def _gone(self, slot: int) -> None:
        del self._busy[slot]
        with self._changed:
            self._changed.notify_all()


def _fail(future: Future[Trained], error: BaseException) -> None:
    """Tell who waits; an interrupt is that of one thread alone."""
    if not future.done():
        future.set_exception(error if isinstance(error, Exception) else RuntimeError("the training was interrupted"))


def why_not_in_slots(make: Callable[[], Any], x: Tensor, y: Tensor) -> str | None:
    """Why models cannot be trained in slots, in one line; None if they can.

    Two new ones of `make` are tried on x (N, *input_shape) and y (N,). Layers that draw random numbers of their own are refused:
    under vmap what one model draws depends on how many there are.
    """
    models = [make().to(x.device) for _ in range(2)]
    examples, widths = DeviceExamples(x=x, y=y), widths_of(models[0])
    noise = noise_of(examples.number, key=0, widths=widths, decoder_draws=1, head_draws=2, dtype=x.dtype)
    try:
        training = Training(
            replicas=Stacked(models),
            points=[Point(lam=1.0, gamma=1.0, sigma=1.0)] * 2,
            updates=1,
            learning_rate=lambda u: 0.0,
            config=EquilibrationConfig(),
            preconditioner=None,
            probe=Probe(examples=examples, noise=noise, updates=frozenset(), names=("0", "1")),
        )
        Fleet(2, Still(examples)).train(Job(training=training, t=0.0, batch=len(x), widths=widths, order=0, noise=0))
    except Exception as error:  # a model of the user's own may raise anything
        return f"{type(error).__name__}: {str(error).strip()}".partition("\n")[0].partition(". ")[0]
    return None
