"""Where storage fails, every command and every call of Python says it in one line that names the place and the fix."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import rayfe
from damages import NAME, make
from rayfe.cli.command import main
from rayfe.cli.commands import doctor
from rayfe.cli.job_command import main as job
from rayfe.exceptions import CorruptFile, StorageError, StorageFull, UsageError, shown
from rayfe.report.watched import Watched
from rayfe.storage.store import Store
from storage_faults import FAULTS, as_anybody, fault

NO_RUN = {"text file": "there is no run", "photographs": "there is no run"}
COMMANDS: Mapping[str, Callable[[str], int]] = {
    "status": lambda place: main(["status", place]),
    "status --json": lambda place: main(["status", "--json", place]),
    "status --with": lambda place: main(["status", "run", "--with", place]),
    "report": lambda place: main(["report", place]),
    "report of two": lambda place: main(["report", "run", place, "--to", "page.html"]),
    "watch": lambda place: main(["watch", place, "--port", "0"]),
    "export": lambda place: main(["export", place, "--to", "model.pt2"]),
    "certify": lambda place: main(["certify", place]),
    "verify": lambda place: main(["verify", place]),
    "locate": lambda place: main(["locate", place, "C=0.1", "D=20"]),
    "isoc --start": lambda place: job("isoc", ["digits-smoke", "--start", f"{place}@{NAME}:1", "--out", "new"]),
    "transfer --start": lambda place: job("transfer", ["--start", f"{place}@{NAME}:1", "--out", "new"]),
    "check --start": lambda place: main(["check", "isoc", "digits-smoke", "--start", f"{place}@{NAME}:1", "--out", "new"]),
}
CALLS: Mapping[str, Callable[[str], Any]] = {
    "load_run": rayfe.load_run,
    "load_certificates": rayfe.load_certificates,
    "load_model": rayfe.load_model,
    "find_step": rayfe.find_step,
    "Run.rows": lambda place: rayfe.Run(place).rows,
    "Run.trajectories": lambda place: rayfe.Run(place).trajectories,
    "Run.summary": lambda place: rayfe.Run(place).summary(),
    "Run.models": lambda place: rayfe.Run(place).models(),
    "Run.figures": lambda place: rayfe.Run(place).figures(),
    "Run.report": lambda place: rayfe.Run(place).report(),
}
WRITERS: Mapping[str, Callable[[str], int]] = {
    "isoc --out": lambda place: job("isoc", ["digits-smoke", "--out", place]),
    "check --out": lambda place: main(["check", "isoc", "digits-smoke", "--out", place]),
}
MENDED = ("closed rows", "photographs", "foreign table", "folder for a file")
WRITTEN = {name: text for name, (_, text) in FAULTS.items() if name not in MENDED}
WRITTEN |= {"text file": "notes.txt: is a file; give a folder"}
"""Where a job cannot write. It begins a run among photographs, and mends a table or looks at it only with its data at hand."""
UNREAD = {
    ("verify", "foreign table"),
    ("verify", "folder for a file"),
    ("verify", "file for a folder"),
    ("Run.trajectories", "closed rows"),
    ("Run.trajectories", "foreign table"),
    ("Run.trajectories", "folder for a file"),
    ("load_run", "folder for a file"),
    ("load_certificates", "folder for a file"),
    ("Run.rows", "folder for a file"),
}
"""What does not read the file at fault, or says of each file what is wrong."""


SLOW = ("dead server", "no keys")
"""What costs seconds: a few calls stand for all, since all read through the same class."""


def pairs(calls: Mapping[str, Any], faults: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = [(call, name) for call in calls for name in faults if (call, name) not in UNREAD]
    return [(call, name) for call, name in found if name not in SLOW or call in ("status", "load_run", "isoc --out")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("made") / "run"
    make(run)
    for folder in ("certificates", "copies/certificates"):  # of no training
        shutil.rmtree(run / folder)
    return run


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a run; `faulty` beside it has another."""
    shutil.copytree(made, tmp_path / "run")
    shutil.copytree(made, tmp_path / "faulty" / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def one_line(capsys: pytest.CaptureFixture[str], code: int, text: str) -> None:
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, ""), captured
    assert text in captured.err and captured.err.count("\n") == 1, captured.err


@pytest.mark.parametrize(("command", "name"), pairs(COMMANDS, FAULTS))
def test_a_command_that_reads_a_run_says_it_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    said = NO_RUN.get(name) if "--start" in command else None
    with fault(name, folder / "faulty") as place:
        one_line(capsys, COMMANDS[command](place), said or FAULTS[name][1])
    assert {path.name for path in folder.iterdir()} == {"run", "faulty"}


