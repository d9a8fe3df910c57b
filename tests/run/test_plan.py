"""Plans against what small runs on digits took, and the steps of the presets."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from rayfe.backend.inline import InlineBackend
from rayfe.config import (
    DataConfig,
    EquilibrationConfig,
    MeasureConfig,
    ModelConfig,
    PathConfig,
    RenewalConfig,
    RunConfig,
    configure,
)
from rayfe.config.presets import PRESETS
from rayfe.data.paths import coupled, epoch_of, load_path
from rayfe.records import Split, StepRecord
from rayfe.run.plan import MNIST, Plan, Scatter, kept_states, plan_of, sizes_and_costs
from rayfe.storage.store import Store, load_rows
from rayfe.training.exact_derivatives import Solve
from rayfe.trajectory.driver import advance, certify_last, open_trajectory

RESULTS = Path(__file__).parents[2] / "analysis" / "results"
WALK = configure(
    lam=(1.0,),
    steps=3,
    refresh=2,
    tolerance=0.1,
    threads=1,
    certificate_share=0.0,
    data=DataConfig(name="digits"),
    model=ModelConfig(hidden=32, latent=6),
    measure=MeasureConfig(head_draws=64),
    equilibration=EquilibrationConfig(
        first_epochs=30, first_schedule="linear", first_learning_rate=1e-2, epochs=4, learning_rate=5e-3, batch=128
    ),
)
PAIRS = PathConfig(target="digits:5-9", kind="displacement", pairing="order", within_pairs=True)
TRANSFER = configure(
    WALK,
    lam=(2.0,),
    gamma=(8.0,),
    process="constant-rate",
    step_length=0.1,
    tolerance=0.2,
    equilibration=dataclasses.replace(WALK.equilibration, schedule="average", learning_rate=1e-3),
    data=DataConfig(name="digits:0-4"),
    path=PathConfig(target="digits:0-4"),
)
SOLVE = Solve(iterations=4)
"""Ends by its iterations, as a plan assumes."""
SHORT_START = dataclasses.replace(WALK.equilibration, first_epochs=15, first_batch=64)
LEAP = {
    "both_ways": True,
    "lam_end": 1.45,
    "renewal": RenewalConfig(every=0.13, leap=2),
    "steps": 2,
    "tolerance": 0.5,
    "equilibration": dataclasses.replace(WALK.equilibration, first_batch=32),
}
SMALL_PARTS = MeasureConfig(head_draws=64, response_size=500, statistics_size=600)
CASES: dict[str, tuple[RunConfig, dict[str, Any]]] = {
    "settled": (WALK, {}),
    "many draws": (WALK, {"tolerance": 0.012}),
    "parts of the data": (WALK, {"measure": SMALL_PARTS}),
    "other batches": (WALK, {"equilibration": dataclasses.replace(WALK.equilibration, first_batch=64, optimizer="soap")}),
    "control": (WALK, {"hold": "control", "tolerance": 0.2}),
    "one by one": (WALK, {"replicas_per_evaluator": 1}),
    "paper": (WALK, {"stencil": "paper", "refresh": 1, "settle": False, "predictor": False}),
    "free": (WALK, {"process": "fixed-gamma", "gamma": (0.0,), "step_length": 0.08}),
    "functional": (WALK, {"process": "iso-functional", "functional": (1.0, 0.0, 2.0), "stencil": "paper"}),
    "implicit": (WALK, {"derivatives": "implicit"}),
    "renewals": (WALK, {"renewal": RenewalConfig(every=0.2), "steps": 4, "equilibration": SHORT_START}),
    "leap": (WALK, LEAP),
    "both ways": (WALK, {"both_ways": True, "lam_end": 1.3, "steps": 5}),
    "seek": (WALK, {"seek": ("R=6", "C=0.15")}),
    "constant rate": (TRANSFER, {"lam_dot": -0.5}),
    "geodesic": (TRANSFER, {"process": "geodesic", "stencil": "paper", "k": -0.1}),
    "last training": (TRANSFER, {"steps": 4, "step_length": 0.5, "path": dataclasses.replace(TRANSFER.path, last_epochs=5)}),
    "displacement": (TRANSFER, {"path": PAIRS, "step_length": 0.001}),
    "finetune": (TRANSFER, {"method": "finetune", "method_epochs": 5.0}),
    "joint": (TRANSFER, {"method": "joint", "method_epochs": 5.0}),
    "scratch": (TRANSFER, {"method": "scratch", "method_epochs": 5.0}),
}


def planned(config: RunConfig, scatter: Scatter) -> Plan:
    sizes, costs = sizes_and_costs(config, load_path(config))
    costs.solve = SOLVE
    return plan_of(config, next(iter(config.trajectories().values())), sizes, costs, scatter)


def run(config: RunConfig, folder: Path) -> tuple[list[StepRecord], float]:
    """All rows, and the examples of the certificate."""
    data = coupled(load_path(config), config, lambda text: None)
    store, (start,) = Store(str(folder)), config.trajectories().values()
    trajectory, backend = open_trajectory(config, start, store), InlineBackend(config, data, solve=SOLVE)
    while trajectory.finished is None:
        advance(trajectory, backend, store)
    if not config.asked.certificate_share or config.method is not None:
        return list(trajectory.rows), 0.0
    return list(trajectory.rows), certify_last(config, trajectory, backend, store, epoch=epoch_of(data, config)).examples


def scatter_of(config: RunConfig, row: StepRecord) -> Scatter:
    """That of a run's start: it says how many draws a tolerance needs."""
    n, sets = row.read_size or 0, (row.draw_sets or 1, row.decoder_sets or 1)
    draws, decoded = config.measure.head_draws * sets[0], 2 * sets[1]
    control = 0.0 if row.control_C is None else row.control_C_se / row.control_C * math.sqrt(n / 9 * draws)
    return Scatter(C=row.C_se / row.C * math.sqrt(n * draws), D=row.D_se / row.D * math.sqrt(n * decoded), control_C=control)


