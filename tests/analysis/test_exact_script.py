"""analysis/exact.py: the worst rows and the thresholds of made-up rows, and bad input."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from rayfe.records import StepRecord
from rayfe.storage.parquet import table_of
from rayfe.surface.linear_gaussian import LinearGaussian
from stored_steps import step_record


@pytest.fixture(scope="module")
def script() -> ModuleType:
    place = Path(__file__).parents[2] / "analysis" / "exact.py"
    spec = importlib.util.spec_from_file_location("exact_script", place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def frame(records: list[StepRecord]) -> pd.DataFrame:
    return table_of(records, StepRecord).to_pandas()


def test_the_worst_row_of_each_quantity_is_named(script: ModuleType) -> None:
    exact = {"exact_F": 10.0, "exact_R": 2.0, "exact_D": 4.0, "exact_C": 0.5, "exact_held_gamma": 2.0}
    steps = frame(
        [
            step_record(0, lam=1.0, gamma=2.0, F=10.0, R=2.0, D=4.0, C=0.5, **exact),
            step_record(1, lam=2.0, gamma=2.1, F=10.05, R=1.9, D=4.0, C=0.5, **exact),
            step_record(2, lam=3.0, gamma=2.0, F=10.0, R=2.02, D=4.2, C=0.49, **exact),
        ]
    )
    found = script.worst(script.misses(steps)).set_index("quantity")
    assert found.loc["F", ["miss", "step"]].tolist() == pytest.approx([0.5, 1])
    assert found.loc["F_nats", "miss"] == pytest.approx(0.05)
    assert found.loc["R", ["miss", "lam"]].tolist() == pytest.approx([-5.0, 2.0])
    assert found.loc["D", ["miss", "step"]].tolist() == pytest.approx([5.0, 2])
    assert found.loc["C", "miss"] == pytest.approx(-2.0)
    assert found.loc["gamma", ["miss", "step"]].tolist() == pytest.approx([5.0, 1])


def test_thresholds_stand_beside_those_of_the_eigenvalues(script: ModuleType) -> None:
    spectrum, lam = np.array([0.25, 1.0, 0.5]), np.geomspace(0.4, 5.0, 25)
    rates = 0.5 * np.log(np.maximum(2.0 * lam[:, None] * spectrum, 1.0))
    steps = frame(
        [step_record(i, lam=at, gamma=0.0, R_dims=tuple(row)) for i, (at, row) in enumerate(zip(lam, rates, strict=True))]
    )
    found = script.compared_thresholds(steps, spectrum)
    assert found["exact"].tolist() == pytest.approx([0.5, 1.0, 2.0])
    assert found["percent"].abs().max() < 1e-9


def test_runs_without_a_known_surface_are_refused(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    walk = Path(__file__).parents[2] / "analysis" / "results" / "mnist-walk"
    for runs, hint in (((), "give folders"), (("nowhere",), "no run at"), ((str(walk),), "has no exact columns")):
        assert script.main(runs) == 2
        error = capsys.readouterr().err
        assert hint in error
        assert error.count("\n") == 1


def test_a_sample_of_gaussian_classes_is_near_their_population(script: ModuleType) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(3000) % 3
    x = rng.standard_normal((3000, 4)) + 2.0 * np.eye(3, 4)[y]
    surface = LinearGaussian(x, y, latent=3)
    at = surface.at(1.0, 2.0)
    row = step_record(0, lam=1.0, gamma=2.0, exact_F=at.F, exact_R=at.R, exact_D=at.D, exact_C=at.C)
    (found,) = script.beside_population(frame([row]), surface).to_dict("records")
    assert found["F"] == pytest.approx(found["population_F"], abs=0.02)
    assert found["F"] != found["population_F"]
    assert abs(found["R"]) < 1.0
    assert abs(found["D"]) < 1.0
    assert abs(found["C"]) < 3.0
