"""python -m rayfe: bad input is one line and exit 2; report, export, check, doctor and watch do what they say."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from rayfe.cli.command import main
from rayfe.cli.commands import COMMANDS, doctor
from rayfe.run.progress import Output
from rayfe.storage.store import Store

NAME = "lam1-gamma4-seed0"
ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["report", "none"], "no run at"),
        (["watch", "none"], "no run at"),
        (["export", "none", "--step", "1", "--to", "m.pt2"], "no run at"),
        (["export", "none", "--step", "1"], "--to"),
        (["check"], "usage: python -m rayfe check isoc"),
        (["check", "walk"], "walk: unknown job"),
        (["check", "isoc", "digits-smok"], "did you mean digits-smoke"),
        (["check", "isoc", "fig5"], "use jobs/transfer.py fig5"),
        (["check", "isoc", "digits-smoke", "--gamma", "-1"], "--gamma -1: must be a positive number"),
        (["doctor", "--nothing"], "unrecognized arguments: --nothing"),
        (["nothing"], "nothing: unknown command"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    argv: list[str], text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert text in captured.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("argv", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_is_printed_and_exits_0(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    assert "usage: python -m rayfe" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["-m", "rayfe", "--help"], ["jobs/isoc.py", "--help"], ["-m", "rayfe", "check", "--help"]])
def test_help_into_a_pipe_that_closes_leaves_no_traceback(command: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as `| head` does, only sooner
    try:
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=ENVIRONMENT, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120
        )
    finally:
        os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize("command", [["-m", "rayfe", "--help"], ["-m", "rayfe", "check", "--help"]])
def test_an_output_that_is_full_is_one_line(command: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.stderr == "failed: standard output: no space left; make room, then give the same command again\n"
    assert done.returncode == 1


def test_who_calls_from_python_is_not_ended_where_nobody_reads() -> None:
    with pytest.raises(BrokenPipeError, match="nobody reads the output any more"):
        Output().on_broken_pipe()


def test_job_leaves_its_report_and_the_command_writes_the_same_one(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = Path(run, "report.html").read_text()
    assert main(["report", run, "--to", str(tmp_path / "r.html")]) == 0
    assert "MB)" in capsys.readouterr().out
    assert (tmp_path / "r.html").read_text() == there
    assert main(["report", run, "--to", str(tmp_path / "none" / "r.html")]) == 2
    assert "give a file in a folder that exists" in capsys.readouterr().err


def test_the_console_command_is_the_same_program_and_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    (entry,) = (EntryPoint(name, value, "console_scripts") for name, value in project["scripts"].items())
    assert entry.name == "rayfe"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["rayfe", "--version"])
        patch.setattr("rayfe.__main__.handle_signals", lambda: None)
        assert entry.load()() == 0
    assert capsys.readouterr().out == f"rayfe {project['version']}\n"


def test_the_console_command_imports_nothing_from_the_working_directory(tmp_path: Path) -> None:
    """As the script does that an installation makes of it."""
    (tmp_path / "pandas.py").write_text("raise SystemExit('imported from the working directory')")
    script = tmp_path / "bin" / "rayfe"
    script.parent.mkdir()
    script.write_text("import sys\nfrom rayfe.__main__ import command\nsys.exit(command())\n")
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, str(script), "status", "none"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith("no run at ")


def test_check_prints_a_plan_and_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "r"
    assert main(["check", "isoc", "digits-smoke", "--gamma", "4", "6", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "trajectories: 2 (lam1-gamma4-seed0, lam1-gamma6-seed0)" in text
    for what in ("requests", "million training examples", "MiB an evaluator", "disk:", "training examples a second"):
        assert what in text
    assert "examples: 1,442 training" in text
    assert main(["check", "isoc", "digits-smoke", "--hold", "control", "--out", str(out)]) == 0
    assert "examples: 1,302 training" in capsys.readouterr().out
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--gamma", "6", "--model.latent", "4"], "--model.latent 4: the stored run has"),
        (["--equilibration.batch", "2000"], "--equilibration.batch 2000: there are 1442 training examples"),
    ],
)
def test_check_refuses_what_the_job_would(
    run: str, short: list[str], options: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "isoc", *short, "--out", run, *options]) == 2
    assert capsys.readouterr().err.startswith(text)


def test_doctor_finds_what_rayfe_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--out", str(tmp_path / "runs")]) == 0
    text = capsys.readouterr().out
    assert "everything that rayfe needs is here" in text
    assert "mnist: 60,000 training and 10,000 validation examples" in text
    assert not (tmp_path / "runs").exists()


def test_doctor_names_what_is_missing_with_its_fix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ["numpy>=999", "no-such-package>=1", "pytest; extra == 'dev'"]
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: wanted)
    (tmp_path / "file").write_text("")
    assert main(["doctor", "--out", str(tmp_path / "file")]) == 1
    text = capsys.readouterr().out
    assert "missing  numpy: " in text and "pip install 'numpy>=999'" in text
    assert "missing  no-such-package: not installed" in text
    assert "missing  --out: " in text and "give a folder" in text
    assert "3 missing" in text


@pytest.fixture
def watching(run: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`watch` as a shell starts it in the background: SIGINT is ignored."""
    command = [sys.executable, "-m", "rayfe", "watch", run, "--port", "0"]
    process = subprocess.Popen(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    found = re.search(r" http://127\.0\.0\.1:\d+/$", process.stdout.readline())
    assert found is not None
    yield process, found[0].strip()
    process.kill()
    process.communicate()


def test_watch_serves_the_page_on_loopback_and_ends_by_a_sigint_that_was_sent(
    watching: tuple[subprocess.Popen[str], str],
) -> None:
    process, url = watching
    page = _get(url)
    assert "data-live=" in page and "connect-src 'self'" in page
    content = json.loads(_get(url + "content"))
    assert content.keys() == {"version", "main", "content"}
    assert content["version"] in page
    with pytest.raises(urllib.error.HTTPError, match="404"):
        _get(url + "states")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        _get(url, host="evil.example")
    assert process.stdout is not None
    assert any(f"{NAME}: " in line for line in process.stdout)  # the page may be served before its first line is said
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 130
    assert err.startswith("interrupted; to go on: python -m rayfe watch ") and err.count("\n") == 1


def test_watch_ends_by_sigterm(watching: tuple[subprocess.Popen[str], str]) -> None:
    process, _ = watching
    process.terminate()
    _, err = process.communicate(timeout=200)
    assert process.returncode == 143
    assert err.startswith("terminated; to go on: python -m rayfe watch ") and err.count("\n") == 1


def test_watch_of_a_taken_port_says_so(watching: tuple[subprocess.Popen[str], str], run: str, capsys: Any) -> None:
    port = watching[1].rstrip("/").rpartition(":")[2]
    assert main(["watch", run, "--port", port]) == 2
    assert "--port 0 takes any free one" in capsys.readouterr().err


def test_stamp_changes_with_rows_only(run: str, tmp_path: Path) -> None:
    store = Store(run)
    before = store.stamp()
    store.write_text("report.html", "x")
    assert store.stamp() == before
    path = Path(run, "steps", f"{NAME}.parquet")
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))
    assert store.stamp() != before


def _get(url: str, host: str | None = None) -> str:
    request = urllib.request.Request(url, headers={} if host is None else {"Host": host})
    with urllib.request.urlopen(request, timeout=200) as answer:
        return answer.read().decode()
