"""One attempted step, or one certificate, from question to stored row: the only loop between a trajectory, a backend and the store."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from rayfe.config import RunConfig, Start
from rayfe.data.truths import truth_of
from rayfe.exceptions import WalkFailed, one_line
from rayfe.records import ON, Answer, CertificateRecord, Commit, Outcome, Request, StepRecord, Weights
from rayfe.records.backend import Backend
from rayfe.storage.store import Store
from rayfe.trajectory.certification import CertificateEffort, certificate
from rayfe.trajectory.trajectory import Trajectory

Result = TypeVar("Result")
log = logging.getLogger(__name__)

CERTIFYING = "training its last model on, for its certificate"
"""What a trajectory that has ended does then, for people."""


def open_trajectory(config: RunConfig, start: Start, store: Store) -> Trajectory:
    """The trajectory as far as its rows go, ready for its next step; damage in the store is repaired first."""
    rows = store.recover(start.name)
    accepted = [row for row in rows if row.accepted]
    given = store.inputs.start() if config.start is not None and not accepted else None
    return Trajectory(
        config,
        start,
        rows,
        state=store.state(accepted[-1]) if accepted else given,
        carry=store.carry(accepted[-1]) if accepted else {},
        truth=truth_of(config),
    )


def new_trajectory(config: RunConfig, start: Start, given: Weights | None = None) -> Trajectory:
    """A trajectory without rows, and without a store, that starts from the model `given`; None: from new weights."""
    return Trajectory(config, start, (), state=given, carry={}, truth=None)


def advance(trajectory: Trajectory, backend: Backend, store: Store) -> StepRecord:
    """Attempt one step: answer every request of the trajectory, commit what it leaves, return the row.

    A failure of the backend's or trajectory's own code is raised; nothing is stored then.

    Raises:
        LeaseLost: another driver has taken the run over; nothing is stored then.
    """
    began = time.monotonic()
    commit = answered(trajectory.attempt(), backend, store.check_owner)
    seconds = trajectory.seconds + time.monotonic() - began
    commit = dataclasses.replace(commit, record=dataclasses.replace(commit.record, seconds=seconds))
    record = store.commit(trajectory.start.name, commit)
    trajectory.committed(record, commit)
    return record


def attempted(trajectory: Trajectory, backend: Backend) -> Commit:
    """What the next attempted step leaves behind; nothing is stored, and the trajectory does not know yet."""
    return answered(trajectory.attempt(), backend)


def answered(
    asking: Generator[Request, Answer | None, Result], backend: Backend, check: Callable[[], None] = lambda: None
) -> Result:
    """What a generator of requests returns when `backend` has answered all of them; `check` is called before each one."""
    answer: Answer | None = None  # what starts a generator
    while True:
        try:
            request = asking.send(answer)
        except StopIteration as finished:
            return finished.value
        check()
        answer = backend.answer(request)


def last_certificate_is_due(config: RunConfig, trajectory: Trajectory, store: Store) -> bool:
    """Whether the trajectory has ended, and its last model is yet to be trained on (`config.certificate_share`); again if that failed
    or was too short, and more may be spent now. Where only the start was asked for it goes on first."""
    if (
        not config.asked.certificate_share
        or config.method is not None
        or not config.steps
        or trajectory.finished is None
        or not trajectory.accepted
    ):
        return False
    last, found = trajectory.accepted[-1], _trained_on(store, trajectory)
    tried = [one for one in found if one.state_sha256 == last.state_sha256]
    return all(one.outcome != Outcome.OK and _left(config, last, found) > _used(one) for one in tried)


def _trained_on(store: Store, trajectory: Trajectory) -> list[CertificateRecord]:
    return [one for one in store.certificates(trajectory.start.name) if one.method == ON]


def _left(config: RunConfig, last: StepRecord, found: Sequence[CertificateRecord]) -> float:
    """Training examples that the ends of jobs may still spend on certificates: all together the share of the trajectory's examples."""
    spent = sum(one.examples for one in found if one.budget is not None)
    return max(0.0, config.asked.certificate_share * last.examples - spent)


def _used(one: CertificateRecord) -> float:
    return one.examples if one.budget is None else one.budget


def certify_last(config: RunConfig, trajectory: Trajectory, backend: Backend, store: Store, *, epoch: int) -> CertificateRecord:
    """Train the last accepted model on, as far as `config.certificate_share` of its examples go, less what was spent on that at earlier
    ends of the trajectory; an epoch has `epoch` examples."""
    last = trajectory.accepted[-1]
    budget = _left(config, last, _trained_on(store, trajectory))
    return certify(config, last, backend, store, CertificateEffort(method=ON, budget=budget, epoch=epoch))


def certify(config: RunConfig, row: StepRecord, backend: Backend, store: Store, effort: CertificateEffort) -> CertificateRecord:
    """Certify the model of an accepted row, store the certificate and return it. Training starts cold: it is the same whenever it is done.

    Raises:
        FileNotFoundError: the model's weights are not stored any more.
        CorruptFile: they are not the ones that the row describes.
        LeaseLost: another driver has taken the run over; nothing is stored then.
    """
    began = time.monotonic()
    record = answered(certificate(config, row, store.state(row), effort), backend, store.check_owner)
    record = dataclasses.replace(record, seconds=time.monotonic() - began)
    store.keep_certificate(record)
    return record


class Failures(dict[str, str]):
    """Trajectories that failed, with one line why; the run in `store` has each at once, and none of those of the driver before."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        store.keep_failures(self)

    def __setitem__(self, name: str, why: str) -> None:
        super().__setitem__(name, why)
        self._store.keep_failures(self)


def tries_again(reason: str) -> bool:
    """Whether the same command may do better than what this line says of a failure. What a walk failed by follows from its rows, and the
    same requests have the same answers."""
    return not reason.startswith(f"{WalkFailed.__name__}: ")


def failure(name: str, error: Exception) -> str:
    """One line for people, with fields in double backticks as in `WalkFailed.text`; the traceback goes to the log."""
    log.info("%s failed", name, exc_info=error)
    text = error.text if isinstance(error, WalkFailed) else str(error)
    return one_line(f"{type(error).__name__}: {text}")
