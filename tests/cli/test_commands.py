"""python -m rayfe: bad input is one line and exit 2; report, export, check, doctor and watch do what they say."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rayfe
from rayfe.__main__ import main
from rayfe.cli.commands import COMMANDS, doctor
from rayfe.cli.job_command import main as job
from rayfe.storage.store import Store

NAME = "lam1-gamma4-seed0"
ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
SHORT = [
    "digits-smoke",
    "--backend",
    "inline",
    "--steps",
    "1",
    "--equilibration.first-epochs",
    "2",
    "--equilibration.epochs",
    "1",
]
SHORT += ["--no-settle", "--measure.head-draws", "8"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A real run of one step on the digits."""
    out = str(tmp_path_factory.mktemp("commands") / "r")
    assert job("isoc", [*SHORT, "--out", out]) == 0
    return out


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
        (["check", "isoc", "digits-smoke", "--gamma", "-1"], "--gamma -1.0: must be a positive number"),
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


def test_job_leaves_its_report_and_the_command_writes_the_same_one(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = Path(run, "report.html").read_text()
    assert main(["report", run, "--to", str(tmp_path / "r.html")]) == 0
    assert "MB)" in capsys.readouterr().out
    assert (tmp_path / "r.html").read_text() == there
    assert main(["report", run, "--to", str(tmp_path / "none" / "r.html")]) == 2
    assert "give a file in a folder that exists" in capsys.readouterr().err


def test_exported_model_computes_what_the_stored_one_does(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    to = tmp_path / "model.pt2"
    assert main(["export", run, "--at", "lam=99", "--to", str(to)]) == 0
    assert f"step 1 of {NAME}" in capsys.readouterr().out
    model: Any = rayfe.load_model(run, NAME, 1)
    about = {"rayfe.json": ""}
    program = torch.export.load(to, extra_files=about).module()
    for n in (1, 4):
        x = torch.rand(n, 64)
        found = program(x)
        mean, log_variance = model.encode(x)
        expected = {
            "mean": mean,
            "log_variance": log_variance,
            "reconstruction": model.decode(mean),
            "logits": model.classify(mean),
        }
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.allclose(found[name], value, atol=1e-5), name
    assert json.loads(about["rayfe.json"])["step"] == 1
    card = to.with_suffix(".md").read_text()
    for text in ("## Functionals", "## Certificates", "licence: CC BY 4.0", "python jobs/isoc.py digits-smoke", "0, 1, 2, 3"):
        assert text in card
    assert run not in card
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code is not None
    subprocess.run([sys.executable, "-c", code[1]], cwd=tmp_path, check=True, timeout=120)


def test_export_never_replaces_a_file(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.pt2", "b.md"):
        (tmp_path / name).write_text("mine")
        assert main(["export", run, "--step", "1", "--to", str(tmp_path / f"{name[0]}.pt2")]) == 2
        assert "exists; give another name" in capsys.readouterr().err
        assert (tmp_path / name).read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt2", "b.md"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--step", "7"], "no accepted step 7, only 0, 1"),
        (["--at", "C"], "write COLUMN=NUMBER"),
        (["--at", "loss=1"], "loss cannot be asked for"),
        (["--step", "1", "--at", "C=0.1"], "and not both"),
        (["--step", "1", "--trajectory", "lam9"], "no trajectory 'lam9'"),
    ],
)
def test_export_of_what_is_not_there_is_one_line(
    run: str, words: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", run, *words, "--to", str(tmp_path / "m.pt2")]) == 2
    captured = capsys.readouterr().err
    assert text in captured and captured.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_check_prints_a_plan_and_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "r"
    assert main(["check", "isoc", "digits-smoke", "--gamma", "4", "6", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "trajectories: 2 (lam1-gamma4-seed0, lam1-gamma6-seed0)" in text
    for what in ("requests", "million training examples", "MiB an evaluator", "disk:", "training examples a second"):
        assert what in text
    assert "examples: 1,442 training" in text
    assert main(["check", "isoc", "digits-smoke", "--hold", "control", "--data.control-share", "0.5", "--out", str(out)]) == 0
    assert "examples: 723 training" in capsys.readouterr().out
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--known-runs", "/nothing"], "--known-runs /nothing: cannot be read"),
        (["--gamma", "6", "--model.latent", "4"], "--model.latent 4: the stored run has"),
        (["--equilibration.batch", "2000"], "--equilibration.batch 2000: there are 1442 training examples"),
    ],
)
def test_check_refuses_what_the_job_would(run: str, options: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "isoc", *SHORT, "--out", run, *options]) == 2
    assert capsys.readouterr().err.startswith(text)


def test_doctor_finds_what_rayfe_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--out", str(tmp_path / "runs")]) == 0
    text = capsys.readouterr().out
    assert "everything that rayfe needs is here" in text
    assert "mnist: 60,000 training and 10,000 validation images" in text
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
    found = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
    assert found is not None
    yield process, found[0]
    process.kill()
    process.communicate()


def test_watch_serves_the_page_on_loopback_and_ends_cleanly_by_ctrl_c(watching: tuple[subprocess.Popen[str], str]) -> None:
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
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert err == ""
    assert f"{NAME}: " in out and out.endswith("stopped watching\n")


def test_watch_ends_by_sigterm(watching: tuple[subprocess.Popen[str], str]) -> None:
    process, _ = watching
    process.terminate()
    out, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert err == "" and out.endswith("stopped watching\n")


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
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()
