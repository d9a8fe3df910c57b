"""Whatever breaks under a walk, the same command ends with the rows, readings and weights of an undisturbed one."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import runpy
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rayfe.backend.analytic import AnalyticBackend
from rayfe.cli.job_command import main
from rayfe.config import RunConfig, configure
from rayfe.exceptions import LeaseLost, StorageFull
from rayfe.records import Answer, Equilibrated, EquilibrateRequest, Outcome, Request, StepRecord
from rayfe.run.runner import run_inline
from rayfe.storage.files import Files
from rayfe.storage.store import Store
from rayfe.surface.closed_form import PowerSurface

SURFACE = PowerSurface(kappa=20.0, a=1 / 3, b=1 / 3)
CONFIG = configure(gamma=(4.0, 6.0), steps=3)
NAMES = list(CONFIG.trajectories())
JOB = Path(__file__).parents[1] / "helpers" / "instrumented_job.py"


class Deaf:
    def row(self, record: StepRecord) -> None: ...

    def event(self, text: str) -> None: ...


@dataclass
class Heard(Deaf):
    rows: list[StepRecord] = field(default_factory=list)

    def row(self, record: StepRecord) -> None:
        self.rows.append(record)


def walk(location: Path | str, config: RunConfig = CONFIG, backend: AnalyticBackend | None = None) -> dict[str, str]:
    return run_inline(config, backend or AnalyticBackend(SURFACE, noise=1e-4), Store(location), Deaf())


def timeless(rows: list[StepRecord]) -> list[StepRecord]:
    return [dataclasses.replace(row, seconds=0.0) for row in rows]


def content(location: Path, config: RunConfig = CONFIG) -> dict[str, object]:
    """Everything that a run has stored but seconds: rows and readings as records, weights as bytes."""
    store = Store(location)
    found: dict[str, object] = {name: (timeless(store.rows(name)), store.readings(name)) for name in config.trajectories()}
    weights = [path for path in sorted(location.rglob("*.safetensors")) if path.relative_to(location).parts[0] != "damaged"]
    return found | {str(path.relative_to(location)): path.read_bytes() for path in weights}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    location = tmp_path_factory.mktemp("undisturbed")
    assert walk(location) == {}
    return content(location)


# --- numerical failures, and failures for good ------------------------------------------------------------------------


class Rises(AnalyticBackend):
    """At the first attempt of step 2 the centre's J ends higher than it began."""

    def equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        answer = super().equilibrate(request)
        if (request.key.step, request.key.attempt) != (2, 0):
            return answer
        higher = tuple(dataclasses.replace(r, R=2.0 * r.R) if r.update else r for r in answer.readings)
        return dataclasses.replace(answer, readings=higher)


def test_a_model_that_did_not_equilibrate_is_tried_again_at_half_the_step(tmp_path: Path) -> None:
    assert walk(tmp_path, backend=Rises(SURFACE)) == {}
    for name in NAMES:
        rows = Store(tmp_path).rows(name)
        assert [(row.step, row.attempt, row.accepted) for row in rows][2:4] == [(2, 0, False), (2, 1, True)]
        assert rows[2].outcome == Outcome.NOT_EQUILIBRATED
        assert rows[3].step_length == pytest.approx(rows[2].step_length / 2)


@dataclass
class Asked(AnalyticBackend):
    """Notes which trajectories ask; has a bug at the second step of one of them."""

    bug: str = ""
    asked: list[str] = field(default_factory=list)

    def answer(self, request: Request) -> Answer:
        self.asked.append(request.key.trajectory)
        if request.key.trajectory == self.bug and request.key.step == 2:
            raise ZeroDivisionError("a bug")
        return super().answer(request)


