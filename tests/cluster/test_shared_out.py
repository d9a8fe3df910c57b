"""On several nodes, a folder that one of them does not have is refused at the start: a second node with a disk of its own."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
RAY = Path(sys.executable).with_name("ray")


def active_nodes(environment: dict[str, str], address: str) -> int:
    done = subprocess.run([RAY, "status", "--address", address], env=environment, capture_output=True, text=True)
    return done.stdout.partition("Active:")[2].partition("Pending:")[0].count(" node_")


@pytest.fixture
def own_disk(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Environment of a driver on a head; on the second node `tmp_path`/disk is another, empty disk."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs tmpfs {disk}"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("disks cannot be mounted in a namespace here")
    home = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # short: paths of sockets are limited
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
    environment |= {"PYTHONPATH": str(ROOT), "HOME": str(home)}
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    address = f"127.0.0.1:{port}"
    start = f"exec {RAY} start --block --num-cpus=1 --num-gpus=0 --object-store-memory=90000000 --node-ip-address=127.0.0.1"
    scripts = [
        ["sh", "-c", f"{start} --head --include-dashboard=false --port={port} --temp-dir={home}/a"],
        ["unshare", "-m", "sh", "-c", f"{mount} && {start} --address={address} --temp-dir={home}/b"],
    ]
    nodes = []
    try:
        for script in scripts:
            nodes.append(subprocess.Popen(script, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            deadline = time.monotonic() + 90
            while active_nodes(environment, address) < len(nodes):
                assert time.monotonic() < deadline and nodes[-1].poll() is None
                time.sleep(1)
        yield environment | {"RAY_ADDRESS": address}
    finally:
        for node in reversed(nodes):
            node.terminate()
            try:
                node.wait(timeout=40)
            except subprocess.TimeoutExpired:
                node.kill()
        shutil.rmtree(home, ignore_errors=True)


def test_a_folder_that_a_node_does_not_have_is_refused(own_disk: dict[str, str], tmp_path: Path) -> None:
    job = [sys.executable, str(ROOT / "tests" / "instrumented_job.py"), "analytic", "0", os.devnull]
    walk = [*job, "digits-smoke", "--lam", "0.25", "--steps", "1", "--backend", "ray", "--out"]
    refused = subprocess.run([*walk, str(tmp_path / "disk" / "run")], env=own_disk, capture_output=True, text=True, timeout=200)
    assert refused.returncode == 2, refused.stderr
    line = (
        rf"--out {tmp_path}/disk/run: node [0-9.]+ does not see it; give a folder that all nodes share, or a URI such as .*\n"
    )
    assert re.fullmatch(line, refused.stderr), refused.stderr
    assert not (tmp_path / "disk" / "run").exists()
    shared = subprocess.run([*walk, str(tmp_path / "run")], env=own_disk, capture_output=True, text=True, timeout=200)
    assert shared.returncode == 0, shared.stderr
