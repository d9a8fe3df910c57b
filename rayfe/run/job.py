"""A job once it is known what is wanted: checks everything, then runs, draws and sums up. For command lines and for Python."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from rayfe.config import RunConfig
from rayfe.config.places import said_of
from rayfe.data.coupling import Coupling
from rayfe.data.examples import Dataset
from rayfe.data.paths import PathData, coupled, coupled_splits, epoch_of, examples_of, load_path
from rayfe.exceptions import CorruptFile, LeaseLost, RunBroken, UsageError, Words, in_shell_words
from rayfe.figures.book import draw_all
from rayfe.figures.frames import band_of, subject_of
from rayfe.records import Split, StepRecord
from rayfe.report.at_hand import AtHand
from rayfe.report.images import Album
from rayfe.report.page import REPORT, html_of, page_of
from rayfe.report.predicted import Predictor
from rayfe.report.view import view_of
from rayfe.results.printed import print_run
from rayfe.run.choices import devices, settled
from rayfe.run.logs import JsonLog
from rayfe.run.model_checks import check_model
from rayfe.run.progress import Output, Progress
from rayfe.run.starts import StartModel, check_fits, with_outputs
from rayfe.storage.errors import as_bad_input
from rayfe.storage.files import Files
from rayfe.storage.layout import CONFIG, COPIES, FAILED, FINGERPRINT, START, copy_path, data_path
from rayfe.storage.lock_file import LOCK
from rayfe.storage.manifest import digest_of, grown, manifest_of, said_of_devices, stored_manifest
from rayfe.storage.store import Store

Say = Callable[[str], None]
FEW = 300
"""Updates of a start's training; with fewer it often learns nothing that could be held (docs/choose.md)."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run as it was asked for."""

    name: str
    """isoc, transfer or baseline: what in jobs/ does the same."""
    preset: str
    arguments: tuple[str, ...]
    """The words of its command line."""
    config: RunConfig
    again: str
    """For people: what goes on with it, such as `the same command: python jobs/isoc.py`."""
    words: Words = in_shell_words
    """How options are said where the job was asked for: on a command line, or in Python."""
    start: StartModel | None = None
    """What `config.start` names; None: new weights."""
    own: Mapping[str, Dataset] = field(default_factory=dict)
    """Data sets that no file holds, by the name that the configuration has for them; the run keeps a copy."""


def carry_out(job: Job, console: Console) -> dict[str, str]:
    """Run the job to its end and leave rows, figures and the page; returns the trajectories that failed, with one line why.

    A run that is there is continued. Signals are the caller's: nothing here handles them.

    Raises:
        UsageError: bad input; nothing is left then.
        RunBroken: the backend died.
        LeaseLost: another driver has taken the run over.
        StorageError: storage is full, or away.
    """
    data, say = with_outputs(load_path(job.config, job.own), job.start), _speaker(console)
    store, config, manifest = prepared(job, data, say)
    assert config.out is not None
    undo = _undo(config.out, job.own)
    with contextlib.ExitStack() as held:
        with as_bad_input("out", config.out):
            store = held.enter_context(store.lock(say=say))
            stored = stored_manifest(store, manifest, config)  # again: another process may have made it since
            store.create(grown(manifest, stored), fingerprint=digest_of(manifest))
        for dataset in job.own.values():
            store.inputs.keep_data(dataset, manifest["kept_sha256"][dataset.name])
        if job.start is not None:
            store.inputs.keep_start(job.start.weights)
        say(f"run {_shown(store.url())}; if interrupted, go on with {job.again}")
        for note in filter(None, (said_of(config.out or ""), said_of_devices(manifest, stored), _said_of_start(config, data))):
            say(job.words(note))
        try:
            data = with_couplings(data, config, store, say)
            failed = _run(job, config, data, store, console)
        except UsageError:  # only a backend knows what its machine can hold
            if stored is None and not store.trajectories():
                undo()
            raise
        except LeaseLost:
            raise
        except RuntimeError as error:  # Ray died or refused; what is stored stays
            raise RunBroken(str(error) or type(error).__name__) from error
        _report(job, config, store, data, console)
    return failed


def prepared(job: Job, data: PathData, say: Say) -> tuple[Store, RunConfig, dict[str, Any]]:
    """The run's store, its configuration with nothing left to this machine, and its manifest; nothing is written.

    `say` is told what was settled for a new run.

    Raises:
        UsageError: whatever can be known to be wrong before any work.
    """
    assert job.config.out is not None
    with as_bad_input("out", job.config.out):
        store = Store(job.config.out, keep_states=job.config.service.keep_states)
        store.writable()
        told = check_model(job.config, data)
        if job.start is not None:
            check_fits(job.config, data, job.start)
        config = settled(job.config, store, data, say)
        start = None if job.start is None else job.start.told
        words, own = list(job.arguments), job.own.values()
        manifest = manifest_of(
            job.name, job.preset, words, config, data, start=start, own=own, devices=devices(config), told=told
        )
        stored_manifest(store, manifest, config)
        return store, config, manifest


