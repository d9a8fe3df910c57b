"""Storing one attempted step: weights, readings and then the row that makes it exist."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable

import numpy as np
from safetensors.numpy import save

from rayfe.records import Commit, StepRecord, Weights
from rayfe.storage.files import Files
from rayfe.storage.layout import CARRY, STATES, carry_path, key, state_path, step_of, weights_copy_path, with_row
from rayfe.storage.table import Tail, readings_of, steps_of

ALWAYS_KEPT = 2
"""Accepted steps whose files stay whatever `keep_states` says: a torn last one leaves one to go on from."""


def bytes_of(arrays: Weights) -> bytes:
    """A weight file with these arrays."""
    # asarray, not ascontiguousarray: that one makes a scalar buffer one-dimensional. No metadata: its order is random
    return save({name: np.asarray(array, order="C") for name, array in arrays.items()})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ends:
    """Where the tables of a trajectory ended when this process last looked: what the next commit is put after."""

    last: tuple[int, int] | None
    """Step and attempt of the last row; None if there is no row."""
    steps: Tail
    readings: Tail


class Commits:
    """Commits to one run. What it remembers of the tables is compared with the disk before it is used.

    `keep` says how many accepted steps keep their weights, None all of them. `check_owner` raises LeaseLost where
    this process may not write any more.
    """

    def __init__(self, files: Files, *, keep: int | None, check_owner: Callable[[], None]) -> None:
        self._files, self._keep, self._check_owner = files, keep, check_owner
        self._ends: dict[str, Ends] = {}

    def forget(self, trajectory: str) -> None:
        """Take nothing for known of the trajectory at its next commit."""
        self._ends.pop(trajectory, None)

    def commit(self, commit: Commit) -> StepRecord:
        """Store one attempted step and return its row, with paths and hashes filled in.

        The row is written last, so a crash leaves the step stored or not stored. `state` None (a rejected
        attempt) leaves no weight files. When the row is safe, copies are written and files of older steps pruned. Raises as
        `Store.commit`.
        """
        record = commit.record
        steps, readings = steps_of(self._files, record.trajectory), readings_of(self._files, record.trajectory)
        before = self._ends_before(record)
        weights: dict[str, bytes] = {}
        if commit.state is not None:
            record, weights = self._write_weights(record, commit.state, commit.carry)
        read = before.readings.followed_by(readings.rows(commit.readings))
        readings.replace(read)
        # once more: a worker that was cut off from its driver may come back in the midst of its commit
        if self._ends_before(record) is not before:
            where = self._files.url(steps.path(before.steps.number))
            raise RuntimeError(f"{where}: other rows than before; is a second process working on this run?")
        rows = before.steps.followed_by(steps.rows([record]))
        steps.replace(rows)
        self._ends[record.trajectory] = Ends(last=key(record), steps=rows, readings=read)
        readings.copy(read)
        steps.copy(rows)
        for folder, data in weights.items():
            self._files.write(weights_copy_path(folder, record.trajectory), data, durable=False)
        if record.accepted:
            self.prune(record)
        return record

    def _ends_before(self, record: StepRecord) -> Ends:
        """What is stored of the record's trajectory; RuntimeError if the record, or a later one, is among it."""
        self._check_owner()
        ends = self._ends.get(record.trajectory)
        if ends is None or not steps_of(self._files, record.trajectory).ends_with(ends.steps):
            ends = self._ends[record.trajectory] = self._stored_ends(record.trajectory)
        if ends.last is not None and key(record) <= ends.last:
            at = f"{record.trajectory}: step {record.step}, attempt {record.attempt}"
            raise RuntimeError(f"{at} is stored already in {self._files.url()}; is a second process working on this run?")
        return ends

    def _stored_ends(self, trajectory: str) -> Ends:
        steps = steps_of(self._files, trajectory)
        rows = steps.records()
        return Ends(
            last=key(rows[-1]) if rows else None,
            steps=steps.tail(lambda found: rows[len(rows) - len(found) :]),
            readings=readings_of(self._files, trajectory).tail(lambda found: with_row(found, rows)),
        )

    def _write_weights(self, record: StepRecord, state: Weights, carry: Weights | None) -> tuple[StepRecord, dict[str, bytes]]:
        """The row with the hashes of its weight files, and their bytes by folder."""
        written = {STATES: self._write_arrays(state_path(record), state)}
        digest = hashlib.sha256(written[STATES]).hexdigest()
        record = dataclasses.replace(record, state=state_path(record), state_sha256=digest)
        if carry is not None:
            written[CARRY] = self._write_arrays(carry_path(record), carry)
            record = dataclasses.replace(record, carry_sha256=hashlib.sha256(written[CARRY]).hexdigest())
        return record, written

    def _write_arrays(self, path: str, arrays: Weights) -> bytes:
        data = bytes_of(arrays)
        self._files.write(path, data)
        return data

    def prune(self, record: StepRecord) -> None:
        """Remove what is not kept beside an accepted step and those before it."""
        self._remove_before(f"{CARRY}/{record.trajectory}", record.step - ALWAYS_KEPT + 1)
        if self._keep is not None:
            self._remove_before(f"{STATES}/{record.trajectory}", record.step - self._keep + 1)

    def _remove_before(self, folder: str, first_kept: int) -> None:
        for name in self._files.names(folder):
            step = step_of(name)
            if step is not None and step < first_kept:
                self._files.remove(f"{folder}/{name}")
