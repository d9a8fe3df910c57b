"""SIGTERM and Ctrl-C end a command at once with one line, wherever it is; from Python signals are the caller's."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rayfe
from rayfe import signals
from rayfe.config import RunConfig
from untrained_job import walk

ROOT = Path(__file__).resolve().parents[1]
ENDINGS = [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted"), (signal.SIGHUP, 129, "hung up")]
LONG = 120
"""Seconds until a test gives up; they depend on no time below that."""


def started(*command: str, **options: Any) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen(
        [sys.executable, *command], text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, **pipes
    )


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Any]:
    """Starts a script that has handlers of signals, and waits for its first word."""
    processes = []

    def start(text: str, *before: str, **options: Any) -> tuple[subprocess.Popen[str], str]:
        path = tmp_path / "script.py"
        path.write_text("from rayfe.signals import handle_signals, released\nhandle_signals()\n" + text)
        process = started(*before, str(path), **options)
        processes.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline()

    yield start
    for process in processes:
        process.kill()
        process.communicate()


COMMANDS = {
    "job": ["jobs/isoc.py", "digits-smoke", "--out", "none"],
    "benchmark": ["jobs/benchmark.py"],
    "command": ["-m", "rayfe", "status", "none"],
    "console": ["-c", "from rayfe.__main__ import command; raise SystemExit(command())"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("number", "code", "word"), ENDINGS)
def test_a_signal_during_the_first_import_that_takes_time_ends_a_command(
    command: str, number: signal.Signals, code: int, word: str
) -> None:
    process = started("-X", "importtime", *COMMANDS[command])
    assert process.stderr is not None
    while "numpy.version" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    out, errors = process.communicate(timeout=LONG)
    said = [line for line in errors.splitlines() if not line.startswith("import time:")]
    assert process.returncode == code, errors
    assert len(said) == 1 and said[0].startswith(f"{word}; to go on: python -X importtime "), errors
    assert out == ""


BUSY = {
    "sleeps": "time.sleep(600)",
    "counts": "while True: pass",
    "waits": "threading.Event().wait()",
    "swallows": "while True:\n    try: time.sleep(600)\n    except BaseException: pass",
    "imports": "sys.path.insert(0, str(pathlib.Path(__file__).parent)); import slow",
    "exits": "atexit.register(time.sleep, 600)",
    "leaves": "threading.Thread(target=time.sleep, args=(600,)).start()",
}
IMPORTS = "import atexit, pathlib, subprocess, sys, threading, time\n"


@pytest.mark.parametrize("kind", BUSY)
def test_whatever_the_main_thread_does_a_signal_ends_the_command(script: Any, tmp_path: Path, kind: str) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(600)\n")
    for number, code, word in ENDINGS:
        process, _ = script(f"{IMPORTS}print('busy', flush=True)\n{BUSY[kind]}\n")
        process.send_signal(number)
        _, errors = process.communicate(timeout=LONG)
        assert process.returncode == code, errors
        assert errors == f"{word}; to go on: python {tmp_path}/script.py\n"


STARTS = f"""{IMPORTS}
own = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
with released(lambda: print("released", flush=True)), released(lambda: time.sleep(600)), released(lambda: 1 / 0):
    print(own.pid, flush=True)
    own.wait()
    print("goes on", flush=True)
"""


def test_what_others_would_trip_over_is_released_and_what_the_command_started_ends_with_it(script: Any) -> None:
    """One release may hang and another fail; the main thread says nothing of the loss of what it works with."""
    process, own = script("import rayfe.signals\nrayfe.signals.TO_RELEASE = 6.0  # a busy machine may take a second\n" + STARTS)
    process.terminate()
    out, errors = process.communicate(timeout=LONG)
    assert process.returncode == 143
    assert out == "released\n" and errors.startswith("terminated; ") and errors.count("\n") == 1
    while lives(int(own)):  # it has been killed, and takes its time
        time.sleep(0.05)
    assert signals.TO_RELEASE + signals.TO_LEAVE < 2


@pytest.mark.parametrize("reader", [True, False])
def test_what_a_command_started_ends_with_it_also_where_nobody_reads_its_errors(script: Any, reader: bool) -> None:
    ours, theirs = os.pipe()
    if not reader:
        os.close(ours)
    else:  # who does not read: the pipe is full
        os.set_blocking(theirs, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(theirs, b"x" * 4096)
        os.set_blocking(theirs, True)
    process, own = script(STARTS, stderr=theirs)
    process.terminate()
    assert process.wait(LONG) == 143
    while lives(int(own)):
        time.sleep(0.05)


def test_what_the_program_had_started_before_it_became_this_one_stays(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "from rayfe.signals import handle_signals\nhandle_signals()\nprint(flush=True)\nimport time\ntime.sleep(600)\n"
    )
    shell = 'sleep 600 >&- 2>&- & echo $!; exec "$@"'
    process = subprocess.Popen(
        ["sh", "-c", shell, "sh", sys.executable, str(tmp_path / "script.py")],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    other = int(process.stdout.readline())
    try:
        process.stdout.readline()
        process.terminate()
        assert process.wait(LONG) == 143
        assert lives(other)
    finally:
        os.kill(other, signal.SIGKILL)
        process.communicate()


DONE = f"""{IMPORTS}
from rayfe.signals import ended
class Slow:
    def __del__(self):
        print("taken down")
