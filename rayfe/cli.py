"""A job from its command line to its exit code: checks everything, then runs, draws and sums up (contracts C2 and C3)."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from rayfe.config import THREADING, TRANSFERS, RunConfig, UsageError, require
from rayfe.data.coupling import Coupling, decode, encode
from rayfe.data.paths import COUPLED, PathData, coupled, load_path
from rayfe.figures import draw_all
from rayfe.files import CorruptFile, Files
from rayfe.layout import CONFIG
from rayfe.lease import LOCK
from rayfe.logs import JsonLog
from rayfe.manifest import grown, manifest_of, stored_manifest, stored_replicas
from rayfe.options import absolute, one_line, parse, split_preset
from rayfe.pipes import closed_pipe_is_fine
from rayfe.progress import Progress
from rayfe.records import Split, StepRecord
from rayfe.report import REPORT, report_of
from rayfe.store import Store, load_readings, load_rows
from rayfe.summary_transfer import print_run
from rayfe.trajectory.processes import process_of

log = logging.getLogger(__name__)

DONE, FAILED, BAD_INPUT, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143


def main(job: str, argv: Sequence[str]) -> int:
    """Run `job` with the arguments `[PRESET] [--options]`; returns the exit code.

    0 done (named stops included), 1 a trajectory failed, 2 bad input, 130 Ctrl-C, 143 SIGTERM.
    """
    from rayfe.signals import Terminated

    for name, value in THREADING.items():
        os.environ.setdefault(name, value)
    argv = list(argv)
    config = None
    try:
        with closed_pipe_is_fine():
            preset, arguments = split_preset(job, argv)
            config = absolute(parse(job, preset, arguments), preset)
        return DONE if config is None else _drive(job, preset, argv, config)  # None: `--help | head`
    except UsageError as error:
        print(one_line(error), file=sys.stderr)
        return BAD_INPUT
    except (KeyboardInterrupt, Terminated) as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        print(f"{'interrupted' if interrupted else 'terminated'}; to go on: {_command(job, argv)}", file=sys.stderr)
        return INTERRUPTED if interrupted else TERMINATED
    except OSError as error:  # storage is full, or away; what is stored stays
        return _failed(error)
    except SystemExit as help_printed:
        if help_printed.code:
            raise
        return DONE


def _failed(error: Exception) -> int:
    """Say it in one line; the traceback goes to the log."""
    log.info("the run failed", exc_info=error)
    print(f"failed: {' '.join((str(error) or type(error).__name__).splitlines())}", file=sys.stderr)
    return FAILED


def _command(job: str, argv: Sequence[str]) -> str:
    script = sys.argv[0] if os.path.basename(sys.argv[0]) == f"{job}.py" else f"jobs/{job}.py"
    return shlex.join(["python", script, *argv])


def check_model(config: RunConfig, data: PathData) -> None:
    """What can only be checked with the data and the user's code at hand: batches, the process, the model."""
    if config.method is None and config.process not in TRANSFERS:
        process_of(config, k=None)
    batch = config.equilibration.batch
    examples = min(len(dataset.train.y) for dataset in (data.source, data.target) if dataset is not None)
    require(batch <= examples, "equilibration.batch", batch, f"there are {examples} training examples, give at most that many")
    from rayfe.model.protocol import build, input_shape  # imports torch

    try:
        build(config.model, input_shape=input_shape(config.model, data.input_shape), classes=data.classes)
    except UsageError:
        raise
    except Exception as error:  # a model of the user's own may raise anything
        fix = f"cannot be built for examples of shape {data.input_shape} ({type(error).__name__}: {error})"
        raise UsageError("model.name", config.model.name, fix) from error


