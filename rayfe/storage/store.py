"""A run as stored: rows, readings, weights, figures. The layout is in `layout`, crash recovery in `recovery`.

One driver at a time works on a run (`Store.lock`), one process on a trajectory; any number may read.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from rayfe.exceptions import CorruptFile, LeaseLost
from rayfe.records import CertificateRecord, Commit, ReadingRecord, StepRecord, Weights
from rayfe.records.columns import OF_LOSSES
from rayfe.records.run_json import attributes_of
from rayfe.storage import lease, parquet, recovery
from rayfe.storage.coded import CodedFiles
from rayfe.storage.files import Files
from rayfe.storage.inputs import Inputs
from rayfe.storage.json_files import read_config, read_failures, read_fingerprint, write_config, write_failures
from rayfe.storage.layout import (
    CERTIFICATES,
    CONFIG,
    FAILED,
    FOLDERS,
    STEPS,
    TRAJECTORY,
    arrays_of,
    carry_path,
    copy_path,
    data_path,
    state_path,
    strangers_in,
    table_path,
    tables_in,
    with_row,
)
from rayfe.storage.row_commit import ALWAYS_KEPT, Commits
from rayfe.storage.table import digest_of, read_certificates, readings_of, steps_of, versions_of, write_certificate
from rayfe.storage.universal import UniversalFile

log = logging.getLogger(__name__)

__all__ = ["CorruptFile", "Store", "load_certificates", "load_readings", "load_rows"]

NOBODY = ""
"""Owner of a run that is not held any more."""


class Store:
    """One run, at a local path or any fsspec URI. Building a Store touches no disk. What it remembers of the run is compared with
    the disk before it is used.

    `keep_states` ("all", "last" or a number) says how many accepted steps keep their weights, at least two.
    `owner` names the holding of the run under which this process writes (`lock`); None writes unasked.
    """

    def __init__(self, location: str | Path, *, keep_states: str = "all", owner: str | None = None) -> None:
        self._files = Files(location)
        self.inputs, self.coded, self.universal = Inputs(self._files), CodedFiles(self._files), UniversalFile(self._files)
        self.owner = owner
        self._keep_states = keep_states
        keep = None if keep_states == "all" else max(ALWAYS_KEPT, 0 if keep_states == "last" else int(keep_states))
        self._commits = Commits(self._files, keep=keep, check_owner=self.check_owner)

    def url(self, relative: str = "") -> str:
        """Absolute path or URI of a file of the run (of the run itself without one), for people to read."""
        return self._files.url(relative)

    def at_one_moment(self) -> Store:
        """The same run, to read all of it: folders are listed once, and not for each trajectory."""
        found = copy.copy(self)
        found._files = self._files.at_one_moment()
        return found

    def exists(self) -> bool:
        return self._files.exists(CONFIG) or self._files.exists(copy_path(CONFIG))

    def writable(self) -> None:
        """Check that the run can be written here, leaving nothing behind; UsageError naming `out` if not, or if one of its
        folders is a link."""
        self._files.check_writable(FOLDERS)

    @contextlib.contextmanager
    def lock(self, *, say: Callable[[str], None] = log.warning) -> Iterator[Store]:
        """Hold the run for this process (`lease.hold`); yields this store with the `owner` that its workers need. Afterwards that one
        stores nothing any more, whoever still works with it.

        What processes that were killed while they wrote have left is removed before and after.

        Raises:
            UsageError: another process holds it.
        """
        with lease.hold(self._files, say=say) as token:
            self._files.sweep()
            held = Store(self.url(), keep_states=self._keep_states, owner=token)
            try:
                yield held
            finally:
                held.owner = NOBODY
            self._files.sweep()

    def check_owner(self) -> None:
        """Raises LeaseLost if the run is not, or not any more, held under `owner`."""
        self.check_held()
        if self.owner is not None:
            lease.check(self._files, self.owner)

    def check_held(self) -> None:
        """Raises LeaseLost if the `lock` that this store came from has ended; the disk is not looked at."""
        if self.owner == NOBODY:
            raise LeaseLost(f"{self.url()} is not held any more")

    def create(self, config: dict[str, Any], *, fingerprint: str | None = None) -> None:
        """Write run.json, replacing one that is there, and its copy; `fingerprint` tells runs with other rows apart."""
        write_config(self._files, config, fingerprint)

    def read_config(self) -> dict[str, Any]:
        """run.json, or its copy. Raises FileNotFoundError if there is no run here, CorruptFile if it is no JSON object."""
        return read_config(self._files)

    def fingerprint(self) -> str | None:
        """What `create` was given last; None if that is not known."""
        return read_fingerprint(self._files)

    def is_in_work(self) -> bool:
        """Whether a driver holds the run now (`lease.is_held`), other than the one that this store is of."""
        return self.owner is None and lease.is_held(self._files)

    def keep_failures(self, failed: Mapping[str, str]) -> None:
        """Store why trajectories failed, a line each, in the place of what was stored before."""
        self.check_owner()
        write_failures(self._files, failed)

    def failures(self) -> dict[str, str]:
        """What `keep_failures` stored: why trajectories failed for the last driver of the run. Raises CorruptFile if it cannot be read."""
        return read_failures(self._files)

    def write_figure(self, name: str, data: bytes) -> str:
        """Write figures/NAME; returns its path relative to the run."""
        self._files.write(f"figures/{name}", data)
        return f"figures/{name}"

    def has_data(self, name: str) -> bool:
        """Whether there is a copy of data of this name; it may be damaged."""
        return self._files.exists(data_path(name))

    def data_folder(self) -> str | None:
        """Where copies of data are, as a path of this machine; None if the run is not on it."""
        return self.url("data") if self._files.local else None

    def write_text(self, relative: str, text: str) -> str:
        """Write a text file, e.g. report.html; returns its path relative to the run."""
        self._files.write(relative, text.encode())
        return relative

    def trajectories(self) -> list[str]:
        """Names of the trajectories that have a file of steps, in order. Files of other names are skipped, and named once."""
        names = self._files.names(STEPS)
        for name in strangers_in(names):
            _say_skipped(self.url(f"{STEPS}/{name}"))
        return [name for name in tables_in(names) if TRAJECTORY.fullmatch(name)]

    def stamp(self) -> str:
        """Changes when run.json, rows, failures or certificates are written, without reading them, and when a driver comes or goes."""
        return f"{digest_of(self._files, (CONFIG, FAILED, STEPS, CERTIFICATES))}{'-now' if self.is_in_work() else ''}"

    def versions(self) -> dict[str, str]:
        """`table.versions_of` the run."""
        return versions_of(self._files)

    def last_written(self, trajectory: str) -> datetime | None:
        """When the last row was stored: the time of its file, of which a copy may have its own. None where there is none."""
        numbers = tables_in(self._files.names(STEPS)).get(trajectory)
        return self._files.modified(table_path(STEPS, trajectory, numbers[-1])) if numbers else None

    def rows(self, trajectory: str) -> list[StepRecord]:
        """Attempted steps in order; none if there are none. Raises CorruptFile if they cannot be read."""
        return steps_of(self._files, trajectory).records()

    def readings(self, trajectory: str, *, rows: Sequence[StepRecord] | None = None) -> list[ReadingRecord]:
        """Readings of the attempted steps that have a row, in the order of the rows; `rows` are these, where they are at hand."""
        return with_row(readings_of(self._files, trajectory).records(), self.rows(trajectory) if rows is None else rows)

    def certificates(self, trajectory: str, *, rows: Sequence[StepRecord] | None = None) -> list[CertificateRecord]:
        """Certificates of the trajectory's models, by step and method; `rows` as above. Raises CorruptFile if they cannot be read."""
        return read_certificates(self._files, trajectory, self.rows(trajectory) if rows is None else rows)

    def state(self, record: StepRecord) -> Weights:
        """Weights of an accepted step, checked against the SHA-256 in its row.

        Raises:
            ValueError: the row has no weights (a rejected attempt).
            FileNotFoundError: the file is gone, e.g. by `keep_states`.
            CorruptFile: the file is not the one that the row describes.
        """
        if record.state is None or record.state_sha256 is None:
            name = f"{record.trajectory}, step {record.step}, attempt {record.attempt}"
            raise ValueError(f"{name}: has no weights; only accepted steps have")
        return arrays_of(self._files, state_path(record), record.state_sha256)

    def has_state(self, record: StepRecord) -> bool:
        """Whether the weights of a row are stored; what is in the file is not looked at."""
        return record.state is not None and self._files.exists(state_path(record))

    def carry(self, record: StepRecord) -> Weights:
        """What the step after `record` needs besides its weights; empty if nothing. Raises as `state` does."""
        return {} if record.carry_sha256 is None else arrays_of(self._files, carry_path(record), record.carry_sha256)

    def commit(self, trajectory: str, commit: Commit) -> StepRecord:
        """Store one attempted step and return its row, with paths and hashes filled in (`commits.Commits.commit`).

        Raises:
            RuntimeError: this attempt, or a later one, is stored already, or other rows than before are.
            LeaseLost: this process's driver has been succeeded.
            StorageFull: there is no room; nothing is half-written.
        """
        assert commit.record.trajectory == trajectory, (commit.record.trajectory, trajectory)
        return self._commits.commit(commit)

    def keep_certificate(self, record: CertificateRecord) -> None:
        """Store one certificate, in the place of one of the same model and method.

        Raises:
            RuntimeError: this process's driver has been succeeded.
            StorageFull: there is no room; the others stay.
        """
        self.check_owner()
        write_certificate(self._files, record, self.certificates(record.trajectory))

    def recover(self, trajectory: str) -> list[StepRecord]:
        """Rows from which the trajectory can go on; call it before the first `commit` of a process.

        What is damaged or missing is restored from its copy, and moved to the folder `damaged`. Where the copy is gone, too,
        rows end where weights or readings end (they are a function of the configuration, so they come again). Readings
        without a row are dropped, files that a crash left to prune are removed. Raises as `check_owner` does.
        """
        self.check_owner()
        self._commits.forget(trajectory)
        rows = recovery.recover(self._files, trajectory)
        if last := next((row for row in reversed(rows) if row.accepted), None):
            self._commits.prune(last)
        return rows


