"""Signals at moments from the first import to the last byte: `python tests/chaos/signals.py --out DIR [--moments 15]`.

Each command runs once undisturbed. Then it is started again for every signal and moment, in the same place, and gets the signal
there. Prints a line a signal: how it ended, after how many seconds, how many lines it left, and what it had started and not
ended. A last line for each command sums up. Exits with 1 if anything but the seconds is not as it should be. The first tenth of
a second is Python's own: before the package's first line there is no handler.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--steps", "3", "--threads", "1"]
MOVED = ["--lam", "1", "--gamma", "4", "--model.hidden", "32", "--model.latent", "6", "--threads", "1", "--steps", "2"]
MOVED += ["--data.name", "digits:0-4", "--path.target", "digits:5-9", "--path.kind", "displacement", "--path.pairing", "cost"]
MOVED += [
    "--equilibration.first-epochs",
    "20",
    "--equilibration.epochs",
    "4",
    "--equilibration.batch",
    "64",
    "--tolerance",
    "0.1",
]
MOVED += ["--process", "constant-rate", "--lam-dot", "-0.2", "--step-length", "0.5", "--step-length-first", "0.01"]
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


def commands(out: Path) -> dict[str, list[str]]:
    """What is tried out, by name; all read or write `out`."""
    run, module = str(out / "run"), [sys.executable, "-m", "rayfe"]
    isoc = [sys.executable, "jobs/isoc.py", "digits-smoke", *SMALL]
    return {
        "run": [*isoc, "--backend", "inline", "--out", run],
        "transfer": [
            sys.executable,
            "jobs/transfer.py",
            "fig5-quick",
            *MOVED,
            "--backend",
            "inline",
            "--out",
            str(out / "moved"),
        ],
        "report": [*module, "report", run, "--to", str(out / "page.html")],
        "status": [*module, "status", run],
        "export": [*module, "export", run, "--to", str(out / "exported.pt2")],
        "verify": [*module, "verify", run],
        "watch": [*module, "watch", run, "--port", "0"],
        "ray": [*isoc, "--backend", "ray", "--out", str(out / "ray")],
    }


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a command ended: its exit code, seconds since the signal, lines on stderr, processes that it left."""

    code: int
    seconds: float
    lines: list[str]
    left: int

    def is_right(self, number: signal.Signals) -> bool:
        return self.code == CODES[number] and len(self.lines) == 1 and self.left == 0


def ended(command: list[str], number: signal.Signals, moment: float) -> Ending | None:
    """How `command` ends by a signal `moment` seconds after Python has started; None if it had ended by then."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    with open(os.devnull, "w") as nothing:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment | {"SIGNALLED": mark}, stdout=nothing, stderr=subprocess.PIPE, text=True
        )
    while not _handles_signals(process.pid):
        time.sleep(0.001)
    try:
        process.wait(moment)
        process.communicate()
        return None
    except subprocess.TimeoutExpired:
        began = time.monotonic()
    process.send_signal(number)
    process.wait(60)
    seconds = time.monotonic() - began
    time.sleep(1.0)  # what notices by itself that it is alone may do so
    left = list(_marked(mark))
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    _, errors = process.communicate()
    return Ending(code=process.returncode, seconds=seconds, lines=errors.splitlines(), left=len(left))


def _handles_signals(pid: int) -> bool:
    (caught,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def _marked(mark: str) -> Iterator[int]:
    """Processes that were started with this mark in their environment."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and f"SIGNALLED={mark}".encode() in (entry / "environ").read_bytes():
                yield int(entry.name)
        except OSError:
            continue


def undisturbed(name: str, command: list[str]) -> float:
    """Seconds that the command takes; for `watch`, which does not end, until it serves."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    began = time.monotonic()
    if name == "watch":
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.kill()
    else:
        subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def fresh(name: str, out: Path, kept: Path) -> None:
    """What a command made is away again; the run stays for those that look at it."""
    for made in {"run": ["run"], "transfer": ["moved"], "ray": ["ray"]}.get(name, []):
        shutil.rmtree(out / made, ignore_errors=True)
    for made in out.glob("exported.pt2*"):
        made.unlink()
    if name != "run" and not (out / "run").exists() and kept.exists():
        shutil.copytree(kept, out / "run")


def main() -> int:
    parser = argparse.ArgumentParser(description="send signals to commands at many moments, and tell how they end")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--moments", type=int, default=15)
    parser.add_argument("--only", nargs="+", help="names of commands")
    asked = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # or children of a job in the background ignore it
    out = asked.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    wrong = 0
    for name, command in commands(out).items():
        fresh(name, out, out / "kept")
        if asked.only and name not in asked.only and not (name == "run" and not (out / "kept").exists()):
            continue
        whole = undisturbed(name, command)
        if name == "run":
            shutil.copytree(out / "run", out / "kept", dirs_exist_ok=True)
        if asked.only and name not in asked.only:
            continue
        endings = []
        for number in CODES:
            for moment in (whole * index / asked.moments for index in range(asked.moments)):
                fresh(name, out, out / "kept")
                ending = ended(command, number, moment)
                if ending is None:
                    continue
                right = ending.is_right(number)
                endings.append((right, ending.seconds))
                last = ending.lines[-1] if ending.lines else ""
                print(
                    f"{name:9} {number.name} at {moment:5.2f} s: {'right' if right else 'WRONG'}, exit {ending.code:4}, "
                    f"{ending.seconds:5.2f} s, {len(ending.lines)} lines, {ending.left} left; {last[:90]}",
                    flush=True,
                )
        fresh(name, out, out / "kept")  # what the last signal left
        bad = sum(not right for right, _ in endings)
        wrong += bad
        print(
            f"= {name} ({whole:.1f} s): {len(endings)} signals, {bad} wrong, {sum(seconds > 2 for _, seconds in endings)} over 2 s, "
            f"longest {max(seconds for _, seconds in endings):.2f} s",
            flush=True,
        )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
