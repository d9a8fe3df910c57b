"""Hosts that really differ: `python tests/chaos/hosts.py analytic|trained --out DIR` (root, Linux, iproute2).

A head and two workers in network namespaces of this machine, joined by a bridge, each with its own Ray. When `--rows` rows are
stored and a step is under way, the link of the first worker is taken down, without a word to anyone: no connection is closed,
its processes live on. The run must end by itself, with the rows, readings and weights of an undisturbed run. `--back` takes
the link up again after so many seconds, so that the lost worker comes back into a run that went on without it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from chaos import ROOT, command, compare, rows_in

RAY = Path(sys.executable).with_name("ray")
HEAD, *WORKERS = [f"rayfe{os.getpid()}-{name}" for name in ("head", "one", "two")]  # nobody else's
NETWORK = "10.77.0"
PORT = 6379
CPUS = {HEAD: "1", WORKERS[0]: "2", WORKERS[1]: "2"}
WAIT = 300.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="cut a worker off in mid-step, and compare the rows")
    parser.add_argument("walk", choices=["analytic", "trained"])
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--rows", type=int, default=20, help="rows after which the link is taken down")
    parser.add_argument("--back", type=float, help="seconds after which it is up again; for ever down without")
    parser.add_argument("--gamma", nargs="+", default=["4", "5", "6", "8"])
    parser.add_argument("--steps", default="12")
    parser.add_argument("--delay", default="0.5", help="seconds that every answer is held back")
    return parser.parse_args()


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@contextlib.contextmanager
def namespaces() -> Iterator[None]:
    """The three namespaces, with the bridge in that of the head; the machine's own network is left alone."""
    try:
        for name in (HEAD, *WORKERS):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", HEAD, "link", "add", "bridge", "type", "bridge")
        ip("-n", HEAD, "addr", "add", f"{NETWORK}.1/24", "dev", "bridge")
        ip("-n", HEAD, "link", "set", "bridge", "up")
        for number, name in enumerate(WORKERS, start=2):
            ip("-n", name, "link", "add", "wire", "type", "veth", "peer", "name", f"port{number}", "netns", HEAD)
            ip("-n", HEAD, "link", "set", f"port{number}", "master", "bridge", "up")
            ip("-n", name, "addr", "add", f"{NETWORK}.{number}/24", "dev", "wire")
            ip("-n", name, "link", "set", "wire", "up")
        yield
    finally:
        for name in (HEAD, *WORKERS):
            pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split()
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), 9)
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)


def start(name: str, words: list[str], log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with open(log, "a") as file:
        return subprocess.Popen(["ip", "netns", "exec", name, *words], env=environment, stdout=file, stderr=subprocess.STDOUT)


def start_rays(out: Path, folder: str, environment: dict[str, str]) -> None:
    for number, name in enumerate((HEAD, *WORKERS), start=1):
        role = ["--head", f"--port={PORT}", "--include-dashboard=false"] if name == HEAD else [f"--address={NETWORK}.1:{PORT}"]
        words = [str(RAY), "start", "--block", *role, f"--node-ip-address={NETWORK}.{number}", f"--num-cpus={CPUS[name]}"]
        words += ["--num-gpus=0", "--object-store-memory=90000000", f"--temp-dir={folder}/{number}"]
        start(name, words, out / f"{name}.log", environment)
        end = time.monotonic() + WAIT
        while nodes(environment) < number:
            if time.monotonic() > end:
                raise SystemExit(f"{name} did not join; see {out}/{name}.log")
            time.sleep(1.0)


def nodes(environment: dict[str, str]) -> int:
    status = ["ip", "netns", "exec", HEAD, str(RAY), "status", "--address", f"{NETWORK}.1:{PORT}"]
    done = subprocess.run(status, env=environment, capture_output=True, text=True)
    return done.stdout.partition("Active:")[2].partition("Pending:")[0].count(" node_")


def wait(condition: Callable[[], bool], what: str, seconds: float = WAIT) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"waited {seconds:g} s for {what}")
        time.sleep(0.2)


def answered(log: Path) -> int:
    return log.read_text().count("\n") if log.exists() else 0


def cut(asked: argparse.Namespace, driver: subprocess.Popen[bytes]) -> None:
    """Take the first worker's link down in mid-step, and say how the run goes on."""
    run, log = asked.out / "run", asked.out / "answers-ray"
    wait(lambda: rows_in(run) >= asked.rows or driver.poll() is not None, f"{asked.rows} rows")
    before = answered(log)
    wait(lambda: answered(log) > before, "an answer")  # some of the others are being worked at now
    rows, began = rows_in(run), time.monotonic()
    ip("-n", WORKERS[0], "link", "set", "wire", "down")
    print(f"{rows} rows: link of {WORKERS[0]} down", flush=True)
    wait(lambda: rows_in(run) > rows + 8 or driver.poll() is not None, "more rows")
    print(f"{time.monotonic() - began:.1f} s later: {rows_in(run)} rows", flush=True)
    if asked.back is not None:
        time.sleep(max(0.0, asked.back - (time.monotonic() - began)))
        ip("-n", WORKERS[0], "link", "set", "wire", "up")
        print(f"{time.monotonic() - began:.1f} s later: link up again, {rows_in(run)} rows", flush=True)
    code = driver.wait(timeout=900)
    print(f"{time.monotonic() - began:.1f} s later: the driver ended with {code}", flush=True)
    if code != 0:
        raise SystemExit(f"see {asked.out}/driver.log")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # namespaces and Rays are to go with it
    asked = arguments()
    asked.out = asked.out.resolve()
    asked.out.mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="h", dir="/tmp")  # short: paths of sockets are limited
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "TMPDIR": folder, "HOME": folder}
    try:
        with namespaces():
            start_rays(asked.out, folder, environment)
            run = environment | {"RAY_ADDRESS": f"{NETWORK}.1:{PORT}", "PYTHONPATH": str(ROOT)}
            cut(asked, start(HEAD, command(asked, asked.out / "run", "ray", asked.delay), asked.out / "driver.log", run))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{compare(asked)} rows equal to the undisturbed run's, each once")


if __name__ == "__main__":
    main()