def _drive(job: str, preset: str, argv: list[str], config: RunConfig) -> int:
    assert config.out is not None
    out = config.out
    store = Store(out, keep_states=config.keep_states)
    store.writable()
    data = load_path(config)
    check_model(config, data)
    config = _with_replicas(config, store)
    manifest = manifest_of(job, preset, argv, config, data)
    stored_manifest(store, manifest, config)
    undo = _undo(out)
    with store.lock(say=_tell) as store:
        stored = stored_manifest(store, manifest, config)  # again: another process may have made it since
        store.create(grown(manifest, stored))
        print(f"run {_shown(store.url())}; if interrupted, go on with the same command: {_command(job, argv)}", flush=True)
        try:
            data = _coupled(data, config, store)
            failed = _run(config, data, store)
        except UsageError:  # only a backend knows what its machine can hold
            if stored is None and not store.trajectories():
                undo()
            raise
        except RuntimeError as error:  # Ray died or refused; what is stored stays
            return _failed(error)
        _report(config, store, data)
    for name, reason in failed.items():
        print(f"failed: {name}: {' '.join(reason.splitlines())}; the same command tries again", file=sys.stderr)
    return FAILED if failed else DONE


def _with_replicas(config: RunConfig, store: Store) -> RunConfig:
    """The configuration with the replicas of an evaluator settled: as the run began, or by the GPUs that there are."""
    if config.replicas_per_evaluator != "auto":
        return config
    replicas = stored_replicas(store)
    if replicas is None:
        from rayfe.runner import gpus

        replicas = 1 if gpus(config) >= 2 else "all"
    return dataclasses.replace(config, replicas_per_evaluator=replicas)


def _run(config: RunConfig, data: PathData, store: Store) -> dict[str, str]:
    from rayfe.runner import run  # imports torch and Ray: not for --help
    from rayfe.signals import handle_sigterm

    rows = {name: _readable_rows(store, name) for name in config.trajectories()}
    listener = JsonLog() if config.log_format == "json" else Progress(config, rows)
    with handle_sigterm(), listener as told:
        return run(config, data, store, told)


def _readable_rows(store: Store, name: str) -> list[StepRecord]:
    try:
        return store.rows(name)
    except CorruptFile:
        return []  # the runner repairs it


def _coupled(data: PathData, config: RunConfig, store: Store) -> PathData:
    """The data with its couplings: those that the run has stored, and the others computed and stored."""
    known: dict[Split, Coupling] = {}
    for split in COUPLED if data.kind == "displacement" else ():
        found = store.read_coupling(str(split))
        try:
            known |= {} if found is None else {split: decode(found)}
        except ValueError as error:
            aside = store.set_coupling_aside(str(split))
            _tell(f"coupling of {split}: {error}; set aside as {aside}, computing it again")
    data = coupled(data, config, _tell, known=known)
    for split, coupling in (data.couplings or {}).items():
        if split not in known:
            store.write_coupling(str(split), encode(coupling))
    return data


def _tell(text: str) -> None:
    print(text, flush=True)


def _undo(out: str) -> Callable[[], None]:
    """What takes a run folder that is made from now on away again, if nothing was stored in it."""
    folder = Path(out)
    missing = [path for path in (folder, *folder.parents) if not path.exists()] if "://" not in out else []

    def undo() -> None:
        for name in (CONFIG, LOCK):
            Files(out).remove(name)
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()

    return undo


def _report(config: RunConfig, store: Store, data: PathData) -> None:
    """Draw the figures, write the page, and print the summary and where everything is."""
    rows = load_rows(store.url())
    drawn = draw_all(rows, load_readings(store.url()), tolerance=config.tolerance)
    paths = [store.write_figure(name, image) for name, image in drawn.items()]
    page = store.write_text(REPORT, report_of(store, data))
    console = Console()
    console = console if console.is_terminal else Console(width=100)
    print_run(rows, config, console)
    places = [("rows", "steps"), *(("figure", path) for path in paths), ("report", page)]
    for what, place in places:
        print(f"{what}: {_shown(store.url(place))}", flush=True)


def _shown(place: str) -> str:
    """A local path relative to the working directory where it lies below it."""
    path = Path(place)
    return str(path.relative_to(Path.cwd())) if "://" not in place and path.is_relative_to(Path.cwd()) else place