@pytest.mark.parametrize("name", CASES)
def test_planned_examples_are_within_2_percent_of_those_that_a_run_took(name: str, tmp_path: Path) -> None:
    base, options = CASES[name]
    config = configure(base, **options)
    rows, _ = run(config, tmp_path)
    assert all(row.accepted for row in rows)
    plan = planned(config, scatter_of(config, rows[0]))
    assert plan.steps == rows[-1].step
    assert plan.examples == pytest.approx(rows[-1].examples, rel=0.02)


@pytest.mark.parametrize("base", [WALK, TRANSFER], ids=["walk", "transfer"])
def test_a_certificate_is_planned_as_it_is_trained(base: RunConfig, tmp_path: Path) -> None:
    config = configure(base, certificate_share=0.3, steps=2)
    rows, certificate = run(config, tmp_path)
    plan = planned(config, scatter_of(config, rows[0]))
    assert 0.0 < plan.certificate_examples <= 0.3 * plan.examples
    assert plan.certificate_examples == pytest.approx(certificate, rel=0.02)


def test_what_is_taken_up_counts() -> None:
    """A look costs the statistics of all examples, and an encoding and two reconstructions of some; a fit 25 passes over these."""
    sizes, costs = sizes_and_costs(WALK, load_path(WALK))
    n, part = len(sizes.paths[Split.TRAIN]), 1442
    look, fitted = costs.taken_up(0.0, fitted=False), costs.taken_up(0.0, fitted=True)
    assert fitted - look == pytest.approx(25 * part)
    assert 0.5 * n / 3 < look - 2 / 3 * part < n / 3


def test_a_walk_that_comes_back_takes_as_many_steps_as_on_mnist() -> None:
    """The preset's stored run; its examples are not compared, as draws through the head did not count then."""
    config = PRESETS["isoc"]["mnist-walk"]()
    sizes, costs = sizes_and_costs(config, load_path(config))
    rows = load_rows(RESULTS / "mnist-leap")
    for name, start in config.trajectories().items():
        took = rows[(rows["trajectory"] == name) & rows["accepted"]]
        assert plan_of(config, start, sizes, costs).steps == pytest.approx(took["step"].max(), abs=2)


@pytest.mark.parametrize(("gamma", "steps"), [(4.0, 21), (0.0, 21)])
def test_steps_follow_the_lengths_of_the_stepper(gamma: float, steps: int) -> None:
    config = configure(WALK, lam=(0.25,), steps=100, process="iso-classification" if gamma else "fixed-gamma")
    config = configure(config, gamma=(gamma,))
    assert planned(config, MNIST).steps == steps  # log(3.5 / 0.25) / 0.13 = 20.3
    assert planned(config, MNIST).ended == "lam_end"


def test_a_walk_that_holds_nothing_has_no_stencil_and_no_settle() -> None:
    config = configure(WALK, steps=100, process="fixed-gamma", step_length=0.5)
    plan, n, updates = planned(config, MNIST), 1442, (round(30 * 1442 / 128), round(4 * 1442 / 128))
    assert plan.count.models == 1 + 1 + plan.steps
    trained = 128 * (updates[0] + (1 + plan.steps) * updates[1])
    probes = (51 + 2 * (1 + plan.steps)) * 1442 / 3
    assert (plan.count.first_updates, plan.count.training) == (updates[0], pytest.approx(trained + probes)), n


def test_a_plan_says_where_a_tolerance_is_too_small_for_the_draws() -> None:
    plan = planned(configure(WALK, tolerance=1e-5), MNIST)
    assert plan.steps == 0
    assert "--tolerance" in plan.ended


def test_kept_states_are_at_least_two() -> None:
    config = PRESETS["isoc"]["mnist-quick"]()
    assert kept_states(config, 12) == 13
    assert kept_states(configure(config, keep_states="last"), 12) == 2
    assert kept_states(configure(config, keep_states="1"), 12) == 2
    assert kept_states(configure(config, keep_states="5"), 12) == 5


def test_a_walk_in_sigma_is_planned_to_its_end() -> None:
    config = PRESETS["isoc"]["digits-weights"]()
    (start,) = config.trajectories().values()
    plan = plan_of(config, start, *sizes_and_costs(config, load_path(config)))
    assert start.sigma == config.sigma
    assert (plan.steps, plan.ended) == (8, "sigma_end")