@functools.cache
def _say_skipped(path: str) -> None:
    log.warning("%s: is of no trajectory, and skipped; remove it", path)


def load_rows(location: str | Path) -> pd.DataFrame:
    """All attempted steps of a run (`rayfe.load_run`), by trajectory, step and attempt; of several losses each has columns of its own.

    Raises:
        FileNotFoundError: there is no run at `location`.
        CorruptFile: a trajectory's rows cannot be read.
    """
    rows = _frame(location, Store.rows, StepRecord)
    with contextlib.suppress(FileNotFoundError, CorruptFile):  # rows may stand alone
        run = existing(location).read_config()
        rows.attrs |= attributes_of(run)
        for prefix, column in OF_LOSSES.items():
            for number, name in enumerate(run.get("losses", ())):
                rows[prefix + name] = [math.nan if found is None else found[number] for found in rows[column]]
    return rows


def load_readings(location: str | Path) -> pd.DataFrame:
    """All readings of a run, by trajectory, step and attempt. Raises as `load_rows` does."""
    return _frame(location, Store.readings, ReadingRecord)


def load_certificates(location: str | Path) -> pd.DataFrame:
    """All certificates of a run, by trajectory, step and method. Raises as `load_rows` does."""
    return _frame(location, Store.certificates, CertificateRecord)


def existing(location: str | Path) -> Store:
    """The run at `location`. Raises FileNotFoundError: there is none."""
    store = Store(location)
    if not store.exists() and not store.trajectories():
        store.read_config()  # says that there is none
    return store


def _frame(location: str | Path, of: Callable[[Store, str], list[Any]], record_class: type) -> pd.DataFrame:
    store = existing(location).at_one_moment()
    found = [record for name in store.trajectories() for record in of(store, name)]
    frame = parquet.table_of(found, record_class).to_pandas()
    return frame.sort_values(
        [name for name in ("trajectory", "step", "attempt") if name in frame], kind="stable", ignore_index=True
    )
