"""Every way to look at a run, each in a child with little memory and time; and what must not come of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import rayfe
from rayfe.cli.command import main
from rayfe.cli.job_command import main as job
from rayfe.exceptions import CorruptFile, UsageError

MEMORY, SECONDS = 3 * 2**30, 20
"""Address space of a child beside what the parent has, and CPU seconds of one look."""
KNOWN = (UsageError, CorruptFile, FileNotFoundError)
"""What a call of Python may raise: all are one line."""

Look = Callable[[Path], object]


def commands(run: Path) -> dict[str, Look]:
    """Looks by name; each gets a folder to write to."""
    place = str(run)

    def export(to: Path) -> int:
        return main(["export", place, "--step", "1", "--to", str(to / "m.pt2")])

    calls: dict[str, Look] = {
        "repr": lambda to: print(repr(rayfe.Run(run))),
        "html": lambda to: (to / "repr.html").write_text(rayfe.Run(run)._repr_html_()),
        "load_run": lambda to: rayfe.load_run(run),
        "summary": lambda to: rayfe.Run(run).summary(),
        "certificates": lambda to: rayfe.Run(run).certificates(),
        "models": lambda to: rayfe.Run(run).models(),
        "step": lambda to: rayfe.Run(run).step(1),
        "model": lambda to: rayfe.Run(run).model(1),
        "load_model": lambda to: rayfe.load_model(run, step=1),
        "figures": lambda to: (to / "figures.html").write_text(rayfe.Run(run).figures()._repr_html_()),
    }
    asked: dict[str, Look] = {
        "status": lambda to: main(["status", place]),
        "status --json": lambda to: main(["status", "--json", place]),
        "verify": lambda to: main(["verify", place]),
        "report": lambda to: main(["report", place, "--to", str(to / "page.html")]),
        "report of two": lambda to: main(["report", place, str(run.parent / "good"), "--to", str(to / "several.html")]),
        "locate": lambda to: main(["locate", place, "C=0.1", "R=10"]),
        "export": export,
    }
    return asked | {name: _silent(call) for name, call in calls.items()}


def _silent(call: Look) -> Look:
    """A call of Python: what it returns is no exit code."""

    def look(to: Path) -> None:
        call(to)

    return look


ON = ["digits-smoke", "--backend", "inline", "--threads", "1", "--steps", "3"]


def changes(run: Path) -> dict[str, Look]:
    """What goes on with a run."""
    place = str(run)
    return {
        "check": lambda to: main(["check", "isoc", *ON, "--out", place]),
        "certify": lambda to: main(["certify", place, "--epochs", "0.1"]),
        "report in it": lambda to: main(["report", place]),
        "go on": lambda to: job("isoc", [*ON, "--out", place]),
    }


def digest(folder: Path) -> str:
    """Of names, kinds and contents below a folder."""
    found = []
    for path in sorted(folder.rglob("*")):
        stat = path.lstat()
        data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found.append((str(path.relative_to(folder)), stat.st_mode, hashlib.sha256(data).hexdigest()))
    return hashlib.sha256(repr(found).encode()).hexdigest()


def faults(run: Path, looks: Mapping[str, Look]) -> dict[str, str]:
    """What came of each look that should not have; the run lies beside a folder `outside`, which is to stay as it is."""
    before, found, left = digest(run.parent / "outside"), {}, list(looks)
    with tempfile.TemporaryDirectory() as folder:
        while left:
            told = Path(folder) / "told"
            told.write_text("")
            child = os.fork()
            if not child:
                _child({name: looks[name] for name in left}, Path(folder), told)
            _, status = os.waitpid(child, 0)
            lines = [json.loads(line) for line in told.read_text().splitlines()]
            found |= {name: fault for name, fault in lines if fault}
            left = left[len(lines) :]
            if left:
                ended = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else str(status)
                found[left.pop(0)] = f"killed: {ended}"
    if digest(run.parent / "outside") != before:
        found["outside"] = "was changed"
    return found


def _child(looks: Mapping[str, Look], folder: Path, told: Path) -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # pytest's time-out is the parent's
    try:
        for name, look in looks.items():
            # not of wall time: the machine may be busy
            limit = math.ceil(time.process_time()) + SECONDS
            resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
            fault = look_at(look, folder)
            with told.open("a") as file:
                file.write(json.dumps([name, fault]) + "\n")
    finally:
        os._exit(0)


def look_at(look: Look, folder: Path) -> str:
    """What came of a look that should not have; empty where it is as it should be."""
    for path in folder.glob("*.*"):
        path.unlink()
    out, error = folder / "out", folder / "error"
    try:
        with redirected(out, error):
            code = look(folder)
    except KNOWN as raised:
        return "" if "\n" not in str(raised) and shows(str(raised)) else f"said: {str(raised)[:200]!r}"
    except BaseException:
        return "raised: " + " | ".join(traceback.format_exc().strip().splitlines()[-5:])[-400:]
    return judged(code, out.read_bytes(), error.read_bytes(), folder)


def judged(code: object, out: bytes, error: bytes, folder: Path) -> str:
    said = error.decode(errors="replace")
    if isinstance(code, int) and code not in (0, 1, 2) or "Traceback" in said:
        return f"code {code}: {said[-300:]!r}"
    if code == 2 and said.count("\n") != 1:
        return f"{said.count(chr(10))} lines: {said[:300]!r}"
    if code == 2 and len(said) > 3000:
        return f"a line of {len(said)}: {said[:100]!r}"
    for text in (out.decode(errors="replace"), said):
        if not shows(text):
            return f"steers: {[c for c in text if not shows(c)][:5]} in {text[:200]!r}"
    for path in folder.glob("*.*"):
        if path.suffix in (".html", ".md") and (fault := unsafe(path.read_text())):
            return f"{path.name}: {fault}"
    if "canary" in sys.modules:
        return "imported a name"
    return ""


def shows(text: str) -> bool:
    """Whether no character steers a terminal."""
    return all(one.isprintable() or one in "\n" or ord(one) >= 0xE000 and not 0xFFF0 <= ord(one) for one in text)


def unsafe(text: str) -> str:
    for what in ("<script>alert", "<img src=x", "\x1b", "\x9b", "\u202e"):
        if what in text:
            at = text.index(what)
            return f"{what!r} in {text[max(0, at - 80) : at + 60]!r}"
    return ""


@contextlib.contextmanager
def redirected(out: Path, error: Path) -> Iterator[None]:
    """What this process and its libraries write goes to these files."""
    kept = {number: os.dup(number) for number in (1, 2)}
    try:
        for number, path in ((1, out), (2, error)):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, number)
            os.close(descriptor)
        yield
        sys.stdout.flush(), sys.stderr.flush()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        for number, descriptor in kept.items():
            os.dup2(descriptor, number)
            os.close(descriptor)


def prepared(good: Path, place: Path, case: Callable[[Path], Any]) -> Path:
    """A hostile copy of a good run, with the good one and the folder `outside` beside it."""
    shutil.rmtree(place, ignore_errors=True)
    (place / "outside").mkdir(parents=True)
    for name in ("keep.txt", "0.safetensors", ".x.0123abcd.tmp"):
        (place / "outside" / name).write_text("precious")
    (place / "good").symlink_to(good)
    shutil.copytree(good, place / "run")
    (place / "run" / "canary.py").write_text("raise SystemExit('imported')\n")
    case(place / "run")
    return place / "run"
