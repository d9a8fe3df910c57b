"""A stored run without training, and a browser without a driver: chromium over its DevTools protocol."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rayfe.config import DataConfig, ModelConfig, PathConfig, configure
from rayfe.records import Commit, StepRecord
from rayfe.storage.store import Store

A = B = 1 / 3
KAPPA = 20.0
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-allow-origins=*",
    "--remote-debugging-port=0",
)


def exact_row(
    step: int, lam: float, *, gamma0: float = 4.0, seed: int = 0, process: str = "iso-classification", **more: Any
) -> StepRecord:
    """A row on the exact surface F = kappa lam^a gamma^b, C constant from (0.25, gamma0)."""
    gamma = gamma0 * (lam / 0.25) ** (A / (1 - B))
    F = KAPPA * lam**A * gamma**B
    C = B * F / gamma
    values: dict[str, Any] = {
        "R": F * (1 - A - B),
        "D": A * F / lam,
        "C": C,
        "F": F,
        "C_target": B * KAPPA * 0.25**A * gamma0 ** (B - 1),
    }
    values |= {"accuracy": 0.99, "val_C": 1.2 * C, "val_accuracy": 0.9 + 0.005 * step, "val_C_se": 0.02 * C}
    values |= {
        "R_se": 0.0,
        "D_se": 1e-3,
        "C_se": 1e-4,
        "drift_se": 1e-4 if step else 0.0,
        "first_law_residual": 0.0 if step else None,
    }
    values |= {"C_gamma": (B - 1) * C / gamma, "C_gamma_se": 1e-6, "C_lam": A * C / lam, "D_gamma": A * C / lam, "excess": 0.0}
    values |= {
        "trajectory": f"lam0.25-gamma{gamma0:g}-seed{seed}",
        "step": step,
        "attempt": 0,
        "accepted": True,
        "outcome": "OK",
    }
    values |= {"process": process, "lam": lam, "gamma": gamma, "seed": seed, "examples": 1000.0 * step, "seconds": 2.0 * step}
    return StepRecord(**(values | more))


@pytest.fixture
def exact() -> Callable[..., StepRecord]:
    return exact_row


@pytest.fixture
def stored_run(tmp_path: Path) -> Callable[..., Store]:
    """Makes a run of the digits at `tmp_path / name`: exact rows, weights of newly initialised models, a rejected attempt."""

    def make(name: str = "run", *, steps: int = 4, gammas: tuple[float, ...] = (4.0, 8.0), transfer: bool = False) -> Store:
        from rayfe.data.paths import load_path
        from rayfe.model.protocol import build
        from rayfe.model.weights import weights_of
        from rayfe.storage.manifest import manifest_of

        config = configure(
            lam=(0.25,),
            gamma=gammas,
            steps=steps,
            data=DataConfig(name="digits:0-4" if transfer else "digits"),
            model=ModelConfig(hidden=8, latent=4),
            **({"process": "constant-rate", "path": PathConfig(target="digits:5-9")} if transfer else {}),
        )
        data = load_path(config)
        store = Store(tmp_path / name)
        job = "transfer" if transfer else "isoc"
        store.create(manifest_of(job, "digits-smoke", ["digits-smoke", "--out", str(tmp_path)], config, data))
        for gamma0, step in itertools.product(gammas, range(steps + 1)):
            more: dict[str, Any] = {"process": "constant-rate", "t": step / steps, "target_accuracy": 0.5} if transfer else {}
            row = exact_row(step, 0.25 * 1.2**step, gamma0=gamma0, **more)
            if step == 2:
                off = {"accepted": False, "reason": "drift", "C": 1.1 * float(row.C or 0.0)}
                store.commit(
                    row.trajectory, Commit(record=dataclasses.replace(row, **off), readings=(), state=None, carry=None)
                )
                row = dataclasses.replace(row, attempt=1)
            weights = weights_of(build(config.model, input_shape=(64,), classes=data.classes, seed=step))
            store.commit(row.trajectory, Commit(record=row, readings=(), state=weights, carry=None))
        return store

    return make


class Browser:
    """One page of a headless chromium; collects its errors and its requests."""

    def __init__(self, chromium: str, folder: Path) -> None:
        self._process = subprocess.Popen(
            [chromium, *FLAGS, f"--user-data-dir={folder}", "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        port = _port(folder / "DevToolsActivePort")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=120) as answer:
            (page,) = [target for target in json.load(answer) if target["type"] == "page"]
        import websocket

        self._socket = websocket.create_connection(page["webSocketDebuggerUrl"], timeout=200)
        self._numbers = itertools.count(1)
        self.errors: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """The result of one DevTools command."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            self._note(message)
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return message["result"]

    def _note(self, message: dict[str, Any]) -> None:
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(parameters["exceptionDetails"])[:500])
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "assert"):
            self.errors.append(json.dumps(parameters["args"])[:500])
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(json.dumps(parameters["entry"])[:500])
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, script: str, seconds: float = 120.0) -> Any:
        """The first true value of an expression."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"never came true: {script}; {self.errors}"
            time.sleep(0.1)
        return value

    def cpu_seconds(self) -> float:
        """Of all its processes."""
        pytest.importorskip("ray")
        psutil = pytest.importorskip("psutil")  # comes inside Ray, once that is imported
        own = psutil.Process(self._process.pid)
        return sum(sum(one.cpu_times()[:2]) for one in (own, *own.children(recursive=True)))

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def size(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)

    def scheme(self, name: str) -> None:
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def key(self, name: str, code: int, text: str = "") -> None:
        """Press a key on the element that has the focus."""
        common = {"key": name, "code": "Space" if name == " " else name, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def draw_all(self) -> list[str]:
        """Scroll to every chart until it is drawn; returns their names."""
        names = self.run("[...document.querySelectorAll('.plot')].map((one) => one.id)")
        for name in names:
            self.run(f"document.getElementById('{name}').scrollIntoView({{behavior: 'instant'}})")
            self.wait(f"document.getElementById('{name}').dataset.drawn === 'true'")
        return names

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait()


def _port(path: Path) -> int:
    """The port that chromium chose, once it has written it."""
    while True:
        if path.is_file() and "\n" in (text := path.read_text()):
            return int(text.splitlines()[0])
        time.sleep(0.1)


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = chromium()
    if found is None:
        pytest.skip("no chromium is installed (apt-get install chromium)")
    pytest.importorskip("websocket", reason="no websocket-client is installed (pip install -e '.[dev]')")
    opened = Browser(found, tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.close()
