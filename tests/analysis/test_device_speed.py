"""analysis/device_speed.py in small: every line is measured, also where there is no GPU."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "analysis" / "device_speed.py"
spec = importlib.util.spec_from_file_location("device_speed", SCRIPT)
assert spec is not None and spec.loader is not None
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


def test_starts_lie_in_equal_ratios_between_the_ends() -> None:
    low, high = script.GAMMAS
    found = script.spread(4)
    ratios = [b / a for a, b in zip(found, found[1:], strict=False)]
    assert low < found[0] and found[-1] < high and ratios == pytest.approx([4**0.25] * 3, rel=1e-3)
    assert script.spread(1) == (4.0,)


def test_cells_are_short() -> None:
    assert [script.shown(value) for value in (None, 12345.6, 0.12345, "a", 3)] == ["", "12,346", "0.123", "a", "3"]


@pytest.mark.slow
def test_every_line_is_measured() -> None:
    words = ["--preset", "digits-smoke", "--counts", "1", "--updates", "20", "--ways", "never", "--minutes", "0.1"]
    command = [sys.executable, str(SCRIPT), *words, "--walk-count", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert rows[0] == list(script.COLUMNS) and [row[0] for row in rows[2:]] == [
        "starts, compile never",
        "walk",
        "digits, rows apart from a CPU's",
    ]
    assert float(rows[2][3]) == 1.0 and float(rows[2][2].replace(",", "")) > 0
    assert "R 0, D 0, C 0" in done.stdout or "GPU" in done.stdout
