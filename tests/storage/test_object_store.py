"""A run on an S3-compatible server: the same rows as on a local disk, one PUT a file, one driver at a time."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import rayfe
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import configure
from rayfe.exceptions import CorruptFile, UsageError
from rayfe.records import StepRecord
from rayfe.run.runner import run_inline
from rayfe.storage import lease
from rayfe.storage.files import Files
from rayfe.storage.lease import hold
from rayfe.storage.store import Store, load_readings
from rayfe.surface.closed_form import PowerSurface

pytest.importorskip("moto", reason="no S3-compatible server: pip install 'moto[server]'")
s3fs = pytest.importorskip("s3fs", reason="no S3 client: pip install s3fs")
CONFIG = configure(gamma=(4.0, 6.0), steps=3)
NAMES = list(CONFIG.trajectories())


class Deaf:
    def row(self, record: StepRecord) -> None: ...

    def event(self, text: str) -> None: ...


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Address of a server in a process of its own, which knows one bucket."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-c", f"from moto.server import main; main(['-p', '{port}'])"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            assert server.poll() is None
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    fake = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in (fake | {"AWS_ENDPOINT_URL": endpoint}).items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"bucket-{uuid.uuid4().hex}"
    s3fs.S3FileSystem().mkdir(name)
    return f"s3://{name}"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is asked of the server: name of the call and key of the object."""
    made: list[tuple[str, str]] = []
    call = s3fs.S3FileSystem._call_s3

    async def noted(self: Any, method: str, *arguments: Any, **options: Any) -> Any:
        made.append((method, str(options.get("Key", options.get("Prefix", "")))))
        return await call(self, method, *arguments, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", noted)
    return made


def walk(location: Path | str) -> dict[str, str]:
    return run_inline(CONFIG, AnalyticBackend(PowerSurface(kappa=20.0, a=1 / 3, b=1 / 3), noise=1e-4), Store(location), Deaf())


def timeless(location: Path | str) -> list[StepRecord]:
    return [dataclasses.replace(row, seconds=0.0) for name in NAMES for row in Store(location).rows(name)]


def test_a_walk_on_s3_stores_what_a_local_one_does(bucket: str, tmp_path: Path) -> None:
    run = f"{bucket}/a/run"
    for location in (run, tmp_path):
        Store(location).writable()
        Store(location).create({"a": 1})
        assert walk(location) == {}
    assert timeless(run) == timeless(tmp_path)
    assert load_readings(run).equals(load_readings(tmp_path))
    for row in timeless(run):
        remote, local = Files(run), Files(tmp_path)
        assert remote.read(row.state or "") == local.read(row.state or "")
    assert len(rayfe.load_run(run)) == len(timeless(run)) >= 8


def test_a_commit_is_one_put_a_file_with_the_row_last(bucket: str, calls: list[tuple[str, str]]) -> None:
    assert walk(f"{bucket}/run") == {}
    written = [
        (method, key.removeprefix("run/"))
        for method, key in calls
        if method not in ("get_object", "list_objects_v2", "head_object")
    ]
    assert {method for method, _ in written} <= {"put_object", "delete_object", "delete_objects"}
    puts = Counter(key for method, key in written if method == "put_object")
    for name in NAMES:
        assert puts[f"steps/{name}.parquet"] == puts[f"readings/{name}.parquet"] == 4
        assert [puts[f"states/{name}/{step}.safetensors"] for step in range(4)] == [1] * 4
        first = [key for method, key in written if name in key][:4]
        assert [key.partition("/")[0] for key in first] == ["states", "carry", "readings", "steps"]


def test_a_torn_object_is_set_aside_and_its_step_comes_again(bucket: str, tmp_path: Path) -> None:
    run = f"{bucket}/run"
    for location in (run, tmp_path):
        assert walk(location) == {}
    files = Files(run)
    for path in (f"steps/{NAMES[0]}.parquet", f"states/{NAMES[1]}/3.safetensors"):
        whole = files.read(path)
        files.write(path, whole[:40])
    assert walk(run) == {}
    assert timeless(run) == timeless(tmp_path)
    assert files.read(f"damaged/steps/1-{NAMES[0]}.parquet") == files.read(f"steps/{NAMES[0]}.parquet")[:40]
    assert files.exists(f"damaged/states/{NAMES[1]}/1-3.safetensors")


def test_one_driver_at_a_time_by_a_conditional_put(
    bucket: str, calls: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "PERIOD", 0.5)
    files, said = Files(f"{bucket}/run"), []
    with Store(f"{bucket}/run").lock() as held:
        assert held.commit  # a store that may write
        with pytest.raises(UsageError, match="is working on this run"), hold(files, say=said.append):
            pass
        assert files.create(".lease/1", b"") is False
        held.check_owner()
    assert "waiting 2 s" in said[0]
    assert files.names(".lease") == []
    assert ("put_object", "run/.lease/1") in calls


def test_who_reads_is_told_of_the_driver_of_failures_and_when_the_last_row_came(bucket: str) -> None:
    store, began = Store(bucket), datetime.now(UTC) - timedelta(seconds=2)
    assert store.last_written(NAMES[0]) is None and not store.is_in_work()
    with store.lock(say=print) as held:
        assert store.is_in_work() and not held.is_in_work()
        run_inline(CONFIG, AnalyticBackend(PowerSurface(kappa=20.0, a=1 / 3, b=1 / 3)), held, Deaf())
    assert not store.is_in_work() and store.failures() == {}
    written = store.last_written(NAMES[0])
    assert written is not None and began <= written <= datetime.now(UTC) + timedelta(seconds=2)
    store.keep_failures({NAMES[0]: "WalkFailed: x"})
    assert store.failures() == {NAMES[0]: "WalkFailed: x"}


def test_a_bucket_that_is_not_there_is_refused_by_name(bucket: str) -> None:
    with pytest.raises(UsageError, match=r"out=.*cannot be written"):
        Store(f"{bucket}-none/run").writable()
    assert not s3fs.S3FileSystem().exists(f"{bucket}-none")


def test_an_object_is_read_by_one_request_within_a_limit_also_an_empty_one(bucket: str, calls: list[tuple[str, str]]) -> None:
    files = Files(bucket)
    for data in (b"", b"abc"):
        files.write("a", data)
        assert files.read("a", 3) == data
    with pytest.raises(CorruptFile, match="has more than the 2 bytes that are read"):
        files.read("a", 2)
    with pytest.raises(FileNotFoundError):
        files.read("b")
    calls.clear()
    files.read("a")
    assert [method for method, _ in calls] == ["get_object"]


HOLDS = """
import sys, time
from rayfe.signals import handle_signals
handle_signals()
from rayfe.storage.files import Files
from rayfe.storage.lease import hold
with hold(Files(sys.argv[1]), say=print):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_driver_that_a_signal_ends_leaves_no_lease(bucket: str, number: signal.Signals) -> None:
    """So that the same command goes on at once, on another machine, too."""
    environment = os.environ | {"PYTHONPATH": str(Path(rayfe.__file__).parents[1])}
    command = [sys.executable, "-c", HOLDS, f"{bucket}/run"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    s3fs.S3FileSystem.clear_instance_cache()
    assert Files(f"{bucket}/run").names(".lease") == ["1"]
    process.send_signal(number)
    process.communicate()
    assert process.returncode == 128 + number
    s3fs.S3FileSystem.clear_instance_cache()
    assert Files(f"{bucket}/run").names(".lease") == []
