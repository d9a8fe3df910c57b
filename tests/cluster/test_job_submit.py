"""`ray job submit` as the README says, with a token, on a head and a second node of this machine (logical CPUs)."""

from __future__ import annotations

import os
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
WALK = ["python", "jobs/isoc.py", "digits-smoke", "--steps", "1", "--equilibration.first-epochs", "20", "--tolerance", "0.9"]


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[dict[str, str]]:
    """Environment of a client. Both nodes are ended by their own process, not by `ray stop`, which would end others, too."""
    home = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # short: paths of sockets are limited
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
        "HOME": str(home),
        "PATH": f"{RAY.parent}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    }
    subprocess.run([RAY, "get-auth-token", "--generate"], env=environment, check=True, capture_output=True)
    port, dashboard = free_port(), free_port()
    address = f"127.0.0.1:{port}"
    head = ["--head", "--node-ip-address=127.0.0.1", f"--port={port}", f"--dashboard-port={dashboard}", "--num-cpus=0"]
    client = [f"--ray-client-server-port={free_port()}"]
    starts = [[*head, *client, f"--temp-dir={home}/a"], [f"--address={address}", "--num-cpus=2", f"--temp-dir={home}/b"]]
    environment["RAY_API_SERVER_ADDRESS"] = f"http://127.0.0.1:{dashboard}"
    nodes = []
    try:
        for options in starts:
            command = [str(RAY), "start", "--block", "--num-gpus=0", "--object-store-memory=90000000", *options]
            nodes.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            deadline = time.monotonic() + 90
            while len(node_lines(environment, address)) < len(nodes):
                assert time.monotonic() < deadline and nodes[-1].poll() is None
                time.sleep(1)
        while subprocess.run([RAY, "job", "list"], env=environment, capture_output=True).returncode:
            assert time.monotonic() < deadline  # the dashboard's agents start after their nodes
            time.sleep(1)
        yield environment
    finally:
        for node in reversed(nodes):
            node.terminate()
            try:
                node.wait(timeout=40)
            except subprocess.TimeoutExpired:
                node.kill()
        shutil.rmtree(home, ignore_errors=True)


def node_lines(environment: dict[str, str], address: str) -> list[str]:
    done = subprocess.run([RAY, "status", "--address", address], env=environment, capture_output=True, text=True)
    active = done.stdout.partition("Active:")[2].partition("Pending:")[0]
    return [line for line in active.splitlines() if " node_" in line]


def submit(environment: dict[str, str], *words: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [str(RAY), "job", "submit", "--working-dir", ".", "--runtime-env", "cluster/job-env.yaml", *options, "--", *words]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240)


def logs(environment: dict[str, str], job: str) -> str:
    return subprocess.run([RAY, "job", "logs", job], env=environment, capture_output=True, text=True).stdout


def test_a_walk_runs_stops_and_goes_on(two_nodes: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    walk = [*WALK, "--seed", "0", "1", "--out", str(out)]
    submitted = submit(two_nodes, *walk, options=("--no-wait", "--submission-id", "first"))
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    deadline = time.monotonic() + 120
    while not list(out.glob("steps/*.parquet")):
        assert time.monotonic() < deadline, logs(two_nodes, "first")
        time.sleep(0.5)
    subprocess.run([RAY, "job", "stop", "first"], env=two_nodes, check=True, capture_output=True)
    assert "terminated; to go on:" in logs(two_nodes, "first")

    again = submit(two_nodes, *walk)
    assert again.returncode == 0, again.stdout
    assert (out / "figures").is_dir()
    status = subprocess.run([sys.executable, "-m", "rayfe", "status", out], cwd=ROOT, capture_output=True, text=True)
    assert status.returncode == 0 and status.stdout.count("finished: 1 step") == 2


def test_bad_input_fails_the_job_with_code_2_and_leaves_nothing(two_nodes: dict[str, str], tmp_path: Path) -> None:
    refused = submit(two_nodes, *WALK, "--gamma", "-1", "--out", str(tmp_path / "run"), options=("--submission-id", "bad"))
    assert refused.returncode == 1
    assert "--gamma" in refused.stdout, refused.stdout + refused.stderr
    listed = subprocess.run([RAY, "job", "list"], env=two_nodes, capture_output=True, text=True).stdout
    assert "driver_exit_code=2" in listed
    assert not (tmp_path / "run").exists()


def test_without_out_the_run_is_outside_the_copy_of_the_working_directory(two_nodes: dict[str, str]) -> None:
    kept = Path(two_nodes["HOME"], "rayfe-runs/digits-smoke")
    done = submit(two_nodes, *WALK)
    assert done.returncode == 0, done.stdout
    assert f"run {kept}; " in done.stdout
    assert "On a cluster of several nodes give a URI" in done.stdout
    assert (kept / "report.html").is_file()


@pytest.mark.parametrize("out", ["runs/mine", "."])
def test_a_relative_out_would_be_lost_and_is_refused(two_nodes: dict[str, str], out: str) -> None:
    refused = submit(two_nodes, *WALK, "--out", out)
    assert refused.returncode == 1
    assert f"--out {out}: would be in the temporary copy of the working directory" in refused.stdout
    assert "exit code 2" in refused.stdout + refused.stderr


def test_a_client_without_the_token_is_refused(two_nodes: dict[str, str]) -> None:
    stranger = two_nodes | {"HOME": "/nowhere", "RAY_AUTH_MODE": "disabled"}
    refused = subprocess.run([RAY, "job", "list"], env=stranger, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "AuthenticationError" in refused.stderr
