"""`--autoscale` on Ray's fake autoscaler: nodes that a run asks for are made, and it runs on them.

Ray wires the fake provider to port 6379, so nothing else may listen there: by `pytest -m slow tests/cluster/test_autoscaler.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import RunConfig, configure
from rayfe.records.backend import Backend
from rayfe.surface.closed_form import PowerSurface

pytest.importorskip("ray")
pytestmark = [pytest.mark.cluster, pytest.mark.slow]
HERE = Path(__file__).resolve().parent
PORT = 6379
CONFIG = configure(gamma=(4.0, 5.0), steps=3, evaluators=3, threads=1, autoscale="cpu")
FAKE = """
cluster_name: fake
max_workers: 2
idle_timeout_minutes: 5
upscaling_speed: 1.0
provider: {type: fake_multinode, use_node_id_as_ip: true, disable_node_updaters: true, disable_launch_config_check: true}
available_node_types:
  head: {resources: {CPU: 1}, node_config: {}, max_workers: 0}
  worker: {resources: {CPU: 2}, node_config: {}, min_workers: 0, max_workers: 2}
head_node_type: head
auth: {}
docker: {}
file_mounts: {}
cluster_synced_files: []
initialization_commands: []
setup_commands: []
head_setup_commands: []
worker_setup_commands: []
head_start_ray_commands: []
worker_start_ray_commands: []
"""
"""What `ray up` would fill in stands here, too: `ray start --autoscaling-config` takes a whole configuration."""
SCRIPT = """
import json, sys
import ray, test_autoscaler
from rayfe.on_ray.sweep import run_on_ray
ray.cloudpickle.register_pickle_by_value(test_autoscaler)
tell = lambda **line: print(json.dumps(line), flush=True)
failed = run_on_ray(test_autoscaler.CONFIG, None, sys.argv[1], "all", lambda row: tell(step=row.step),
    lambda text: tell(event=text), backend_factory=test_autoscaler.make_analytic)
tell(failed=failed, nodes=len([node for node in ray.nodes() if node["Alive"]]))
"""


def make_analytic(config: RunConfig, data: object) -> Backend:
    return AnalyticBackend(PowerSurface(kappa=20.0, a=1 / 3, b=1 / 3))


def listens() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", PORT)) == 0


@pytest.fixture
def head(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Environment of a driver. The fake nodes outlive the head, and are ended by the folder that is theirs."""
    import psutil

    if listens():
        pytest.skip(f"port {PORT} is in use")
    (tmp_path / "fake.yaml").write_text(FAKE)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_FAKE_CLUSTER": "1"}
    environment |= {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "PYTHONPATH": f"{HERE.parents[1]}{os.pathsep}{HERE}"}
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", f"--port={PORT}", "--block", "--num-cpus=1"]
    command += ["--num-gpus=0", "--include-dashboard=false", f"--autoscaling-config={tmp_path / 'fake.yaml'}"]
    home = tempfile.mkdtemp(prefix="r", dir="/tmp")  # in the command line of every process of this Ray
    command += ["--object-store-memory=90000000", f"--temp-dir={home}"]
    with open(tmp_path / "head.log", "w") as log:
        node = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not listens():
            assert time.monotonic() < deadline and node.poll() is None, (tmp_path / "head.log").read_text()
            time.sleep(0.5)
        yield environment | {"RAY_ADDRESS": f"127.0.0.1:{PORT}"}
    finally:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid != node.pid and home in " ".join(process.cmdline()):
                    process.kill()
        node.kill()
        node.wait()


def test_a_run_gets_the_machines_that_it_asks_for(head: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "run")]
    done = subprocess.run(command, env=head, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0]["event"].startswith("waiting for room")
    assert lines[-1] == {"failed": {}, "nodes": 3}
    assert [line.get("step") for line in lines].count(3) == 2
