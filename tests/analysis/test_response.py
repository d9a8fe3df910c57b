"""analysis/response.py: the response of neighbours against the surface's, and a table that is not computed twice."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analytic_walks import A, B
from rayfe.backend.analytic import MULTIPLIERS, AnalyticBackend
from rayfe.cli.job_command import main
from rayfe.records import Point, StepKey

spec = importlib.util.spec_from_file_location("response", Path(__file__).parents[2] / "analysis" / "response.py")
assert spec is not None and spec.loader is not None
script = importlib.util.module_from_spec(spec)
sys.modules["response"] = script  # dataclasses look their module up
spec.loader.exec_module(script)

KEY = StepKey(trajectory="response", seed=0, step=0, attempt=0)
AT = Point(lam=1.0, gamma=4.0)


@pytest.mark.parametrize("surface", [A, B], ids=["A", "B"])
@pytest.mark.parametrize("lag", [0.0, 0.4])
def test_neighbours_say_the_part_of_the_response_that_they_were_trained_for(surface, lag: float):
    weights = {MULTIPLIERS: np.array([AT.lam, AT.gamma])}
    found, examples = script.by_neighbours(AnalyticBackend(surface, lag=lag), KEY, AT, weights)
    entries = script.line(found)
    width = 0.1 * (1.0 - lag)
    up, down = AT.gamma * (1.0 + width), AT.gamma * (1.0 - width)
    C_gamma = (surface.C(AT.lam, up) - surface.C(AT.lam, down)) / (0.2 * AT.gamma)
    D_gamma = (surface.D(AT.lam, up) - surface.D(AT.lam, down)) / (0.2 * AT.gamma)
    assert entries["C_gamma"] == pytest.approx(C_gamma, rel=1e-9)
    assert entries["slope"] == pytest.approx(-D_gamma / C_gamma, rel=1e-9)  # what a lag leaves undone cancels
    assert abs(entries["maxwell"]) < 0.02
    assert entries["D_lam"] < 0 and examples == pytest.approx(5000 + 5000 / 3)


def test_a_table_has_both_kinds_and_is_not_computed_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out, run = tmp_path / "out", str(tmp_path / "run")
    small = ["digits-smoke", "--backend", "inline", "--steps", "1", "--threads", "1", "--equilibration.first-epochs", "10"]
    assert main("isoc", [*small, "--equilibration.epochs", "5", "--tolerance", "0.2", "--out", run]) == 0
    options = script.Options(run=run, out=out, step=1, epochs=(1.0, 4.0), damping=(0.5,), examples=200, iterations=5, threads=1)
    script.main(options)
    table = pd.read_csv(out / "response.csv")
    assert list(table["kind"]) == ["epochs", "epochs", "damping"] and (table["C_gamma"] < 0).all()
    trained = 5 * 1442  # examples of an epoch of five replicas; both are read alike
    assert table["examples"][1] - table["examples"][0] == pytest.approx(3.0 * trained, rel=0.2)
    assert table["decrement"].notna().tolist() == [False, False, True]
    capsys.readouterr()
    script.main(options)
    assert capsys.readouterr().out == "" and pd.read_csv(out / "response.csv").equals(table)
    with pytest.raises(ValueError, match="has no accepted step 7"):
        script.main(dataclasses.replace(options, step=7))