@pytest.mark.parametrize(("call", "name"), pairs(CALLS, FAULTS))
def test_a_call_of_python_raises_it_as_one_line(folder: Path, call: str, name: str) -> None:
    with fault(name, folder / "faulty") as place:
        with pytest.raises((StorageError, FileNotFoundError, CorruptFile)) as caught:
            CALLS[call](place)
        assert FAULTS[name][1] in str(caught.value) and "\n" not in str(caught.value)
        assert str(caught.value).removeprefix("no run at ").startswith((place, str(folder)))


@pytest.mark.parametrize(("command", "name"), pairs(WRITERS, WRITTEN))
def test_a_job_says_before_any_work_that_it_cannot_write(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    with fault(name, folder / "faulty") as place:
        code = WRITERS[command](place)
        error = capsys.readouterr().err
    assert code == 2 and error.startswith(f"--out {place}: ") and error.count("\n") == 1, error
    assert WRITTEN[name].partition(": ")[2] in error


@pytest.mark.parametrize("name", ["closed folder", "text file", "one slash", "unknown protocol", "no keys"])
def test_doctor_says_why_runs_cannot_be_written(folder: Path, name: str) -> None:
    with fault(name, folder / "faulty") as place:
        (found,) = doctor.out(place)
    assert found.state == "missing" and found.found.startswith(f"--out {place}: "), found


@pytest.mark.parametrize("name", ["closed parent", "text file", "one slash", "no keys"])
def test_a_walk_in_python_names_out(folder: Path, name: str) -> None:
    with fault(name, folder / "faulty") as place:
        with pytest.raises(UsageError, match="^out=") as caught:
            rayfe.walk("digits-smoke", out=place, quiet=True)
        assert "\n" not in str(caught.value)


def test_a_notebook_shows_that_there_is_nothing_to_show(folder: Path) -> None:
    with fault("closed folder", folder / "faulty") as place:
        run = rayfe.Run(place)
        assert "nothing to show: " in repr(run) and "permission denied" in repr(run)
        assert "permission denied" in run._repr_html_()


# --- reading is allowed, writing is not ---------------------------------------------------------------------------------


@pytest.fixture
def read_only(folder: Path) -> str:
    place = folder / "run"
    for path in [place, *place.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    return str(place)


def test_a_run_that_can_only_be_read_is_shown_and_its_page_is_written_elsewhere(
    read_only: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with as_anybody():
        assert [main([command, read_only]) for command in ("status", "verify")] == [0, 0]
        assert main(["report", read_only, "--to", "page.html"]) == 0
        capsys.readouterr()
        assert main(["report", read_only]) == 2
        assert capsys.readouterr().err.endswith(
            "report.html: permission denied; ask its owner, or use another place, or give --to FILE\n"
        )
        assert main(["certify", read_only]) == 2
        assert capsys.readouterr().err.startswith(f"RUN {read_only}: permission denied")
        with pytest.raises(StorageError, match="report.html: permission denied"):
            rayfe.Run(read_only).report()


@pytest.mark.parametrize("to", ["none/page.html", "run", "run/run.json/page.html", "n" * 300])
def test_a_page_that_cannot_be_written_is_refused(folder: Path, capsys: pytest.CaptureFixture[str], to: str) -> None:
    assert main(["report", "run", "--to", to]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"--to {shown(to)}: ") and "; " in error and error.count("\n") == 1, error


def test_a_full_disk_is_exit_code_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "run", "--to", "/dev/full"]) == 1
    assert capsys.readouterr().err.startswith("failed: /dev/full: no space left; make room")
    with pytest.raises(StorageFull):
        rayfe.Run("run").report("/dev/full")


# --- while it is looked at ----------------------------------------------------------------------------------------------


def test_a_run_that_is_watched_may_go_or_close_and_come_back(folder: Path) -> None:
    watched = Watched(["run"])
    os.rename("run", "away")
    watched.look()
    assert watched.trouble is not None and watched.trouble.startswith(f"no run at {folder}/run")
    os.rename("away", "run")
    os.chmod("run", 0)
    with as_anybody():
        watched.look()
        assert watched.trouble == f"{folder}/run: permission denied; ask its owner, or use another place"
    os.chmod("run", 0o755)
    watched.look()
    assert watched.trouble is None


def test_a_damaged_coupling_is_a_corrupt_file(folder: Path) -> None:
    inputs = Store("run").inputs
    assert inputs.read_coupling("validation").source.size
    Path("run/couplings/validation.parquet").write_bytes(b"no table")
    with pytest.raises(CorruptFile, match="couplings/validation.parquet: is not a stored coupling"):
        inputs.read_coupling("validation")
    os.unlink("run/couplings/validation.parquet")
    os.mkfifo("run/couplings/validation.parquet")
    with pytest.raises(CorruptFile, match="is no regular file"):
        inputs.read_coupling("validation")
