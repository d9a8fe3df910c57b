"""Fixtures that several test modules share; plain functions that they share are in `helpers/`."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import types
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# tests that were started in the background, or by nohup, ignore a signal, and so would their children
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.environ.setdefault(
    "RAY_worker_niceness", "0"
)  # of each Ray that a test starts: at Ray's 15 it stands still on a busy machine
settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")
pytest.register_assert_rewrite("data_sets")  # a helper that asserts says what it saw, as a test does


def pytest_unconfigure() -> None:
    """A command that a test ran here must not choose the exit code of the tests."""
    if signals := sys.modules.get("rayfe.signals"):
        signals._codes.clear()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Names a failure at once: what has to wait for the end is lost where the tests are cut short."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"\nFAILED {report.nodeid} ({report.when}): {report.longreprtext.strip().rpartition(chr(10))[2]}", flush=True)


SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of data sets that are not part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no data at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One Ray with 4 logical CPUs for all tests; what runs on Ray joins it."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray = pytest.importorskip("ray")
    options = {
        "address": "local",
        "num_cpus": 4,
        "num_gpus": 0,
        "include_dashboard": False,
        "object_store_memory": 80 << 20,
        "log_to_driver": False,
        "logging_level": "error",
    }
    for attempt in (1, 2):
        try:
            ray.init(**options, _temp_dir=tempfile.mkdtemp(prefix="r", dir="/tmp"))  # short: paths of sockets are limited
            break
        except Exception:  # a busy machine can be too slow for Ray's agents (ray#65983)
            ray.shutdown()
            if attempt == 2:
                raise
    yield
    ray.shutdown()


@pytest.fixture(params=["local", "memory"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a run may be stored: a local folder, and a filesystem of fsspec's that is none."""
    return str(tmp_path / "run") if request.param == "local" else f"memory://{uuid.uuid4().hex}/run"


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., dict[str, str]]], None]:
    """Replaces what drives the trajectories; unless a test does, nothing may be driven."""

    def replace(run: Callable[..., dict[str, str]]) -> None:
        stub = types.ModuleType("rayfe.run.runner")
        stub.run, stub.trains_on_gpus = run, lambda config: False
        monkeypatch.setitem(sys.modules, "rayfe.run.runner", stub)

    def forbidden(*_: object) -> dict[str, str]:
        raise AssertionError("bad input got as far as the run")

    replace(forbidden)
    return replace


@pytest.fixture
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