slow = Slow()
atexit.register(print, "registered")
print("done", flush=True)
sys.exit(ended(3))
"""


def test_a_command_that_is_done_does_what_is_registered_and_is_gone(script: Any) -> None:
    """Else signals would have the system's meaning for as long as modules are taken down."""
    process, _ = script(DONE)
    assert process.stdout is not None and process.stderr is not None
    assert (process.stdout.read(), process.stderr.read()) == ("registered\n", "")
    assert process.wait(LONG) == 3


FORKS = """
import os, signal
child = os.fork()
if not child:
    signal.pause()
os.kill(child, signal.SIGTERM)
print(os.WTERMSIG(os.waitpid(child, 0)[1]), flush=True)
input()
"""


def test_a_signal_to_a_forked_child_is_its_own(script: Any) -> None:
    process, ended_by = script(FORKS)
    assert int(ended_by) == signal.SIGTERM
    process.communicate("\n", timeout=LONG)
    assert process.returncode == 0


READS = "print('reads', flush=True)\nprint(input(), flush=True)\nimport time\ntime.sleep(600)\n"


@pytest.mark.parametrize(("ignored", "code"), [(True, 143), (False, 130)])
def test_in_the_background_the_keyboard_ends_nothing_and_in_the_foreground_it_does(
    script: Any, ignored: bool, code: int
) -> None:
    """A script's `job &` ignores SIGINT, and is in the group of processes that the terminal sends it to."""
    keyboard, terminal = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        os.close(os.open(os.ttyname(0), os.O_RDWR))
        signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL)

    process, _ = script(READS, stdin=terminal, preexec_fn=take_terminal)
    os.write(keyboard, b"\x03")
    if ignored:
        os.write(keyboard, b"still here\n")
        assert process.stdout.readline() == "still here\n"
        process.terminate()
    _, errors = process.communicate(timeout=LONG)
    assert process.returncode == code, errors
    os.close(keyboard)
    os.close(terminal)


def test_in_the_background_a_sigint_that_was_sent_ends_the_command(script: Any) -> None:
    process, _ = script(READS, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    process.send_signal(signal.SIGINT)
    assert process.wait(LONG) == 130
    assert process.stderr is not None
    errors = process.stderr.read()
    assert errors.startswith("interrupted; ") and errors.count("\n") == 1


def test_as_process_1_of_a_container_a_signal_ends_the_command(script: Any) -> None:
    new = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*new, "true"], capture_output=True).returncode:
        pytest.skip("no namespace of processes can be made here")
    process = subprocess.Popen(
        [*new, sys.executable, "-c", "import os; from rayfe.signals import handle_signals; handle_signals(); print(); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None and process.stdin is not None
    process.stdout.readline()
    (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(first), signal.SIGTERM)
    assert process.wait(LONG) == 143
    process.communicate()


@pytest.mark.usefixtures("cwd")
def test_a_walk_from_python_leaves_the_callers_handlers_in_place(runner: Any) -> None:
    seen = []

    def looks(config: RunConfig, *rest: Any) -> dict[str, str]:
        seen.append((signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), sys.excepthook))
        return walk(config, *rest)

    def own(number: int, frame: object) -> None: ...

    before = signal.signal(signal.SIGTERM, own)
    try:
        runner(looks)
        rayfe.walk("digits-smoke", steps=1, quiet=True)
        assert seen == [(own, signal.getsignal(signal.SIGINT), sys.excepthook)]
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)
