"""One attempted step from question to stored row: the only loop between a trajectory, a backend and the store."""

from __future__ import annotations

import dataclasses
import logging
import time

from rayfe.backend.base import Backend
from rayfe.config import RunConfig, Start
from rayfe.known import known_models
from rayfe.records import Answer, Commit, StepRecord
from rayfe.store import Store
from rayfe.trajectory.base import Trajectory, WalkFailed
from rayfe.trajectory.baseline import Baseline
from rayfe.trajectory.seek import Seek
from rayfe.trajectory.walk import Walk

log = logging.getLogger(__name__)


def open_trajectory(config: RunConfig, start: Start, store: Store) -> Trajectory:
    """The trajectory as far as its rows go, ready for its next step; damage in the store is repaired first."""
    rows = store.recover(start.name)
    accepted = [row for row in rows if row.accepted]
    kind = Baseline if config.method is not None else Seek if config.seek else Walk
    return kind(
        config,
        start,
        rows,
        state=store.state(accepted[-1]) if accepted else None,
        carry=store.carry(accepted[-1]) if accepted else {},
        stored=store.state,
        known=known_models(config),
    )


def advance(trajectory: Trajectory, backend: Backend, store: Store) -> StepRecord:
    """Attempt one step: answer every request of the trajectory, commit what it leaves, return the row.

    A failure of the backend's or trajectory's own code is raised; nothing is stored then.
    """
    began = time.monotonic()
    commit = attempted(trajectory, backend)
    seconds = trajectory.seconds + time.monotonic() - began
    commit = dataclasses.replace(commit, record=dataclasses.replace(commit.record, seconds=seconds))
    record = store.commit(trajectory.start.name, commit)
    trajectory.committed(record, commit)
    return record


def attempted(trajectory: Trajectory, backend: Backend) -> Commit:
    """What the next attempted step leaves behind; nothing is stored, and the trajectory does not know yet."""
    attempt = trajectory.attempt()
    answer: Answer | None = None  # what starts a generator
    while True:
        try:
            request = attempt.send(answer)
        except StopIteration as finished:
            return finished.value
        answer = backend.answer(request)


def tries_again(reason: str) -> bool:
    """Whether the same command may do better than what this line says of a failure. What a walk failed by follows from its rows, and the
    same requests have the same answers."""
    return not reason.startswith(f"{WalkFailed.__name__}: ")


def failure(name: str, error: Exception) -> str:
    """One line for people; the traceback goes to the log."""
    log.info("%s failed", name, exc_info=error)
    return " ".join(f"{type(error).__name__}: {error}".split())