def test_a_trajectory_that_fails_for_good_stops_no_other_and_is_the_only_one_tried_again(
    tmp_path: Path, undisturbed: dict[str, object]
) -> None:
    for _ in range(2):
        backend = Asked(SURFACE, noise=1e-4, bug=NAMES[0])
        assert walk(tmp_path, backend=backend) == {NAMES[0]: "ZeroDivisionError: a bug"}
        store = Store(tmp_path)
        assert [len(store.rows(name)) for name in NAMES] == [2, 4]
    assert set(backend.asked) == {NAMES[0]}
    repaired = Asked(SURFACE, noise=1e-4)
    assert walk(tmp_path, backend=repaired) == {}
    assert set(repaired.asked) == {NAMES[0]}
    assert content(tmp_path) == undisturbed


def test_a_finished_run_takes_more_steps_and_more_starts(tmp_path: Path, undisturbed: dict[str, object]) -> None:
    assert walk(tmp_path, configure(CONFIG, gamma=(6.0,), steps=1)) == {}
    assert walk(tmp_path, configure(CONFIG, gamma=(6.0,))) == {}
    assert walk(tmp_path) == {}
    assert content(tmp_path) == undisturbed


# --- another driver -----------------------------------------------------------------------------------------------------


@dataclass
class Overtaken(Asked):
    """At one of the requests another driver takes the run over, as after a sleep of this machine."""

    files: Files = field(kw_only=True)
    request: int = field(kw_only=True)

    def answer(self, request: Request) -> Answer:
        answer = super().answer(request)
        if len(self.asked) == self.request:
            self.files.write(".lease/2", b"another driver's")
        return answer


@pytest.mark.parametrize("request_number", range(2, 9))
def test_a_lost_lease_raises_where_the_work_is_done_and_no_step_is_stored_after_it(request_number: int) -> None:
    place = f"memory://{uuid.uuid4().hex}/run"
    backend = Overtaken(SURFACE, noise=1e-4, files=Files(place), request=request_number)
    with Store(place).lock() as held:
        heard = Heard()
        with pytest.raises(LeaseLost, match="is held by another driver now"):
            run_inline(CONFIG, backend, held, heard)
    assert len(backend.asked) == request_number  # nothing more was asked
    assert [row for name in NAMES for row in Store(place).rows(name)] == sorted(
        heard.rows, key=lambda row: NAMES.index(row.trajectory)
    )
    assert Files(place).names(".lease") == ["2"]


# --- damage -----------------------------------------------------------------------------------------------------------

DAMAGE = {
    "truncated": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "one bit": lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:],
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("folder", ["steps", "readings", "states", "carry"])
def test_any_one_damaged_file_costs_no_step_and_is_kept_aside(
    tmp_path: Path, folder: str, damage: str, undisturbed: dict[str, object]
) -> None:
    assert walk(tmp_path) == {}
    path = tmp_path / folder / f"{NAMES[0]}.parquet"
    path = path if path.exists() else tmp_path / folder / NAMES[0] / "3.safetensors"
    bad = DAMAGE[damage](path.read_bytes())
    path.write_bytes(bad)
    backend = Asked(SURFACE, noise=1e-4)
    assert walk(tmp_path, backend=backend) == {}
    assert content(tmp_path) == undisturbed
    aside = tmp_path / "damaged" / path.relative_to(tmp_path).with_name(f"1-{path.name}")
    assert aside.read_bytes() == bad
    assert backend.asked == []


