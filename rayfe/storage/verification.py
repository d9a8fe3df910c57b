"""Whether what is stored of a run is whole: every table, hash and copy is read, and nothing is changed."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from rayfe.data.coupling import decode
from rayfe.exceptions import CorruptFile
from rayfe.records import StepRecord
from rayfe.records.older import told
from rayfe.storage.config_file import config_fault, copy_fault
from rayfe.storage.files import LEFT_OVER, Files, most_bytes
from rayfe.storage.found import FoundTable, FoundWeights, faults_before_last, weight_files
from rayfe.storage.layout import (
    CERTIFICATES,
    CONFIG,
    COPIES,
    COUPLINGS,
    DATA,
    FOLDERS,
    MISSING,
    READINGS,
    STEPS,
    copy_path,
    tables_in,
)
from rayfe.storage.recovery import unbroken
from rayfe.storage.table import Row, certificates_of, readings_of, steps_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One file that is not as it was written."""

    path: str
    """Relative to the run."""
    text: str
    """What is wrong with it."""
    heals: bool
    """Whether it costs nothing: it is a copy, or has one that is whole, or is made again without training."""


def faults(files: Files) -> Iterator[Fault]:
    """Everything that is missing or damaged in a run, file by file."""
    if text := config_fault(files):
        yield Fault(path=CONFIG, text=text, heals=copy_fault(files) is None)
    elif files.names(COPIES) and (text := copy_fault(files)):
        yield Fault(path=copy_path(CONFIG), text=text, heals=True)
    yield from (Fault(path=path, text=text, heals=False) for path, text in files.links(FOLDERS))
    for trajectory in trajectories(files):
        yield from _of_trajectory(files, trajectory)
    yield from _of_data(files)
    for name in files.names(""):
        if LEFT_OVER.fullmatch(name):
            yield Fault(path=name, text="was left by a process that was killed while it wrote", heals=True)


def trajectories(files: Files) -> list[str]:
    """Names of the trajectories of which there are rows, readings or certificates, or copies of such."""
    folders = [place for folder in (STEPS, READINGS, CERTIFICATES) for place in (folder, copy_path(folder))]
    return sorted({name for folder in folders for name in tables_in(files.names(folder))})


def _of_trajectory(files: Files, trajectory: str) -> Iterator[Fault]:
    steps = FoundTable(files, steps_of(files, trajectory))
    copied = bool(files.names(COPIES))  # older versions made none
    yield from _of_table(steps, copied)
    for table in (readings_of(files, trajectory), certificates_of(files, trajectory)):
        yield from _of_table(FoundTable(files, table), copied)
    rows = told(max((version.records for version in steps.versions()), key=len))
    if (end := unbroken(rows)) < len(rows):
        yield Fault(path=steps_of(files, trajectory).path(0), text=f"the row after row {end} is missing", heals=False)
    accepted = [row for row in rows[:end] if row.accepted]
    yield from (Fault(path=path, text=text, heals=False) for path, text in faults_before_last(files, accepted))
    yield from _of_last_weights(files, accepted[-1:], copied)


def _of_table(found: FoundTable[Row], copied: bool) -> Iterator[Fault]:
    for number, file in found.originals.items():
        copy = found.copies[number]
        if file.fault:
            yield Fault(path=file.path, text=file.fault, heals=copy.fault is None)
        if copied and (copy.fault or (copy.data != file.data and not file.fault)):
            yield Fault(path=copy.path, text=copy.fault or "is not what it is a copy of", heals=file.fault is None)


def _of_last_weights(files: Files, last: list[StepRecord], copied: bool) -> Iterator[Fault]:
    weights = FoundWeights(files)
    for row in last:
        for path, copy, digest in weight_files(row):
            fault, of_copy = weights.fault(path, digest), weights.fault(copy, digest)
            if fault:
                yield Fault(path=path, text=fault, heals=of_copy is None)
            if of_copy and copied:
                yield Fault(path=copy, text=of_copy, heals=fault is None)


def _of_data(files: Files) -> Iterator[Fault]:
    for name in files.names(COUPLINGS):
        try:
            decode(files.read(f"{COUPLINGS}/{name}"))
        except (CorruptFile, ValueError) as error:
            yield Fault(path=f"{COUPLINGS}/{name}", text=getattr(error, "fault", str(error)), heals=True)
    for name in files.names(DATA):
        if fault := archive_fault(files, f"{DATA}/{name}"):
            yield Fault(path=f"{DATA}/{name}", text=fault, heals=False)


def archive_fault(files: Files, path: str) -> str | None:
    """What is wrong with an .npz file: each array is read once, by its checksum, and none is kept."""
    try:
        with zipfile.ZipFile(io.BytesIO(files.read(path))) as archive:
            if (size := sum(entry.file_size for entry in archive.infolist())) > most_bytes():
                return f"holds {size} bytes when unpacked, more than the {most_bytes()} that are read"
            damaged = archive.testzip()
    except FileNotFoundError:
        return MISSING
    except CorruptFile as error:
        return error.fault
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        return f"is no whole archive ({error})"
    return None if damaged is None else f"the array {damaged} is damaged"