def _said_of_start(config: RunConfig, data: PathData) -> str:
    """What people must know of the start's own training; empty where there is nothing."""
    updates = round(config.start_epochs * epoch_of(data, config) / config.equilibration.batch_of(annealed=True))
    if config.start_epochs == 0 or updates >= FEW:
        return ""
    return (
        f"The start is trained by {updates} updates, which seldom suffice: raise ``equilibration.first_epochs``, "
        "or lower ``equilibration.first_batch``."
    )


def console_of(*, quiet: bool = False) -> Console:
    """Where a job tells how it goes: the terminal, the notebook, or 100 columns of plain text; nowhere if `quiet`."""
    console = Output(quiet=quiet, force_terminal=False if quiet else None)
    return console if console.is_terminal or console.is_jupyter else Output(width=100, quiet=quiet)


def _run(job: Job, config: RunConfig, data: PathData, store: Store, console: Console) -> dict[str, str]:
    from rayfe.run.runner import run  # imports torch and Ray: not for --help

    rows = {name: _readable_rows(store, name) for name in config.trajectories()}
    json = config.service.log_format == "json"
    listener = JsonLog(words=job.words) if json else Progress(config, rows, console=console, words=job.words)
    with listener as told:
        return run(config, data, store, told)


def _readable_rows(store: Store, name: str) -> list[StepRecord]:
    try:
        return store.rows(name)
    except CorruptFile:
        return []  # the runner repairs it


def with_couplings(data: PathData, config: RunConfig, store: Store, say: Say) -> PathData:
    """The data with its couplings: those that the run has stored, and the others computed and stored."""
    known: dict[Split, Coupling] = {}
    for split in coupled_splits(data, config):
        assert data.target is not None
        source, target = (examples_of(end, split, config) for end in (data.source, data.target))
        if not store.inputs.lacks_coupling(str(split), (len(source.y), len(target.y))):
            known[split] = store.inputs.read_coupling(str(split))
    data = coupled(data, config, say, known=known)
    for split, coupling in (data.couplings or {}).items():
        if split not in known:
            store.inputs.write_coupling(str(split), coupling)
    return data


def _speaker(console: Console) -> Say:
    def say(text: str) -> None:
        console.print(Text(text), soft_wrap=True)
        console.file.flush()

    return say


def _undo(out: str, own: Mapping[str, Dataset]) -> Callable[[], None]:
    """What takes a run folder that is made from now on away again, if nothing was stored in it."""
    folder = Path(out)
    places = (folder / "data", folder / COPIES, folder, *folder.parents)
    missing = [path for path in places if not path.exists()] if "://" not in out else []

    def undo() -> None:
        for name in (
            CONFIG,
            copy_path(CONFIG),
            FINGERPRINT,
            FAILED,
            START,
            LOCK,
            *(data_path(dataset.name) for dataset in own.values()),
        ):
            Files(out).remove(name)
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()

    return undo


def _report(job: Job, config: RunConfig, store: Store, data: PathData, console: Console) -> None:
    """Draw the figures, write the page, and print the summary and where everything is."""
    view = view_of(store)
    here = AtHand(data)
    found = Predictor(here).predictions(view)
    band, subject = band_of(config, view.rows), subject_of(config)
    drawn = draw_all(view.rows, view.readings, tolerance=band, subject=subject, predictions=found)
    paths = [store.write_figure(name, image) for name, image in drawn.items()]
    page = store.write_text(REPORT, html_of(page_of(view, Album(here).gallery(view), found)))
    print_run(view.rows, config, console, view.certificates, view.models, location=_shown(store.url()), words=job.words)
    places = [
        ("rows", "steps"),
        *(("figures", folder) for folder in sorted({path.rpartition("/")[0] for path in paths})),
        ("report", page),
    ]
    say = _speaker(console)
    for sentence in found.sentences if found else ():
        say(sentence)
    for what, place in places:
        say(f"{what}: {_shown(store.url(place))}")


def _shown(place: str) -> str:
    """A local path relative to the working directory where it lies below it."""
    path = Path(place)
    return str(path.relative_to(Path.cwd())) if "://" not in place and path.is_relative_to(Path.cwd()) else place