# --- a full disk ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", range(15))
def test_a_disk_that_fills_up_ends_the_run_and_the_next_one_goes_on(
    tmp_path: Path, room: int, undisturbed: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`room` counts the files that still fit: the disk fills at every place of the first commits of both trajectories."""
    sync, written = os.fsync, []

    def full(descriptor: int) -> None:
        if os.path.isfile(f"/proc/self/fd/{descriptor}"):
            if len(written) == room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written.append(descriptor)
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(StorageFull, match=rf"^{tmp_path}/.*: no space left; make room, then give the same command again"):
            walk(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]
    for name in NAMES:
        Store(tmp_path).rows(name), Store(tmp_path).readings(name)  # all that is there is whole
    assert walk(tmp_path) == {}
    assert content(tmp_path) == undisturbed


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here ({mounted.stderr.strip()})")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def options(out: Path) -> list[str]:
    return ["digits-smoke", "--lam", "0.25", "--backend", "inline", "--out", str(out)]


def job(out: Path, *words: str, delay: float = 0.0, log: Path | str = os.devnull) -> subprocess.Popen[str]:
    """jobs/isoc.py on the analytic surface, in a process of its own."""
    command = [sys.executable, str(JOB), "analytic", str(delay), str(log), *options(out), *words]
    environment = os.environ | {"PYTHONPATH": str(JOB.parents[2])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def test_a_full_disk_is_one_line_and_exit_1_and_the_same_command_goes_on(small_disk: Path) -> None:
    words = ("--gamma", "4", "6", "--steps", "3")
    filler = small_disk / "filler"
    descriptor = os.open(filler, os.O_CREAT | os.O_WRONLY)
    with contextlib.suppress(OSError):
        while os.write(descriptor, bytes(4096)):
            pass
    os.close(descriptor)
    os.truncate(filler, filler.stat().st_size - 120_000)
    code, errors = ended(job(small_disk / "run", *words))
    assert code == 1
    assert errors.startswith(f"failed: {small_disk}/run/") and "no space left" in errors
    assert errors.count("\n") == 1
    files = [path for path in small_disk.rglob("*") if path.is_file()]
    assert not [path for path in files if path.name.endswith(".tmp")]
    filler.unlink()
    code, errors = ended(job(small_disk / "run", *words))
    assert (code, errors) == (0, "")
    assert ended(job(small_disk.parent / "whole", *words)) == (0, "")
    config = configure(CONFIG, lam=(0.25,))
    assert content(small_disk / "run", config) == content(small_disk.parent / "whole", config)


def test_a_full_disk_says_so_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "touch", full)
    with pytest.raises(StorageFull, match="no space left"):
        Files(tmp_path).check_writable()


# --- a killed driver --------------------------------------------------------------------------------------------------


def examples(log: Path) -> float:
    """Training examples of all answers, those included whose step was never committed."""
    return sum(float(line.split()[-1]) for line in log.read_text().splitlines())


def test_kill_and_resume_costs_at_most_one_step_of_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, out, whole = tmp_path / "log", tmp_path / "run", tmp_path / "whole"
    noted = runpy.run_path(str(JOB))

    def undisturbed(run: Path, log: Path) -> None:
        monkeypatch.setattr("rayfe.run.runner.run", noted["run"](noted["Make"]("analytic", 0.0, str(log))))
        assert main("isoc", [*options(run), "--steps", "5"]) == 0

    undisturbed(whole, tmp_path / "log-whole")
    (name,) = Store(whole).trajectories()
    rows = Store(whole).rows(name)
    (certificate,) = Store(whole).certificates(name)
    needed = rows[-1].examples + certificate.examples
    assert examples(tmp_path / "log-whole") == pytest.approx(needed)
    steps = [after.examples - before.examples for before, after in zip(rows, rows[1:], strict=False)]
    kills = (5, 6)
    for answers in kills:  # while one is on its way, each time another
        process = job(out, "--steps", "5", delay=0.3, log=log)
        begun = len(log.read_text().splitlines()) if log.exists() else 0
        while not log.exists() or len(log.read_text().splitlines()) < begun + answers:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.communicate()
    assert 1 < len(Store(out).rows(name)) < len(rows)
    undisturbed(out, log)
    assert timeless(Store(out).rows(name)) == timeless(rows)
    assert needed < examples(log) <= needed + len(kills) * max(steps)


def test_a_second_driver_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    first = job(tmp_path / "run", "--steps", "2", delay=0.5)
    while not (tmp_path / "run" / "steps").exists():
        assert first.poll() is None
        time.sleep(0.02)
    first.send_signal(signal.SIGSTOP)  # or it might end before the second one has started
    code, errors = ended(job(tmp_path / "run", "--steps", "2"))
    first.send_signal(signal.SIGCONT)
    assert code == 2
    assert f"another process (pid {first.pid} on " in errors
    assert errors.count("\n") == 1
    assert ended(first) == (0, "")
