"""Whether what is stored of a run is whole: everything that going on reads is read here, and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rayfe.exceptions import CorruptFile, brief
from rayfe.records import Split, StepRecord
from rayfe.records.older import told
from rayfe.storage.coded import CodedFiles
from rayfe.storage.files import LEFT_OVER, Files
from rayfe.storage.found import FoundTable, FoundWeights, faults_before_last, made_from_last, weight_files
from rayfe.storage.inputs import Inputs
from rayfe.storage.json_files import config_fault, copy_fault, read_config, read_failures, read_fingerprint
from rayfe.storage.layout import (
    CERTIFICATES,
    CONFIG,
    COPIES,
    COUPLINGS,
    DATA,
    FAILED,
    FINGERPRINT,
    FOLDERS,
    MISSING,
    NAME,
    READINGS,
    START,
    STATES,
    STEPS,
    TRAJECTORY,
    UNIVERSAL,
    copy_path,
    coupling_path,
    data_path,
    fault_in,
    strangers_in,
    table_path,
    tables_in,
)
from rayfe.storage.lock_file import LOCK
from rayfe.storage.manifest import digest_of, stored_config
from rayfe.storage.recovery import unbroken
from rayfe.storage.store import Store
from rayfe.storage.table import Row, certificates_of, readings_of, steps_of
from rayfe.storage.universal import UniversalFile

AGAIN = "the same command trains again from there"
LOST_DATA = "give the same arrays again, by the call that made the run"
LOST_MODEL = "nothing needs it to go on; to have this model again, repeat the run in another folder"
LOST_CARRY = "nothing needs it while that of the next step is whole"
LOST_CERTIFICATES = "``python -m rayfe certify`` makes them again"
"""What is said where there is no whole copy."""
REMOVE = "remove it"
NEEDLESS = "going on needs none of it"
TABLES = tuple(place for folder in (STEPS, READINGS, CERTIFICATES) for place in (folder, copy_path(folder)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One file that is not as it was written."""

    path: str
    """Relative to the run."""
    text: str
    """What is wrong with it."""
    loss: str = ""
    """What follows, or what to do, where there is no whole copy; empty: the same command mends it without training."""
    fix: str = ""
    """What to do with what should not be there."""


def faults(files: Files) -> Iterator[Fault]:
    """Everything that is missing or damaged in a run, file by file."""
    yield from _of_places(files)
    files = _readable(files)
    yield from _of_strangers(files)
    yield from _of_config(files)
    for trajectory in trajectories(files):
        yield from _of_trajectory(files, trajectory)
    for path, text in CodedFiles(files).faults():
        yield Fault(path=path, text=text, fix=NEEDLESS)
    if fault := fault_in(UniversalFile(files).rows):
        yield Fault(path=UNIVERSAL, text=fault, fix=NEEDLESS)
    if config_fault(files) is None or copy_fault(files) is None:
        yield from _of_inputs(files, read_config(files))


def trajectories(files: Files) -> list[str]:
    """Names of the trajectories of which there are rows, readings or certificates, or copies of such."""
    found = {name for folder in TABLES for name in tables_in(_readable(files).names(folder))}
    return sorted(name for name in found if TRAJECTORY.fullmatch(name))


def _readable(files: Files) -> Files:
    """The same files; where a file is in the place of a folder, there are no names in it: `_of_places` tells of it."""

    def names(folder: str) -> list[str]:
        try:
            return files.names(folder)
        except CorruptFile:
            return []

    found = Files(files.url())
    found.names = names  # type: ignore[method-assign]
    return found


def _of_places(files: Files) -> Iterator[Fault]:
    for path, text in files.links(FOLDERS):
        yield Fault(path=path, text=text, fix="until then going on is refused")
    lock = "is a link" if files.is_link(LOCK) else fault_in(files.read, LOCK)
    if lock not in (None, MISSING):
        yield Fault(path=LOCK, text=str(lock), fix=f"{REMOVE}; until then going on is refused")
    for name in files.names(""):
        if LEFT_OVER.fullmatch(name):
            yield Fault(path=name, text="was left by a process that was killed while it wrote")


def _of_strangers(files: Files) -> Iterator[Fault]:
    for folder in TABLES:
        for name in strangers_in(files.names(folder)):
            yield Fault(path=f"{folder}/{name}", text="is of no trajectory", fix=REMOVE)
    for name in _with_suffix(files.names(COUPLINGS), ".parquet"):
        if name not in set(Split):
            yield Fault(path=coupling_path(name), text="is of no split of the data", fix=REMOVE)


