"""analysis/codec.py: its table and figure come from the rows that it stored."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
STORED = ROOT / "analysis" / "results" / "codec" / "codec.csv"
spec = importlib.util.spec_from_file_location("codec_script", ROOT / "analysis" / "codec.py")
assert spec is not None and spec.loader is not None
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


def test_stored_rows_give_themselves_and_a_table_within_what_is_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main((str(STORED),), tmp_path) == 0
    assert (tmp_path / "codec.csv").read_bytes() == STORED.read_bytes()
    assert (tmp_path / "codec.png").read_bytes().startswith(b"\x89PNG")
    table = script.with_derived(pd.read_csv(STORED))
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(table)
    assert (table["own_z_bits"] <= table["most_z_bits"]).all()
    assert (abs(table["own_x_bits"] / table["RD_bits"] - 1.0) < 0.02).all()
    assert table["cut"].sum() <= 1