def _with_suffix(names: list[str], suffix: str) -> list[str]:
    """Names without their suffix, of those that have it; those of a file manager's own begin with a dot."""
    return [name.removesuffix(suffix) for name in names if name.endswith(suffix) and not name.startswith(".")]


def _of_config(files: Files) -> Iterator[Fault]:
    of_copy = copy_fault(files)
    if text := config_fault(files):
        yield Fault(path=CONFIG, text=text, loss="the command that made the run writes it again" if of_copy else "")
    elif text := fault_in(stored_config, Store(files.url())):
        yield Fault(path=CONFIG, text=text, loss="this version can neither show the run nor go on with it")
    if not files.names(COPIES):
        return  # older versions made none
    if of_copy:
        yield Fault(path=copy_path(CONFIG), text=of_copy)
    if text := _fingerprint_fault(files):
        yield Fault(path=FINGERPRINT, text=text)


def _fingerprint_fault(files: Files) -> str | None:
    found = read_fingerprint(files)
    if found is None:
        return "is missing or damaged"
    try:
        return None if digest_of(read_config(files)) == found else f"is not that of {CONFIG}"
    except (FileNotFoundError, CorruptFile, KeyError):
        return None  # there is no run.json, or an older version's, which had less in it


def _of_trajectory(files: Files, trajectory: str) -> Iterator[Fault]:
    steps, readings = FoundTable(files, steps_of(files, trajectory)), FoundTable(files, readings_of(files, trajectory))
    copied = bool(files.names(COPIES))
    for table, folder in ((steps, STEPS), (readings, READINGS)):
        if not table.originals:
            yield Fault(path=table_path(folder, trajectory), text=MISSING, loss=AGAIN)
    yield from _of_table(steps, copied, AGAIN)
    yield from _of_table(readings, copied, AGAIN)
    yield from _of_table(FoundTable(files, certificates_of(files, trajectory)), copied, LOST_CERTIFICATES)
    rows = told(max((version.records for version in steps.versions()), key=len))
    if (end := unbroken(rows)) < len(rows):
        yield Fault(path=table_path(STEPS, trajectory), text=f"the row after row {end} is missing", loss=AGAIN)
    accepted = [row for row in rows[:end] if row.accepted]
    for path, text in faults_before_last(files, accepted):
        lost = LOST_MODEL if path.startswith(STATES) else LOST_CARRY
        yield Fault(path=path, text=text, loss=lost if made_from_last(files, accepted, path) is None else "")
    yield from _of_last_weights(files, accepted[-1:], copied)


def _of_table(found: FoundTable[Row], copied: bool, lost: str) -> Iterator[Fault]:
    for number, file in found.originals.items():
        copy = found.copies[number]
        if file.fault:
            yield Fault(path=file.path, text=file.fault, loss=lost if copy.fault else "")
        if copied and (copy.fault or (copy.data != file.data and not file.fault)):
            yield Fault(path=copy.path, text=copy.fault or "is not what it is a copy of", loss=lost if file.fault else "")


def _of_last_weights(files: Files, last: list[StepRecord], copied: bool) -> Iterator[Fault]:
    weights = FoundWeights(files)
    for row in last:
        for path, copy, digest in weight_files(row):
            fault, of_copy = weights.fault(path, digest), weights.fault(copy, digest)
            if fault:
                yield Fault(path=path, text=fault, loss=AGAIN if of_copy else "")
            if of_copy and copied:
                yield Fault(path=copy, text=of_copy, loss=AGAIN if fault else "")


def _of_inputs(files: Files, run: dict[str, Any]) -> Iterator[Fault]:
    inputs = Inputs(files)
    if run.get("start") and (text := fault_in(inputs.read_start)):
        yield Fault(path=START, text=text, loss=inputs.start_loss())
    kept = run.get("kept_sha256", {})
    for name in sorted({*kept, *_with_suffix(files.names(DATA), ".npz")}):
        if NAME.fullmatch(name) is None:
            yield Fault(path=CONFIG, text=f"{brief(name)} cannot be the name of kept data", loss=LOST_DATA)
        elif text := fault_in(inputs.check_data, name, kept.get(name)):
            yield Fault(path=data_path(name), text=text, loss=LOST_DATA)
    for split in sorted({*_with_suffix(files.names(COUPLINGS), ".parquet")} & {*Split}):
        if text := fault_in(inputs.read_coupling, split):
            yield Fault(path=coupling_path(split), text=text)
    if text := fault_in(read_failures, files):
        yield Fault(path=FAILED, text=text)
